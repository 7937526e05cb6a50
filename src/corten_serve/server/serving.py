"""The server process: Granian in front, the models' pools behind, signals, and an end that loses no request."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server as GranianServer

from corten_serve.server.app import App
from corten_serve.server.connections import IdleConnections, has_connections
from corten_serve.server.files import connections
from corten_serve.server.listener import BACKLOG, accept_no_more
from corten_serve.server.log import Log, take_over
from corten_serve.server.meter import Meter
from corten_serve.server.models import Models
from corten_serve.server.notify import Notice
from corten_serve.server.origins import is_loopback
from corten_serve.server.pool import StartFailed
from corten_serve.server.process import Spawned
from corten_serve.server.turns import Loop
from corten_serve.settings import Settings

if TYPE_CHECKING:
    from corten_serve.server.lambda_api import RuntimeApi

_SWEEP = 5.0
_LOOK = 1.0
"""Seconds between two looks at the workers' memory and health."""
_LAST_WORDS = 2.0
"""Seconds in which Granian has to write the last answers and close, once nothing is in flight any more."""
_STREAMS = 250
"""Requests at once on one connection of HTTP/2."""
_LONGEST_HEADER = 8192 + 4096 * 100
"""Bytes of a request's header, in either version of HTTP."""
_SILENCE, _PARTING = 0.1, 0.9
"""Seconds after which a server without a request counts as idle, and that others have for one more on their connection."""


class _Front(GranianServer):
    """Granian on one event loop, with a listening socket that already exists."""

    def __init__(self, app: App, listener: socket.socket, settings: Settings, most: int) -> None:
        super().__init__(
            app,
            interface=Interfaces.RSGI,
            # HTTP/2 without TLS by prior knowledge (h2c): the first bytes of a connection tell (RFC 9113, 3.3).
            http=HTTPModes.auto,
            websockets=False,
            backlog=BACKLOG,
            backpressure=most,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(settings.idle * 1000), max_buffer_size=_LONGEST_HEADER
            ),
            http2_settings=HTTP2Settings(max_concurrent_streams=_STREAMS, max_headers_size=_LONGEST_HEADER),
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Granian closes the descriptor when it stops; it gets one of its own.
        holder: Any = SocketHolder
        self._shd: Any = holder(
            os.dup(self._listener.fileno()), self._listener.family == socket.AF_UNIX, BACKLOG
        )
        self._ssp: Any = None


async def serve(
    settings: Settings,
    listener: socket.socket,
    workers: list[Spawned],
    environment: Mapping[str, str],
    begun: float,
    files: int,
) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Returns the exit code: 0 after a drain, 1 if a model's first worker failed.

    `begun` is the time of the process's start on the clock of `time.perf_counter`, `files` how many may be open."""
    loop = asyncio.get_running_loop()
    log = Log(settings.log, settings.log_format)
    take_over(log, loop)
    models = Models(settings, environment, log, Meter())
    app = App(settings, models, log, is_loopback(listener, settings.forwarded))
    ending: asyncio.Future[int] = loop.create_future()
    _on_signals(loop, ending, models)
    models.adopt(workers)
    models.reap()  # One may have ended before anybody listened.
    most = connections(settings.connections, files)
    if most < settings.connections:
        log.say(
            f"warning: at most {most} connections are taken at once, because no more than {files} files may be open",
            "raise the limit of open files (ulimit -n)",
        )
    front = _Front(app, listener, settings, most)
    notice = Notice.from_environment(environment)
    accepting: asyncio.Future[Any] = loop.create_task(_accept(front, models, notice))
    regular = [
        loop.create_task(_regularly(min(_SWEEP, max(0.1, settings.body_seconds / 4)), app.bodies.sweep, log)),
        loop.create_task(
            _regularly(
                min(_LOOK, max(0.1, settings.health / 4)) if settings.health else _LOOK, models.look, log
            )
        ),
    ]
    if listener.family != socket.AF_UNIX:
        idle = IdleConnections(listener.getsockname()[1], settings.idle, app.clients)
        regular.append(
            loop.create_task(_regularly(min(_SWEEP, max(0.1, settings.idle / 4)), idle.sweep, log))
        )
    if notice.awaited:
        regular.append(loop.create_task(_regularly(1.0, lambda: notice.worked(*models.work()), log)))
    runtime = _runtime_api(settings, environment, app, models, log)
    try:
        code = await _until_end(models, accepting, ending, log, begun)
        if runtime is not None:
            runtime.stop()
            if models.reason and code:
                await asyncio.to_thread(runtime.failed, models.reason)
        if code == 0:
            await _drain(
                settings, app, notice, front, accepting, listener, urgent=ending.result() == signal.SIGINT
            )
            await models.stop()
        else:
            models.kill()
            front.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait({accepting}, timeout=_LAST_WORDS)
        return code
    finally:
        for task in regular:
            task.cancel()
        app.bodies.close()
        log.close()


def _runtime_api(
    settings: Settings, environment: Mapping[str, str], app: App, models: Models, log: Log
) -> RuntimeApi | None:
    """Where Lambda started us, its API gives the work; a socket that was passed in says that somebody else did."""
    address = environment.get("AWS_LAMBDA_RUNTIME_API", "")
    if not address or settings.inherited:
        return None

    def busy(change: int) -> None:
        app.active += change

    from corten_serve.server.lambda_api import (
        RuntimeApi,
    )  # Its HTTP client takes time that others need not spend.

    runtime = RuntimeApi(address, models, log, busy)
    runtime.start()
    return runtime


async def _accept(front: _Front, models: Models, notice: Notice) -> None:
    """Accept connections: from the first worker's readiness on where somebody is to be told of that, else at once."""
    if notice.awaited:
        await asyncio.wait({models.first})
        if models.first.cancelled() or models.first.exception() is not None:
            return
        notice.ready()
    await front.serve()


def _on_signals(loop: asyncio.AbstractEventLoop, ending: asyncio.Future[int], models: Models) -> None:
    def end(number: int) -> None:
        if not ending.done():
            ending.set_result(number)
        elif number == signal.SIGINT:
            # Asked a second time from a terminal: at once.
            models.kill()
            os._exit(130)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(signal.SIGCHLD, models.reap)


async def _regularly(seconds: float, do: Callable[[], None], log: Log) -> None:
    """Do it again and again. What goes wrong once is said, and tried again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            do()
        except Exception as error:
            log.say(f"error: a regular task of the server failed: {type(error).__name__}: {error}")


async def _until_end(
    models: Models, accepting: asyncio.Future[Any], ending: asyncio.Future[int], log: Log, begun: float
) -> int:
    """Wait for the end's cause: 0 for a signal, 1 when the first worker fails or Granian does."""
    await asyncio.wait({models.first, accepting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if models.first.done():
        try:
            models.first.result()
        except StartFailed as failure:
            log.say(f"error: {failure.message}", failure.hint)
            return 1
        log.say(f"ready after {time.perf_counter() - begun:.2f} s")
        gc.collect()
        gc.freeze()
        await asyncio.wait({accepting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if ending.done():
        models.first.cancel()
        return 0
    log.say("error: the HTTP server ended unexpectedly")
    return 1


async def _drain(
    settings: Settings,
    app: App,
    notice: Notice,
    front: _Front,
    accepting: asyncio.Future[Any],
    listener: socket.socket,
    urgent: bool,
) -> None:
    """Finish what is in flight. A socket of our own is kept open for a while first, because load balancers send requests
    until they have seen that we are not ready. A socket that was passed in lives on elsewhere and loses nothing, but clients
    keep connections: whoever is busy on one is told with its next answer that it is the last. Corten's forwarder has connected all that
    it has accepted before it lets us end, and accepts nothing more; it ends with us, so it needs the time to pass everything on."""
    app.draining = True
    app.bodies.hurry()
    port = listener.getsockname()[1] if settings.forwarded else 0
    if not (settings.inherited or settings.forwarded) and not urgent:
        await asyncio.sleep(settings.drain)
    elif not urgent:
        if settings.inherited:
            with suppress(OSError):
                accept_no_more(listener)
        before = app.taken
        await asyncio.sleep(_SILENCE)
        if notice.lately or app.taken != before:
            await asyncio.sleep(_PARTING)
    front.stop()  # type: ignore[no-untyped-call]
    listener.close()
    swept = time.monotonic()
    while app.active:
        await asyncio.sleep(0.01)
        if time.monotonic() - swept > 1.0:
            swept = time.monotonic()
            app.bodies.sweep()
    await asyncio.wait({accepting}, timeout=_LAST_WORDS)
    end = time.monotonic() + _LAST_WORDS
    while settings.forwarded and time.monotonic() < end and has_connections(port):
        await asyncio.sleep(0.005)


def run(
    settings: Settings,
    listener: socket.socket,
    workers: list[Spawned],
    environment: Mapping[str, str],
    begun: float,
    files: int,
) -> NoReturn:
    """The event loop around `serve`; ends the process with its exit code.

    The interpreter is not taken down: threads of Granian's that are still around would abort it (exit code 134)."""
    code = 1
    try:
        loop = Loop()
        asyncio.set_event_loop(loop)
        code = loop.run_until_complete(serve(settings, listener, workers, environment, begun, files))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        with suppress(
            OSError, ValueError, AttributeError
        ):  # It may be full, or closed, or never have been there.
            stream.flush()
    os._exit(code)
