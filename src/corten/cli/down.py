"""`corten down`: end what `corten up` keeps running."""

from __future__ import annotations

import argparse
from pathlib import Path

from corten.cli.context import Context

EXAMPLES = """\
examples:
  corten down                  the project in this folder, or the only service there is
  corten down iris
  corten down --time 60 iris   give it 60 seconds to finish what is in flight
  corten down --all"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "services", nargs="*", metavar="service", help="its name, as 'corten status' shows it"
    )
    parser.add_argument("-a", "--all", action="store_true", help="every service of this user")
    parser.add_argument(
        "-t", "--time", type=float, default=10.0, metavar="SECONDS", help="until it is killed (default: 10)"
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """End services; print the name of each."""
    from corten.supervise import services
    from corten.supervise.ending import end

    names = list(arguments.services)
    if arguments.all:
        names += [item.name for item in services.services(context.store) if item.name not in names]
    elif not names:
        names = [services.the_service(context.store, None, Path()).name]
    for name in names:
        end(context.store, name, arguments.time)
        context.terminal.print(name)
    return 0
