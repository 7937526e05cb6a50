"""`corten rm`: remove containers that have ended."""

from __future__ import annotations

import argparse

from corten.cli.context import Context
from corten.cli.each import each
from corten.errors import RuntimeFailure, UsageError

EXAMPLES = """\
examples:
  corten rm train
  corten rm --force train   also when it runs
  corten rm --all           every one that has ended"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("containers", nargs="*", metavar="container", help="its name")
    parser.add_argument("-f", "--force", action="store_true", help="kill it first where it runs")
    parser.add_argument(
        "-a", "--all", action="store_true", help="every one that has ended; with -f every one"
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Remove them with all they wrote, and print the name of each."""
    from corten.runtime.control import remove
    from corten.runtime.inventory import list_containers, sweep

    names = list(arguments.containers)
    if arguments.all:
        wanted = [
            item.name
            for item in list_containers(context.store)
            if arguments.force or (item.ending is not None and item.status != "restarting")
        ]
        names += [name for name in wanted if name not in names]
        sweep(context.store)
    elif not names:
        raise UsageError("which container?", hint="'corten ps --all' lists them")

    def act(name: str) -> None:
        try:
            remove(context.store, name, force=arguments.force)
        except RuntimeFailure:
            if name in arguments.containers or (context.store.containers_directory / name).exists():
                raise
            # One that removes itself, and was just about to.
            return
        context.terminal.print(name)

    return each(names, act, context)
