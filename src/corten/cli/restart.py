"""`corten restart`: stop containers, and start them again with the same options."""

from __future__ import annotations

import argparse

from corten.cli.context import Context
from corten.cli.each import each

EXAMPLES = """\
examples:
  corten restart iris
  corten restart --time 30 iris   give it 30 seconds to finish its work"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("containers", nargs="+", metavar="container", help="its name")
    parser.add_argument(
        "-t",
        "--time",
        type=float,
        default=None,
        metavar="SECONDS",
        help="until it is killed (default: its --stop-timeout, else 10)",
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Restart each, also one that has ended, and print its name. What it wrote to its root is kept."""
    from corten.runtime.container import check_startable, start_again
    from corten.runtime.control import stop

    def act(name: str) -> None:
        check_startable(context.store, name)
        stop(context.store, name, arguments.time)
        start_again(context.store, name, context.observe)
        context.terminal.print(name)

    return each(arguments.containers, act, context)
