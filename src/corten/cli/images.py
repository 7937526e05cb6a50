"""`corten images`: the images on this machine."""

from __future__ import annotations

import argparse
import json

from corten.cli.context import Context
from corten.cli.terminal import size_text, table

EXAMPLES = """\
examples:
  corten images
  corten images --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """List the images, newest first."""
    images = context.store.images.all()
    if arguments.json:
        rows: list[dict[str, object]] = [
            {
                "name": image.name,
                "id": image.id,
                "digest": image.digest,
                "repo_digests": [],
                "platform": str(image.config.platform),
                "size": image.size,
                "layers": len(image.config.diff_ids),
                "created": image.config.created,
            }
            for image in images
        ]
        context.terminal.print(json.dumps(rows, indent=2))
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
