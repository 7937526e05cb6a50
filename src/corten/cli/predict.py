"""`corten predict`: a prediction by a server that runs, an image or a project; or one for every row of a file."""

from __future__ import annotations

import argparse
import codecs
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.cli.devices import add_gpu_arguments
from corten.cli.finding import add_accepted
from corten.cli.serving_options import add_container_arguments
from corten.cli.terminal import escaped
from corten.errors import RuntimeFailure, UsageError

if TYPE_CHECKING:
    from corten.events import Event
    from corten.inference.batch import Job
    from corten.inference.client import Answered, Client
    from corten.network.settings import NetworkSettings

EXAMPLES = """\
examples:
  corten predict text="You are a winner"                    by the project in this folder
  corten predict iris sepal_length=5.1 sepal_width=3.5      by an image
  corten predict http://localhost:8000 image=@cat.jpg       by a server that runs
  corten predict . @request.json --endpoint rank
  corten predict . --batch rows.csv --out answers.csv --workers auto

FIELD=VALUE is read as the field's type asks for; FIELD=@FILE is a file's content, FIELD:=JSON is JSON as it stands.
A batch that was interrupted goes on where it ended when the same command is given again."""

WORDS_ANYWHERE = True
"""`main` lets options stand between the words."""
_TOGETHER = 32
_TAIL = 200
_HURRY = 0.5
"""Seconds that a server has to end after an interrupt."""
_LAST_WORDS = 0.1
"""Seconds in which what a predictor printed about its failure arrives here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.usage = "corten predict [URL|IMAGE|FOLDER] [FIELD=VALUE … | @FILE] [OPTIONS]"
    parser.add_argument(
        "words",
        nargs="*",
        metavar="TARGET, FIELD=VALUE",
        help="what answers (a URL, an image or a folder; default: this one), and the request",
    )
    add_accepted(parser)
    parser.add_argument("--endpoint", metavar="NAME", help="which prediction, where there are several")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the answer to a file")
    parser.add_argument("--batch", type=Path, metavar="FILE", help="a request in each row: .jsonl or .csv")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the results of --batch go: .jsonl or .csv"
    )
    parser.add_argument(
        "--together",
        type=_count,
        default=_TOGETHER,
        metavar="N",
        help=f"how many requests of --batch are under way at once (default: {_TOGETHER})",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="accept a certificate that nobody vouches for"
    )
    add_container_arguments(parser)
    add_gpu_arguments(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Ask and print. Returns 0, or 1 where there was no answer to one at least."""
    target, words = _split(arguments.words)
    if (arguments.batch is None) != (arguments.out is None):
        raise UsageError("--batch and --out belong together", hint="as in: --batch in.jsonl --out out.jsonl")
    if arguments.batch is not None and words:
        raise UsageError(f"'{words[0]}' has no place beside --batch", hint="the file has the requests")
    _check_files(arguments.batch, arguments.out or arguments.output)
    with _server(target, arguments, context) as (url, network, identity, said):
        from corten.inference.client import Client
        from corten.inference.operations import body_of, chosen

        client = Client(url, network)
        operation = chosen(client.document(), arguments.endpoint)
        if arguments.batch is not None:
            from corten.inference.batch import Job

            job = Job(arguments.batch, arguments.out, operation, identity, arguments.together)
            return _batch(job, lambda: Client(url, network), context)
        body = body_of(words, operation, _read)
        return _single(client, operation.path, json.dumps(body).encode(), arguments.output, said, context)


def _check_files(source: Path | None, target: Path | None) -> None:
    """What cannot be read or written is told before anything is built or started. Raises UsageError."""
    if source is not None:
        from corten.inference.rows import format_of

        format_of(source)
        if not source.is_file():
            raise UsageError(f"there is no file '{source}'", hint="check its path")
    if target is not None and not target.parent.is_dir():
        raise UsageError(f"there is no folder '{target.parent}'", hint="make it first")


def _split(words: list[str]) -> tuple[str, list[str]]:
    """Who is asked, and the request: the first word is a target unless it can only be a part of a request."""
    first = words[0] if words else ""
    is_url = first.startswith(("http://", "https://"))
    if not words or (not is_url and (first.startswith("@") or "=" in first)):
        return ".", words
    return first, words[1:]


@contextmanager
def _server(
    target: str, arguments: argparse.Namespace, context: Context
) -> Iterator[tuple[str, NetworkSettings, str, list[str]]]:
    """The URL that answers, how it is reached, what it is, and the last that it printed. A container is ended afterwards."""
    from corten.network.settings import NetworkSettings, network_from

    if target.startswith(("http://", "https://")):
        from corten.network.addresses import host_of, without_user

        insecure = frozenset({host_of(target)}) if arguments.insecure else frozenset()
        yield target, network_from(os.environ, insecure=insecure), without_user(target), []
        return
    from corten.cli import serving
    from corten.cli.isolation import settled
    from corten.cli.serving_options import kind_of, with_options
    from corten.cli.up import image_of
    from corten.events import TaskFinished, TaskStarted
    from corten.runtime.options import RunOptions
    from corten.supervise import sockets
    from corten.supervise.starting import Start, starter

    image = image_of(Path(target), context)
    if kind_of(image) != "predict":
        raise UsageError(
            f"'{image.name}' runs a command, and has no predictor", hint=f"corten run {target} -- COMMAND"
        )
    # What is asked here is known to whoever asks: the log has only what went wrong.
    options = with_options(RunOptions(environment=(("CORTEN_LOG", "warning"),)), arguments, "predict")
    options = settled(options, image, Path(target), context)
    said: list[str] = []

    def heard(line: str) -> None:
        said.append(line)
        del said[:-_TAIL]
        if context.terminal.verbose:
            context.terminal.say(line)

    output = serving.Output(heard)
    served = None
    grace = serving.GRACE
    with sockets.listen("127.0.0.1", 0) as listener, _interruptible():
        try:
            context.observe(TaskStarted("start", image.name))
            with serving.interrupts() as asked:
                served = starter(context.store, context.observe)(
                    image, Start(listener, None, options, output.descriptor)
                )
                try:
                    serving.wait_until_ready(served, sockets.address_of(listener), "/readyz", asked)
                except RuntimeFailure:
                    output.finish()
                    for line in said if not context.terminal.verbose else ():
                        context.terminal.say(line)
                    raise
            if asked.count:
                raise KeyboardInterrupt
            context.observe(TaskFinished("start", image.name))
            network = NetworkSettings(environment={})  # no proxy stands between this machine and itself
            yield sockets.url_of(listener), network, str(image.id), said
        except KeyboardInterrupt:
            grace = _HURRY  # nobody waits for what is in flight any more
            raise
        finally:
            if served is not None:
                with serving.interrupts() as asked:
                    serving.stop(served, grace, asked)
                    _forget(context, served.name)
            output.finish()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Whatever ends a command raises KeyboardInterrupt inside the block, so that it ends what it started."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _forget(context: Context, name: str) -> None:
    from corten.supervise.starting import bury

    bury(context.store, name, kept=False)


def _single(
    client: Client, path: str, body: bytes, output: Path | None, said: list[str], context: Context
) -> int:
    from corten.inference.client import ACCEPT

    answer, pieces = client.stream(path, body, ACCEPT if output is None else "*/*")
    if answer.status != 200:
        return _failed(answer, said, context)
    if output is not None:
        with output.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        context.terminal.say(f"{answer.kind} in '{output}'")
        return 0
    text = answer.kind in ("application/json", "application/x-ndjson") or answer.kind.startswith("text/")
    shown = sys.stdout.isatty()
    if not text and shown:
        raise UsageError(
            f"the answer is '{answer.kind}', which is not for a terminal", hint="write it with -o FILE"
        )
    context.terminal.close()
    last = b""
    # A program gets the answer as it is. Nobody reads bytes that steer a terminal.
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for last in pieces:
        sys.stdout.buffer.write(escaped(decoder.decode(last)).encode() if shown else last)
        sys.stdout.buffer.flush()
    if text and not last.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
    return 0


def _failed(answer: Answered, said: list[str], context: Context) -> int:
    hint = None
    if answer.status == 422:
        hint = "the fields and their types are in the server's /openapi.json"
    elif not context.terminal.verbose:
        time.sleep(_LAST_WORDS)
        for line in said[_begin(said) :]:
            context.terminal.say(line)
    context.terminal.error(answer.message, hint)
    return 1


def _begin(said: list[str]) -> int:
    """Where the last traceback begins among the lines; their end where there is none."""
    return max((number for number, line in enumerate(said) if "Traceback (most" in line), default=len(said))


def _batch(job: Job, client: Callable[[], Client], context: Context) -> int:
    from corten.cli.serving import interrupts
    from corten.events import TaskAdvanced, TaskFinished, TaskStarted
    from corten.inference import batch
    from corten.inference.rows import count_rows, format_of

    format_of(job.source)
    name = job.source.name
    stopped = threading.Event()
    context.observe(TaskStarted("predict", name, count_rows(job.source)))
    with interrupts() as asked:
        done = batch.run(
            job,
            client,
            lambda amount: _advanced(context, TaskAdvanced("predict", name, amount), stopped, asked.count),
            stopped,
        )
    if stopped.is_set():
        context.terminal.close()
        context.terminal.say(
            f"interrupted: {done.rows + done.resumed} rows are answered; the same command goes on with the next"
        )
        return 130
    context.observe(TaskFinished("predict", name))
    resumed = f", {done.resumed} of them before" if done.resumed else ""
    context.terminal.say(f"{done.rows + done.resumed} rows{resumed}, {done.failed} without a result")
    context.terminal.print(str(job.target))
    return 1 if done.failed else 0


def _advanced(context: Context, event: Event, stopped: threading.Event, asked: int) -> None:
    context.observe(event)
    if asked:
        stopped.set()


def _read(text: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if text == "-" else Path(text).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(
            f"'{text}' cannot be read: {(error.strerror or str(error)).lower()}",
            hint="check the path after '@'",
        ) from error


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 1024:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number from 1 to 1024")
    return int(text)
