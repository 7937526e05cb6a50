"""`corten stop`: end containers, politely first."""

from __future__ import annotations

import argparse

from corten.cli.context import Context
from corten.cli.each import each
from corten.errors import UsageError

EXAMPLES = """\
examples:
  corten stop iris
  corten stop --time 30 iris   give it 30 seconds to finish its work
  corten stop --all"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "containers", nargs="*", metavar="container", help="its name, as 'corten ps' shows it"
    )
    parser.add_argument("-a", "--all", action="store_true", help="every container of this user")
    parser.add_argument(
        "-t",
        "--time",
        "--timeout",
        type=float,
        default=None,
        metavar="SECONDS",
        help="until it is killed (default: its --stop-timeout, else 10)",
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Stop containers, and the services that they serve for; print the name of each."""
    from corten.runtime.control import stop
    from corten.runtime.inventory import list_containers
    from corten.supervise.ending import end
    from corten.supervise.services import service_of, services

    names = list(arguments.containers)
    if arguments.all:
        found = [item.name for item in services(context.store)]
        found += [item.name for item in list_containers(context.store)]
        names += [name for name in dict.fromkeys(found) if name not in names]
    elif not names:
        raise UsageError("which container?", hint="'corten ps' lists them; --all stops every one")

    def act(name: str) -> None:
        service = service_of(context.store, name)
        if service is not None:
            end(context.store, service, 10.0 if arguments.time is None else arguments.time)
        elif not arguments.all or (context.store.containers_directory / name).exists():
            stop(context.store, name, arguments.time)
        context.terminal.print(name)

    return each(names, act, context)
