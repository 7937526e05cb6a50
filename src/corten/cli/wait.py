"""`corten wait`: until containers have ended."""

from __future__ import annotations

import argparse

from corten.cli.context import Context
from corten.cli.each import each

EXAMPLES = """\
examples:
  corten wait train                       prints its exit code when it has ended
  corten wait --condition healthy iris    returns when it is"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("containers", nargs="+", metavar="container", help="its name")
    parser.add_argument(
        "--condition",
        choices=("exited", "stopped", "running", "healthy", "unhealthy"),
        default="exited",
        help="what is waited for (default: exited, which stopped means too)",
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Print each one's exit code, in the order given; 137 where its monitor was killed too."""
    from corten.runtime.control import wait, wait_until

    def act(name: str) -> None:
        if arguments.condition in ("exited", "stopped"):
            context.terminal.print(str(wait(context.store, name)))
        else:
            wait_until(context.store, name, arguments.condition)

    return each(arguments.containers, act, context)
