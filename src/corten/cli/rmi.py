"""`corten rmi`: forget images' names."""

from __future__ import annotations

import argparse

from corten.cli.context import Context
from corten.cli.each import each

EXAMPLES = """\
examples:
  corten rmi iris
  corten rmi 3f2a9c1b77de   every name of the image with this ID
  corten prune              then delete the layers that nothing needs"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("images", nargs="+", metavar="image", help="name, ID or digest")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Remove the names. The layers stay until 'corten prune'."""

    def act(name: str) -> None:
        for removed in context.store.images.remove(name):
            context.terminal.print(removed)

    return each(arguments.images, act, context)
