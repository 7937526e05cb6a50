"""`corten load`: images from an OCI layout, an OCI archive, or what `docker save` wrote."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.images import row
from corten.errors import UsageError
from corten.oci.platform import Platform
from corten.store.sync import sync_later

if TYPE_CHECKING:
    from corten.store.images import Image

EXAMPLES = """\
examples:
  docker save iris | corten load
  corten load iris.tar
  corten load ./iris-layout --name team/iris:1.0"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "path", nargs="?", metavar="PATH", help="an archive, or a layout's folder (default: standard input)"
    )
    parser.add_argument("-i", "--input", metavar="PATH", help="the same")
    parser.add_argument("--name", metavar="NAME", help="what to call the one image in it")
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="P",
        help="only this platform (default: all that it has)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Load, and print the names."""
    if arguments.path and arguments.input:
        raise UsageError("two archives are named", hint="load them one after the other")
    path = arguments.input or arguments.path
    images = _load(None if path in (None, "-") else Path(path), arguments, context)
    sync_later(context.store)
    if arguments.json:
        rows = [row(image, context.store) for image in images]
        context.terminal.print(json.dumps(rows, indent=2))
    elif context.terminal.verbose:
        for image in images:
            context.terminal.print(f"{image.name} {image.id} {image.config.platform}")
    else:
        for name in dict.fromkeys(image.name for image in images):
            context.terminal.print(name)
    return 0


def _load(path: Path | None, arguments: argparse.Namespace, context: Context) -> list[Image]:
    from corten.store.loading import load

    platforms = [Platform.parse(text) for text in arguments.platform]
    title = "standard input" if path is None else str(path)
    if path is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                "no archive is named", hint="run 'corten load FILE', or pipe 'docker save' into it"
            )
        source = sys.stdin.buffer
        return load(context.store, source, title, context.observe, name=arguments.name, platforms=platforms)
    if path.is_dir():
        return load(context.store, path, title, context.observe, name=arguments.name, platforms=platforms)
    with open(path, "rb") as file:
        return load(context.store, file, title, context.observe, name=arguments.name, platforms=platforms)
