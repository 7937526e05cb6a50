"""`corten history`: an image's layers, bottom to top."""

from __future__ import annotations

import argparse
import json

from corten.cli.context import Context
from corten.cli.terminal import size_text, table
from corten.oci.descriptor import Manifest

EXAMPLES = """\
examples:
  corten history iris
  corten history iris --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("image", help="name, ID or digest")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """List what every layer holds and how large it is."""
    image = context.store.images.get(arguments.image)
    # The manifest knows the sizes of layers that are not here, too.
    manifest = Manifest.decode(context.store.blobs.read(image.digest))
    rows = [
        {
            "layer": layer.digest,
            "size": layer.size,
            "contents": str(entry.get("created_by", "")).removeprefix("corten: "),
        }
        for layer, entry in zip(manifest.layers, image.config.layer_history, strict=True)
    ]
    if arguments.json:
        context.terminal.print(json.dumps(rows, indent=2))
    else:
        cells = [
            [str(row["layer"])[7:19], size_text(int(str(row["size"]))), str(row["contents"])] for row in rows
        ]
        context.terminal.print(table(cells, ["LAYER", "SIZE", "CONTENTS"]))
    return 0
