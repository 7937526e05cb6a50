"""`corten tag`: another name for an image."""

from __future__ import annotations

import argparse

from corten.cli.context import Context

EXAMPLES = """\
examples:
  corten tag iris registry.example/team/iris:1.0
  corten tag 3f2a9c81d0e4 iris:good"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("source", metavar="SOURCE", help="name, ID or digest of an image on this machine")
    parser.add_argument("name", metavar="NAME", help="the name that it gets beside those that it has")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Give the name."""
    with context.store.lock("store", shared=True):
        context.store.images.alias(arguments.source, arguments.name)
    return 0
