"""`corten kill`: send a signal to containers."""

from __future__ import annotations

import argparse

from corten.cli.context import Context
from corten.cli.each import each

EXAMPLES = """\
examples:
  corten kill iris            end it at once (SIGKILL)
  corten kill -s HUP iris     as its program understands it"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("containers", nargs="+", metavar="container", help="its name")
    parser.add_argument("-s", "--signal", default="KILL", help="name or number (default: KILL)")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Signal them, and print the name of each."""
    from corten.runtime.control import kill, parse_signal

    number = parse_signal(arguments.signal)

    def act(name: str) -> None:
        kill(context.store, name, number)
        context.terminal.print(name)

    return each(arguments.containers, act, context)
