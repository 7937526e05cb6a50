"""`corten wait`: until containers have ended."""

from __future__ import annotations

import argparse

from corten.cli.context import Context
from corten.cli.each import each

EXAMPLES = """\
examples:
  corten wait train    prints its exit code when it has ended"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("containers", nargs="+", metavar="container", help="its name")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Print each one's exit code, in the order given; 137 where its monitor was killed too."""
    from corten.runtime.control import wait

    def act(name: str) -> None:
        context.terminal.print(str(wait(context.store, name)))

    return each(arguments.containers, act, context)
