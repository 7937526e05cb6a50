"""`corten build`: a project's folder becomes an image."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.finding import add_accepted, add_insecure
from corten.cli.terminal import size_text
from corten.cli.trusting import add_trust, remember_trust
from corten.oci.digest import Digest
from corten.oci.platform import Platform

if TYPE_CHECKING:
    from corten.build.build import Built

EXAMPLES = """\
examples:
  corten build                               the project in this folder
  corten build ./iris --name team/iris:1.0
  corten build --platform linux/amd64,linux/arm64    for several processors, without emulation
  corten build --locked --json               in CI: fail if corten.lock is missing or stale
  corten build --offline ./bundle            from a folder made by 'corten lock --download'
  corten build --cache-from registry.example/team/iris:main    what it has is neither made nor fetched"""


_MOST_JOBS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "path", nargs="?", type=Path, default=Path(), help="the project's folder (default: this one)"
    )
    parser.add_argument("--name", help="the image's name (default: the project's)")
    parser.add_argument(
        "--platform",
        action="append",
        metavar="PLATFORM[,…]",
        help="linux/amd64, linux/arm64 or both (default: this machine's)",
    )
    parser.add_argument("--locked", action="store_true", help="fail if corten.lock is missing or stale")
    parser.add_argument(
        "--offline", type=Path, metavar="DIR", help="take files from DIR only, not from the network"
    )
    parser.add_argument(
        "--jobs", type=_jobs, default=0, metavar="N", help="processes that compile (default: all cores)"
    )
    parser.add_argument(
        "--cache-from",
        action="append",
        default=[],
        metavar="REF",
        help="an image in a registry: layers that it has are neither made nor fetched; can be repeated",
    )
    add_insecure(parser)
    add_accepted(parser)
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Build, then say what was made."""
    remember_trust(arguments)
    named = [item for text in arguments.platform or () for item in text.split(",")]
    results = context.build_all(
        arguments.path,
        platforms=tuple(dict.fromkeys(Platform.parse(item) for item in named)),
        locked=arguments.locked,
        offline=arguments.offline,
        name=arguments.name,
        jobs=arguments.jobs,
        cache_from=tuple(arguments.cache_from),
        insecure=arguments.insecure,
    )
    if any(not layer.reused for built in results for layer in built.layers):
        from corten.cli.around import tell_fetches
        from corten.project.load import load

        tell_fetches(load(arguments.path), None, context)
    for built in results:
        context.terminal.say(_said(built), (built.image.name, "1"))
    documents = [_document(built) for built in results]
    digest = results[0].image.digest
    document = documents[0]
    if len(results) > 1:
        digest = Digest.of(context.store.images.index(built.image for built in results).encode())
        document = {"image": results[0].image.name, "digest": digest, "platforms": documents}
    context.terminal.print(json.dumps(document, indent=2) if arguments.json else digest)
    return 0


def _said(built: Built) -> str:
    image = built.image
    reused = sum(layer.reused for layer in built.layers)
    absent = sum(layer.absent for layer in built.layers)
    new = sum(layer.size for layer in built.layers if not layer.reused)
    platform = "" if image.config.platform == Platform.host() else f"{image.config.platform} "
    left = f", {absent} left in the registry" if absent else ""
    return (
        f"{platform}{image.id.short}: "
        f"{size_text(image.size)} in {len(built.layers)} layers, {reused} reused{left}, {size_text(new)} new, "
        f"{built.seconds:.1f} s"
    )


def _document(built: Built) -> dict[str, object]:
    image = built.image
    return {
        "image": image.name,
        "id": image.id,
        "digest": image.digest,
        "platform": str(image.config.platform),
        "size": image.size,
        "layers": [
            {
                "digest": layer.digest,
                "size": layer.size,
                "reused": layer.reused,
                "absent": layer.absent,
                "title": layer.title,
            }
            for layer in built.layers
        ],
        "seconds": round(built.seconds, 3),
    }


def _jobs(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:5]) <= _MOST_JOBS:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number from 1 to {_MOST_JOBS}")
    return int(text)
