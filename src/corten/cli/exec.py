"""`corten exec`: one more command in a container that runs."""

from __future__ import annotations

import argparse
import os

from corten.cli.context import Context
from corten.errors import RuntimeFailure, UsageError

EXAMPLES = """\
examples:
  corten exec iris ps                   in a container that runs
  corten exec -it iris sh               a shell in it
  corten exec -e DEBUG=1 -w /tmp iris python check.py

It gets the container's namespaces, limits and user, and never more rights than its first process has."""

TAKES_COMMAND = True
"""`main` puts what follows the container into `arguments.command`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.usage = "corten exec [OPTIONS] NAME [--] COMMAND …"
    parser.add_argument("container", metavar="NAME", help="its name, as 'corten ps' shows it")
    parser.add_argument("-i", "--interactive", action="store_true", help="pass standard input on")
    parser.add_argument("-t", "--tty", action="store_true", help="give it a terminal, or fail")
    parser.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable, or pass one on",
    )
    parser.add_argument("-w", "--workdir", metavar="DIR", help="the working directory")
    parser.add_argument("-u", "--user", metavar="USER[:GROUP]", help="the user (default: the container's)")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Execute, and return the command's own exit code; 125, 126 or 127 where it did not start."""
    from corten.runtime import launch
    from corten.runtime.executing import Execution, execute
    from corten.runtime.options import parse_variable
    from corten.runtime.terminals import kept_terminal, terminal_size

    if not arguments.command:
        raise UsageError("which command?", hint=f"as in: corten exec -it {arguments.container} sh")
    terminal = os.isatty(0) and os.isatty(1)
    if arguments.tty and not terminal:
        raise UsageError("standard input and output are no terminal", hint="leave -t out")
    if arguments.workdir is not None and not arguments.workdir.startswith("/"):
        raise UsageError(
            f"the working directory '{arguments.workdir}' is not an absolute path", hint="as in -w /app"
        )
    variables = [item for text in arguments.env if (item := parse_variable(text, os.environ)) is not None]
    what = Execution(
        tuple(arguments.command),
        tuple(variables),
        arguments.workdir,
        arguments.user,
        terminal,
        terminal_size() if terminal else None,
    )
    context.terminal.close()
    try:
        with kept_terminal(terminal):
            return execute(context.store, arguments.container, what, stdin=arguments.interactive or terminal)
    except RuntimeFailure as error:
        context.terminal.error(error.message, error.hint)
        codes = {launch.NotFound: 127, launch.NotExecutable: 126}
        return codes.get(type(error), 125)
