"""`corten images`: the images on this machine, or those of a repository in a registry."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.finding import add_insecure
from corten.cli.terminal import size_text, table
from corten.oci.reference import DEFAULT_TAG, Reference

if TYPE_CHECKING:
    from corten.registry.remote import RemoteImage
    from corten.store.images import Image
    from corten.store.store import Store

EXAMPLES = """\
examples:
  corten images
  corten images --json
  corten images -q                                        their IDs alone
  corten images --remote registry.example/team/iris        its tags
  corten images --remote registry.example/team/iris:1.0    its platforms"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--remote", metavar="REF", help="list what a registry has instead, HOST/NAME[:TAG]")
    add_insecure(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """List the images, newest first; the tags of a repository by name."""
    if arguments.remote:
        return _remote(arguments, context)
    images = context.store.images.all()
    if arguments.json:
        rows = [row(image, context.store) for image in images]
        context.terminal.print(json.dumps(rows, indent=2))
    elif arguments.quiet:
        for image_id in dict.fromkeys(image.id.short for image in images):
            context.terminal.print(image_id)
    elif images:
        cells = [
            [
                image.name,
                image.id.short,
                str(image.config.platform),
                str(len(image.config.diff_ids)),
                size_text(image.size),
            ]
            for image in images
        ]
        context.terminal.print(table(cells, ["NAME", "ID", "PLATFORM", "LAYERS", "SIZE"]))
    else:
        context.terminal.say("there are no images yet; build one with 'corten build' in a project's folder")
    return 0


def _remote(arguments: argparse.Namespace, context: Context) -> int:
    from corten.cli.finding import settings
    from corten.registry.client import open_repository
    from corten.registry.remote import find_images

    reference = Reference.parse(arguments.remote)
    repository = open_repository(reference, settings(arguments.insecure, context.observe))
    if reference.digest is None and not arguments.remote.endswith(f":{reference.tag}"):
        assert reference.tag == DEFAULT_TAG
        tags = sorted(repository.tags())
        if arguments.json:
            context.terminal.print(
                json.dumps([{"name": f"{reference.name}:{tag}"} for tag in tags], indent=2)
            )
        elif tags:
            context.terminal.print(table([[f"{reference.name}:{tag}"] for tag in tags], ["NAME"]))
        else:
            context.terminal.say(f"'{reference.name}' has no tags")
        return 0
    found = find_images(repository, reference.target)
    rows = [_row(image, reference) for image in found]
    if arguments.json:
        context.terminal.print(json.dumps(rows, indent=2))
    else:
        cells = [
            [
                str(row["name"]),
                image.id.short,
                str(row["platform"]),
                str(row["layers"]),
                size_text(image.size),
            ]
            for row, image in zip(rows, found, strict=True)
        ]
        context.terminal.print(table(cells, ["NAME", "ID", "PLATFORM", "LAYERS", "PACKED"]))
    return 0


def _row(image: RemoteImage, reference: Reference) -> dict[str, object]:
    return {
        "name": str(reference),
        "id": image.id,
        "repo_digests": [f"{reference.name}@{image.digest}"],
        "platform": str(image.config.platform),
        "packed_size": image.size,
        "layers": len(image.manifest.layers),
        "created": image.config.created,
    }


def row(image: Image, store: Store) -> dict[str, object]:
    """An image in `--json`."""
    return {
        "name": image.name,
        "id": image.id,
        "digest": image.digest,
        "repo_digests": list(store.repo_digests.of(image.id)),
        "platform": str(image.config.platform),
        "size": image.size,
        "layers": len(image.config.diff_ids),
        "created": image.config.created,
    }
