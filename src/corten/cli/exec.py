"""`corten exec`: one more command in a container that runs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.serving_options import variables_of_files
from corten.errors import RuntimeFailure, UsageError

if TYPE_CHECKING:
    from corten.runtime.executing import Execution

EXAMPLES = """\
examples:
  corten exec iris ps                   in a container that runs
  corten exec -it iris sh               a shell in it
  corten exec -e DEBUG=1 -w /tmp iris python check.py
  corten exec -d iris python warm_up.py  in the background

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
    parser.add_argument(
        "--env-file", action="append", default=[], type=Path, metavar="FILE", help="variables from a file"
    )
    parser.add_argument(
        "-d", "--detach", action="store_true", help="return when it has started; what it prints is dropped"
    )
    parser.add_argument("-w", "--workdir", metavar="DIR", help="the working directory")
    parser.add_argument("-u", "--user", metavar="USER[:GROUP]", help="the user (default: the container's)")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Execute, and return the command's own exit code; 125, 126 or 127 where it did not start."""
    from corten.runtime.executing import Execution, execute
    from corten.runtime.options import parse_variable
    from corten.runtime.terminals import kept_terminal, terminal_size

    if not arguments.command:
        raise UsageError("which command?", hint=f"as in: corten exec -it {arguments.container} sh")
    if arguments.detach and (arguments.interactive or arguments.tty):
        raise UsageError(
            "a command in the background has neither standard input nor a terminal",
            hint="leave -i and -t out",
        )
    terminal = os.isatty(0) and os.isatty(1) and not arguments.detach
    if arguments.tty and not terminal:
        raise UsageError("standard input and output are no terminal", hint="leave -t out")
    if arguments.workdir is not None and not arguments.workdir.startswith("/"):
        raise UsageError(
            f"the working directory '{arguments.workdir}' is not an absolute path", hint="as in -w /app"
        )
    variables = variables_of_files(arguments.env_file)
    variables += [item for text in arguments.env if (item := parse_variable(text, os.environ)) is not None]
    what = Execution(
        tuple(arguments.command),
        tuple(variables),
        arguments.workdir,
        arguments.user,
        terminal,
        terminal_size() if terminal else None,
    )
    context.terminal.close()
    if arguments.detach:
        return _detached(context, arguments.container, what)
    try:
        with kept_terminal(terminal):
            return execute(context.store, arguments.container, what, stdin=arguments.interactive or terminal)
    except RuntimeFailure as error:
        return _failed(context, error)


def _detached(context: Context, container: str, what: Execution) -> int:
    """Start it in the background; the exit code is that of the start."""
    from corten.runtime.executing import execute_detached

    try:
        execute_detached(context.store, container, what)
    except RuntimeFailure as error:
        return _failed(context, error)
    return 0


def _failed(context: Context, error: RuntimeFailure) -> int:
    from corten.runtime import launch

    context.terminal.error(error.message, error.hint)
    codes = {launch.NotFound: 127, launch.NotExecutable: 126}
    return codes.get(type(error), 125)
