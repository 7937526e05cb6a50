"""`corten logs`: what a detached container printed."""

from __future__ import annotations

import argparse
import sys
import time

from corten.cli.context import Context
from corten.errors import RuntimeFailure

EXAMPLES = """\
examples:
  corten logs iris
  corten logs -f iris   and what it prints from now on"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("container", help="its name, as 'corten ps' shows it")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Copy the log to standard output."""
    from corten.runtime.inventory import find, is_alive

    directory = find(context.store, arguments.container)
    try:
        log = open(directory / "output.log", "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise RuntimeFailure(
            f"'{arguments.container}' runs in the foreground and keeps no log",
            hint="its terminal shows what it prints",
        ) from None
    with log:
        while True:
            alive = is_alive(directory)
            while piece := log.read(1 << 16):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            if not (arguments.follow and alive):
                return 0
            time.sleep(0.1)
