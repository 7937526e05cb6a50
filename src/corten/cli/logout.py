"""`corten logout`: forget credentials for a registry."""

from __future__ import annotations

import argparse
import os

from corten.cli.context import Context
from corten.errors import UsageError
from corten.oci.reference import parse_host

EXAMPLES = """\
examples:
  corten logout registry.example
  corten logout --all"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("host", nargs="?", metavar="HOST", help="the registry, HOST or HOST:PORT")
    parser.add_argument("--all", action="store_true", help="forget every login")
    # The registry is not asked. The option is taken so that a script may give the same ones to login and logout.
    parser.add_argument("--insecure", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Forget, and say what is still there."""
    from corten.registry.login import forget

    if (arguments.host is None) != arguments.all:
        raise UsageError("either a registry or '--all' is needed", hint="run 'corten logout HOST'")
    host = None if arguments.all else parse_host(arguments.host)
    forgotten = forget(host, os.environ)
    for name in forgotten.hosts:
        context.terminal.say(f"logged out of '{name}'")
    if not forgotten.hosts:
        context.terminal.say(f"there is no login for '{host}'" if host else "there is no login")
    for path in forgotten.elsewhere:
        context.terminal.say(f"hint: '{path}' still has credentials{f' for {host!r}' if host else ''}")
    return 0
