"""`corten prune`: delete what no image or container reaches."""

from __future__ import annotations

import argparse
import json

from corten.cli.context import Context
from corten.cli.terminal import size_text

EXAMPLES = """\
examples:
  corten prune         layers and blobs that nothing needs
  corten prune --all   also downloaded wheels, packages and caches"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "-a", "--all", action="store_true", help="also what would be downloaded or resolved again"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Clean the store up."""
    from corten.runtime import inventory
    from corten.store.prune import prune
    from corten.supervise import services

    store = context.store
    pruned = prune(
        store,
        lambda: inventory.layers_in_use(store) | services.layers_in_use(store),
        everything=arguments.all,
        observe=context.observe,
    )
    if arguments.json:
        document = {
            "layers": pruned.layers,
            "blobs": pruned.blobs,
            "files": pruned.files,
            "bytes": pruned.bytes,
        }
        context.terminal.print(json.dumps(document))
    else:
        context.terminal.say(
            f"removed {pruned.layers} layers, {pruned.blobs} blobs, {pruned.files} cached files: {size_text(pruned.bytes)}"
        )
    return 0
