"""`corten attach`: a detached container's output, and its input or terminal."""

from __future__ import annotations

import argparse

from corten.cli.context import Context

EXAMPLES = """\
examples:
  corten run -d -it --name shell debian -- sh
  corten attach shell         Ctrl-P Ctrl-Q leaves it and lets it run on
  corten attach --no-stdin iris"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("container", help="its name, as 'corten ps' shows it")
    parser.add_argument("--no-stdin", action="store_true", help="only its output")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Attach; the exit code is the container's where it ended meanwhile."""
    from corten.runtime.attach import attach
    from corten.runtime.control import wait
    from corten.runtime.inventory import find

    find(context.store, arguments.container)
    context.terminal.close()
    if attach(context.store, arguments.container, stdin=not arguments.no_stdin):
        return 0
    return wait(context.store, arguments.container)
