"""`corten up`: a project is built, started and served on a port of this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from corten.cli.container_options import add_engine_argument
from corten.cli.context import Context
from corten.cli.devices import add_gpu_arguments, gpus_of
from corten.errors import UsageError
from corten.values import dataclass

if TYPE_CHECKING:
    from corten.cli.serving import Served
    from corten.runtime.cdi.choose import Gpus
    from corten.runtime.options import Limits
    from corten.store.images import Image

EXAMPLES = """\
examples:
  corten up                                  the project in this folder, on http://127.0.0.1:8000
  corten up ./iris --port 9000
  corten up --host 0.0.0.0                   reachable from other machines
  corten up --detach                         return when it is ready; 'corten stop NAME' ends it
  corten up -e LOG_LEVEL=debug --memory 2g"""

ENTRY = "dev.corten.entry"
NOTHING = (
    "write a predictor (predict.py with a class that has 'predict'), or set `command` in [tool.corten]; "
    "to run something once: corten run . -- COMMAND"
)


@dataclass(frozen=True, slots=True)
class Start:
    """How an image is to be started for serving.

    `listener` is the listening socket. A predictor gets it as descriptor 3 (`LISTEN_FDS=1`) and no network; a command
    (`forward` is the port that it listens on) has a network of its own, in which Corten's forwarder passes on what
    arrives at the socket. `output` is where its standard output and error go; None: detached, to its log."""

    listener: socket.socket
    forward: int | None
    environment: tuple[tuple[str, str], ...]
    limits: Limits
    output: int | None
    gpus: Gpus | None = None
    cdi_directories: tuple[str, ...] = ()
    engine: str | None = None


class Starter(Protocol):
    """Starts an image as asked."""

    def __call__(self, image: Image, how: Start) -> Served: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "path", nargs="?", type=Path, default=Path(), help="the project's folder (default: this one)"
    )
    parser.add_argument(
        "--port", type=_port, default=8000, help="the port to serve on; 0 picks one (default: 8000)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to serve on (default: this machine only)"
    )
    parser.add_argument(
        "-d", "--detach", action="store_true", help="return when it is ready, and let it serve on"
    )
    parser.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable, or pass one on",
    )
    parser.add_argument("--memory", metavar="SIZE", help="the most memory it may use, such as 2g")
    parser.add_argument("--cpus", metavar="N", help="the most processors it may use, such as 1.5")
    parser.add_argument("--pids-limit", metavar="N", help="the most processes it may have")
    add_gpu_arguments(parser)
    add_engine_argument(parser)


def run(arguments: argparse.Namespace, context: Context, starter: Starter | None = None) -> int:
    """Build, hold the socket, start, wait, tell, follow, stop. Returns 0 after a stop that was asked for, else the
    container's own exit code."""
    from corten.cli import serving
    from corten.cli.terminal import size_text
    from corten.events import TaskFinished, TaskStarted

    environment, limits = environment_of(arguments.env), limits_of(arguments)
    gpus, cdi_directories = gpus_of(arguments), tuple(arguments.cdi_spec_dir)
    # A port in use and a project that serves nothing are told before a build of minutes, not after it.
    if starter is None:
        _check_entry(arguments.path)
    with serving.listen(arguments.host, arguments.port) as listener:
        image = context.build(arguments.path)
        layers = len(image.config.diff_ids)
        context.terminal.say(f"{image.name}: {size_text(image.size)} in {layers} layers")
        kind = image.config.labels.get(ENTRY)
        if kind not in ("predict", "command"):
            raise UsageError(f"'{image.name}' has nothing to serve", hint=NOTHING)
        forward = None if kind == "predict" else inner_port(image, environment)
        output = None if arguments.detach else serving.Output(context.terminal.say)
        descriptor = output.descriptor if output else None
        engine = arguments.engine
        how = Start(listener, forward, environment, limits, descriptor, gpus, cdi_directories, engine)
        with serving.interrupts() as asked:
            begun = TaskStarted("start", image.name)
            context.observe(begun)
            served = (starter or container_starter(context))(image, how)
            try:
                address = serving.address_of(listener)
                serving.wait_until_ready(served, address, "/readyz" if kind == "predict" else None, asked)
                context.observe(TaskFinished("start", image.name))
                if asked.count == 0:
                    tell(context, serving.url_of(listener), kind, address, served, detached=arguments.detach)
                if arguments.detach and asked.count == 0:
                    return 0
                code = serving.follow(served, asked, context.terminal.say)
            except BaseException:
                for line in serving.last_lines(served.log):
                    context.terminal.say(line)
                serving.stop(served, grace=0)
                raise
            finally:
                if output:
                    output.finish()
        if code != 0:
            context.terminal.error(f"the container ended by itself, with exit code {code}", None)
        return code


def _check_entry(path: Path) -> None:
    from corten.project.load import load

    project = load(path)
    if project.entry is None:
        raise UsageError(f"'{project.name}' has nothing to serve", hint=NOTHING)


def tell(
    context: Context, url: str, kind: str, address: tuple[str, int], served: Served, detached: bool
) -> None:
    """The URL on standard output, and beside it how to call it and how to stop it."""
    from corten.cli import serving
    from corten.cli.example import curl, example_request

    terminal = context.terminal
    terminal.print(url)
    terminal.say("")
    if kind == "predict":
        answer = serving.get(address, "/openapi.json", served)
        document = json.loads(answer[1]) if answer is not None and answer[0] == 200 else {}
        terminal.say(f"  {curl(url, example_request(document) or {})}")
    else:
        terminal.say(f"  curl {url}/")
    terminal.say("")
    name = getattr(served, "name", "NAME")
    terminal.say(
        f"stop it with 'corten stop {name}', read its log with 'corten logs {name}'"
        if detached
        else "Ctrl-C stops it"
    )


def container_starter(context: Context) -> Starter:
    """What starts containers of this user's store."""
    from corten.cli.containers import starter

    return starter(context.store, context.observe)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:6]) > 65535:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a port; use a number from 0 to 65535")
    return int(text)


def inner_port(image: Image, environment: tuple[tuple[str, str], ...]) -> int:
    """The `$PORT` that the command will see: the caller's, else the image's."""
    values = dict(item.partition("=")[::2] for item in image.config.env) | dict(environment)
    text = values.get("PORT", "8080")
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) < 65536:
        raise UsageError(f"'PORT' is '{text[:20]}', which is not a port", hint="use a number from 1 to 65535")
    return int(text)


def environment_of(texts: list[str]) -> tuple[tuple[str, str], ...]:
    """The variables that `-e` spells. Raises UsageError."""
    from corten.runtime.options import parse_variable

    parsed = (parse_variable(text, os.environ) for text in texts)
    return tuple(variable for variable in parsed if variable is not None)


def limits_of(arguments: argparse.Namespace) -> Limits:
    """The limits that the arguments spell. Raises UsageError."""
    from corten.runtime.options import Limits, parse_cpus, parse_memory, parse_pids

    return Limits(
        memory=parse_memory(arguments.memory) if arguments.memory else None,
        cpus=parse_cpus(arguments.cpus) if arguments.cpus else None,
        pids=parse_pids(arguments.pids_limit) if arguments.pids_limit else None,
    )
