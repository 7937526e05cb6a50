"""What `up`, `dev` and `export` let people say about what is served: arguments, and their values."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.container_options import add_engine_argument, add_memory_file_arguments
from corten.cli.devices import add_gpu_arguments, gpus_of
from corten.cli.served_containers import add_served_container_arguments, with_served_container
from corten.errors import UsageError
from corten.values import replace

if TYPE_CHECKING:
    from corten.project.model import Project
    from corten.runtime.options import Limits, RunOptions
    from corten.store.images import Image

HOST, PORT = "127.0.0.1", 8000
ENTRY = "dev.corten.entry"
PATIENCE = 300.0
"""Seconds that a command has to get ready, unless something else is said."""
NOTHING = (
    "write a predictor (predict.py with a class that has 'predict'), or set `command` in [tool.corten]; "
    "to run something once: corten run . -- COMMAND"
)
_WORKERS = "CORTEN_WORKERS"
_MOST_WORKERS = 256


def add_project_arguments(parser: argparse.ArgumentParser, what: str = "the project's folder") -> None:
    """What is served, and how it is started."""
    parser.add_argument("path", nargs="?", type=Path, help=f"{what} (default: this folder)")
    _add_environment(parser)
    add_gpu_arguments(parser)
    add_engine_argument(parser)


def add_socket_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it is served."""
    parser.add_argument("--port", type=_port, help=f"the port to serve on; 0 picks one (default: {PORT})")
    parser.add_argument("--host", help=f"the address to serve on (default: {HOST}, this machine only)")


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """What `up` keeps running."""
    parser.add_argument("--name", help="the service's name (default: the image's)")
    add_resource_arguments(parser)
    parser.add_argument(
        "--idle",
        metavar="TIME",
        help="end the container after that time without a request, such as 10m; the next connection starts it, and "
        "waits (default: never)",
    )
    parser.add_argument(
        "--start-timeout",
        metavar="TIME",
        help="how long a container may take until it is ready, or 'never' to wait without a limit (default: 5m for a command, "
        "never for a predictor)",
    )
    parser.add_argument(
        "--ready",
        metavar="PATH|tcp|…",
        help="a command is ready when it answers a GET request of this path; tcp: when it accepts a connection "
        "(default: `ready` in [tool.corten], else /)",
    )


def add_resource_arguments(parser: argparse.ArgumentParser) -> None:
    """How much of the machine it may use."""
    parser.add_argument(
        "--workers", metavar="N|auto", help="how many processes predict (default: the image's own, else 1)"
    )
    parser.add_argument("--memory", metavar="SIZE", help="the most memory it may use, such as 2g")
    parser.add_argument("--cpus", metavar="N", help="the most processors it may use, such as 1.5")
    parser.add_argument(
        "--pids-limit",
        metavar="N",
        help="the most processes and threads it may have; -1: any number (default: 4096, or 128 for each processor)",
    )
    add_memory_file_arguments(parser)
    add_served_container_arguments(parser)


def add_container_arguments(parser: argparse.ArgumentParser) -> None:
    """What is said of a container that answers and ends."""
    _add_environment(parser)
    add_resource_arguments(parser)
    add_engine_argument(parser)


def _add_environment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable, or pass one on, which keeps its value off the command line",
    )
    parser.add_argument(
        "--env-file", action="append", default=[], type=Path, metavar="FILE", help="variables from a file"
    )
    parser.add_argument(
        "--env-prefix",
        metavar="PREFIX",
        help="pass on every variable whose name begins so, without the prefix",
    )
    parser.add_argument(
        "--network",
        choices=("none", "host", "private"),
        help="none, host (this machine's) or private (its own, with a way out); the port that is served needs none "
        "(default: a project folder's own, else none)",
    )


def with_options(options: RunOptions, arguments: argparse.Namespace, kind: str) -> RunOptions:
    """`options` with what the arguments spell, over what is there. Raises UsageError."""
    from corten.runtime.options import parse_shm_size

    environment = dict(options.environment) | dict(environment_of(arguments))
    if arguments.workers is not None:
        if kind != "predict":
            raise UsageError(
                "--workers is for predictors, and this is a command",
                hint="its own server says how many processes it has",
            )
        environment[_WORKERS] = _workers(arguments.workers)
    options = with_served_container(replace(options, environment=tuple(environment.items())), arguments)
    return replace(
        options,
        limits=limits_of(arguments, options.limits),
        gpus=gpus_of(arguments) or options.gpus,
        cdi_directories=tuple(arguments.cdi_spec_dir) or options.cdi_directories,
        engine=arguments.engine or options.engine,
        network=arguments.network or options.network,
        env_file_given=bool(arguments.env_file) or options.env_file_given,
        shm_size=parse_shm_size(arguments.shm_size) if arguments.shm_size is not None else options.shm_size,
    )


def seconds_of(text: str | None, default: float | None) -> float | None:
    """`10m`, or `never`; `default` where nothing is said. Raises UsageError."""
    from corten.cli.living import parse_time

    if text is None:
        return default
    return None if text == "never" else parse_time(text)


def patience_of(arguments: argparse.Namespace, kind: str) -> float | None:
    """How many seconds a new service's container has to get ready; None: for ever. A predictor says when it is ready, or ends; a
    command may never open a port. Raises UsageError."""
    return seconds_of(arguments.start_timeout, PATIENCE if kind == "command" else None)


def ready_of(arguments: argparse.Namespace, kind: str, before: str | None = None) -> str | None:
    """`--ready`, which goes before what the image says; `before` where it is not given. Raises UsageError."""
    from corten.supervise.starting import checked_ready

    if arguments.ready is None:
        return before if kind == "command" else None
    if kind == "predict":
        raise UsageError(
            "--ready is for commands, and this is a predictor", hint="it says itself when it is ready"
        )
    return checked_ready(arguments.ready, "--ready")


def kind_of(image: Image) -> str:
    """`predict` or `command`. Raises UsageError for an image that serves nothing."""
    kind = image.config.labels.get(ENTRY)
    if kind not in ("predict", "command"):
        raise UsageError(f"'{image.name}' has nothing to serve", hint=NOTHING)
    return kind


def check_served(project: Project, path: Path) -> None:
    """Raise UsageError for a project that has nothing to keep running: a script that trains a model ends, and would be started
    again and again."""
    from corten.project.model import Command
    from corten.project.recognize.candidates import SERVED
    from corten.project.recognize.scripts import WOULD_SERVE

    note = project.notes[0] if project.notes else ""
    _refuse_named(project, note, path)
    if project.entry is None:
        why = f": {note}" if note.startswith("nothing runs by default: ") else ""
        raise UsageError(f"'{project.name}' has nothing to serve{why}", hint=NOTHING)
    if note.endswith(WOULD_SERVE):
        script, _, model = note.partition("; ")
        raise UsageError(
            f"'{project.name}' does not say what to serve: {script}, with a model beside it", hint=model
        )
    # Who writes `ready` says that it serves.
    if project.kind not in SERVED and isinstance(project.entry, Command) and project.ready is None:
        import shlex

        words = shlex.join(project.entry.argv)
        raise UsageError(
            f"'{project.name}' has nothing to serve: {note}, and nothing in it is known to listen for requests",
            hint=f"run it once: corten run {shlex.quote(str(path))} -- {words}; if it does serve, say so in [tool.corten]: "
            f'command = "{words}"',
        )


def _refuse_named(project: Project, note: str, path: Path) -> None:
    """Raise UsageError for what is named and cannot be kept running: a service has no terminal and no display."""
    import shlex

    where = shlex.quote(str(path))
    if project.kind == "terminal":
        raise UsageError(
            f"'{project.name}' is a program for a terminal, and serves nothing: {note}",
            hint=f"run it at this terminal: corten run -it {where}",
        )
    if project.kind == "desktop":
        raise UsageError(
            f"'{project.name}' needs a display, which a container does not have: {note}",
            hint="run it outside; a part of it that computes can be served by a 'predict' function or a web application",
        )
    if project.kind == "infrastructure":
        raise UsageError(
            f"'{project.name}' has nothing to serve: {note}, and its own tool deploys that",
            hint=NOTHING,
        )
    if project.kind == "notebook":
        file = note.partition(": ")[2].partition("'")[2].partition("'")[0]
        raise UsageError(
            f"'{project.name}' has nothing to serve: {note}",
            hint=f"make a program of one: 'jupyter nbconvert --to script {shlex.quote(file)}', or a cell that begins with "
            f"'%%writefile app.py'; 'corten shell {where}' has Python with its packages",
        )


def inner_port(image: Image, environment: tuple[tuple[str, str], ...]) -> int:
    """The port that the command is told: the caller's, else the image's."""
    from corten.runtime.port_variables import told_port, variables

    values = variables(image.config.env) | dict(environment)
    name, port = told_port(values)
    if port is None:
        raise UsageError(
            f"'{name}' is '{values[name][:20]}', which is not a port", hint="use a number from 1 to 65535"
        )
    return port


def environment_of(arguments: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    """The variables that `--env-prefix`, `--env-file` and `-e` spell; the later of them wins. Raises UsageError."""
    from corten.runtime.options import parse_variable

    prefix = arguments.env_prefix
    found = (
        {name[len(prefix) :]: value for name, value in os.environ.items() if name.startswith(prefix)}
        if prefix
        else {}
    )
    found.pop("", None)
    found |= dict(variables_of_files(arguments.env_file))
    parsed = (parse_variable(text, os.environ) for text in arguments.env)
    found |= dict(variable for variable in parsed if variable is not None)
    return tuple(found.items())


def variables_of_files(paths: list[Path]) -> list[tuple[str, str]]:
    """The variables of the files that `--env-file` names. Raises UsageError."""
    from corten.runtime.options import parse_variables_file

    variables = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"the file '{path}' of --env-file cannot be read", hint="check its path"
            ) from error
        variables += parse_variables_file(text, str(path), os.environ)
    return variables


def limits_of(arguments: argparse.Namespace, before: Limits) -> Limits:
    """The limits that the arguments spell, over those `before`. Raises UsageError."""
    from corten.runtime.options import parse_cpus, parse_memory, parse_pids

    return replace(
        before,
        memory=parse_memory(arguments.memory) if arguments.memory else before.memory,
        cpus=parse_cpus(arguments.cpus) if arguments.cpus else before.cpus,
        pids=parse_pids(arguments.pids_limit) if arguments.pids_limit else before.pids,
    )


def _workers(text: str) -> str:
    if text == "auto" or (
        text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _MOST_WORKERS
    ):
        return text
    raise UsageError(
        f"'{text[:20]}' is not a number of workers", hint=f"use a number from 1 to {_MOST_WORKERS}, or 'auto'"
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a port; use a number from 0 to 65535")
    return int(text)
