"""`corten push`: an image goes to a registry."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from corten.cli.context import Context
from corten.cli.finding import add_insecure, local_images, registry_reference
from corten.cli.terminal import size_text
from corten.errors import ImageNotFound, UsageError
from corten.oci import media
from corten.oci.descriptor import Manifest
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.store.images import Image

if TYPE_CHECKING:
    from corten.oci.compression import Compression

EXAMPLES = """\
examples:
  corten push iris registry.example/team/iris:1.0
  corten push registry.example/team/iris:1.0              under the name that it has here
  corten push iris registry.example/team/iris --compression zstd
  corten push iris localhost:5000/iris                    plain http is for this machine only, or with --insecure

Only what the registry lacks is sent. An image that was built for several platforms is pushed as an index of all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("image", help="name, ID or digest")
    parser.add_argument(
        "reference", nargs="?", metavar="REF", help="where to, HOST/NAME:TAG (default: the image's own name)"
    )
    parser.add_argument(
        "--compression",
        choices=["gzip", "zstd", "raw"],
        help="of the layers; gzip is read by everything, zstd is smaller and needs docker 23 "
        "(default: what the project says, else gzip)",
    )
    parser.add_argument(
        "--format", choices=["oci", "docker"], default="oci", help="of the manifests (default: oci)"
    )
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="PLATFORM",
        help="push only these, as in linux/amd64",
    )
    add_insecure(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Push, and print the reference by digest."""
    from corten.registry.client import settings_from
    from corten.registry.push import PushOptions, push

    images = local_images(arguments.image, context)
    if arguments.platform:
        wanted = [Platform.parse(part) for text in arguments.platform for part in text.split(",")]
        for platform in wanted:
            if platform not in images:
                known = ", ".join(map(str, images))
                raise ImageNotFound(
                    f"the image '{arguments.image}' is not there for {platform}",
                    hint=f"it is there for {known}",
                )
        images = {platform: images[platform] for platform in wanted}
    reference = (
        Reference.parse(arguments.reference)
        if arguments.reference
        else _own_place(next(iter(images.values())).name, arguments.image)
    )
    pushed = push(
        list(images.values()),
        reference,
        context.store,
        settings_from(os.environ, arguments.insecure, context.observe),
        context.observe,
        PushOptions(_compression(arguments, context, images.values()), arguments.format),
    )
    place = f"{reference.name}@{pushed.digest}"
    if arguments.json:
        document = {
            "reference": str(reference),
            "digest": pushed.digest,
            "repo_digest": place,
            "sent": pushed.sent,
            "layers": pushed.layers,
        }
        context.terminal.print(json.dumps(document, indent=2))
        return 0
    counts = pushed.layers
    total = sum(counts.values())
    told = [
        f"{counts['sent']} of {total} layers" if counts["sent"] else "no layer",
        size_text(pushed.sent),
        *([f"{counts['mounted']} mounted"] if counts["mounted"] else []),
    ]
    context.terminal.say(f"pushed {reference}: {', '.join(told)}")
    context.terminal.print(place)
    return 0


def _compression(arguments: argparse.Namespace, context: Context, images: Iterable[Image]) -> Compression:
    """What is asked for, else what the image's project wants, else gzip; Docker's format has nothing smaller."""
    if arguments.compression is not None or arguments.format == "docker":
        return cast("Compression", arguments.compression or "gzip")
    for image in images:
        wanted = Manifest.decode(context.store.blobs.read(image.digest)).annotations.get(media.COMPRESSION)
        if wanted in ("zstd", "raw"):
            return cast("Compression", wanted)
    return "gzip"


def _own_place(name: str, given: str) -> Reference:
    """Where an image goes by its own name. Raises UsageError for a name that says no registry."""
    reference = registry_reference(name)
    if reference is None:
        path = given.partition(":")[0] if "/" not in given else "model"
        raise UsageError(
            f"the name '{name}' does not say which registry to push to",
            hint=f"give a reference, as in: corten push {given} registry.example/team/{path}:1.0",
        )
    return reference
