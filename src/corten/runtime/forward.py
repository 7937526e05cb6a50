"""`python -m corten.runtime.forward LISTENER NOTIFY open|enclosed|drains PORT [READY]`: what arrives at a listening socket goes to the
program in the network namespace that this process is in. The socket was made elsewhere, which is the point.

Whoever made it may hold it for others as well, and then gives a pipe, NOTIFY (else `-`): nothing is accepted before the program
answers (readiness.py), when `READY=1` is written there; `BUSY=1` follows once a second while bytes pass. `STATUS=` says why it
is not ready, `NOTE=` what is to be told once, `FAILED=` that it never will be. At SIGTERM nothing more is accepted, and the
process ends when every connection has had its answer. Corten's model server knows best when that is (`Probe.drains`): it gets
SIGTERM as soon as nothing more is accepted, and the process ends when the server has closed every connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable

from corten.runtime.forwarder import TCP, Probe
from corten.runtime.http_requests import Refused, Requests
from corten.runtime.readiness import Failed, Upstream, say

_PIECE = 1 << 16
_ATTEMPTS = 600
_PARTING = 60.0
"""Seconds that a client has to take the rest of an answer after the program has closed the connection."""
_TURNS = 20
"""Turns of the event loop after which every accepted connection has its task; asyncio needs four."""
_LULL = 0.5
"""Seconds of silence after an answer's last bytes, or on a new connection, after which nothing more is expected on it."""


async def pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: Callable[[], None] | None = None
) -> None:
    """Pass bytes on until the sender has no more, and then say so: either side may go on sending. A connection that
    breaks on one side breaks on the other. `passed` is called for every piece."""
    try:
        while data := await reader.read(_PIECE):
            if passed is not None:
                passed()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


async def _pump_requests(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter, passing: _Passing
) -> None:
    """`pump` for what a client sends to the program: requests of HTTP/1 say who sent them, and in an update the next one on a
    connection is the last. `back` leads to the client."""
    try:
        while data := await reader.read(_PIECE):
            passing.question()
            try:
                data = passing.requests.feed(data, passing.is_last)
            except Refused as refused:
                back.write(refused.args[0])
                back.close()
                writer.transport.abort()
                return
            if data:
                writer.write(data)
                await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


async def _pump_answers(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inside: asyncio.StreamWriter,
    passing: _Passing,
) -> None:
    """`pump` for what the program answers. `inside` leads to the program."""
    requests = passing.requests
    try:
        while data := await reader.read(_PIECE):
            passing.answer()
            if requests.asks:
                requests.answered(data)
                try:
                    inside.write(requests.feed(b"", passing.is_last))
                except Refused:
                    inside.transport.abort()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


async def _connect(upstream: Upstream, attempts: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for attempt in range(attempts):
        try:
            return await upstream.connect()
        except ConnectionRefusedError:
            # The program inside is still starting: the client waits, instead of being refused.
            await asyncio.sleep(min(0.02 * (attempt + 1), 0.2))
    raise ConnectionRefusedError


class _Passing:
    """A connection. `asked`: what came last was the client's, or nobody inside has taken it yet."""

    def __init__(self, traffic: _Traffic) -> None:
        self._traffic = traffic
        self.connected = False
        self.asked, self.last = True, time.monotonic()
        self.requests = Requests("")

    def question(self) -> None:
        self.asked, self.last = True, time.monotonic()
        self._traffic.moved = True

    def answer(self) -> None:
        self.asked, self.last = False, time.monotonic()
        self._traffic.moved = True

    @property
    def is_last(self) -> bool:
        """Whether a request that comes now is the last on this connection."""
        return self._traffic.ending

    @property
    def is_busy(self) -> bool:
        return self.asked or time.monotonic() - self.last < _LULL


class _Traffic:
    """The connections that there are, and the pipe on which something is said of them."""

    def __init__(self, notify: int | None) -> None:
        self.connections: dict[_Passing, object] = {}
        self.moved = self.ending = False
        self._notify = notify

    async def tell(self) -> None:
        """Say once a second whether bytes passed."""
        while True:
            await asyncio.sleep(1.0)
            if self.moved or any(passing.asked for passing in self.connections):
                self.moved = False
                say(self._notify, "BUSY")

    async def _entered(self) -> None:
        """Wait until every connection that was accepted is in `connections`, however late this process gets a processor: asyncio
        takes a few turns of its loop for that."""
        await asyncio.sleep(_LULL / 10)
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """Wait until every connection has had its answer, those too that were accepted in this turn of the loop."""
        await self._entered()
        while any(passing.is_busy for passing in self.connections):
            await asyncio.sleep(0.02)

    async def part(self) -> None:
        """Tell the program to end as soon as all that was accepted is connected to it, and wait until it has closed that."""
        await self._entered()
        while not all(passing.connected for passing in self.connections):
            await asyncio.sleep(0.01)
        # The shim passes it on; in the container's process namespace the engine is the first process, and does.
        os.kill(os.getppid() or 1, signal.SIGTERM)
        while self.connections:
            await asyncio.sleep(0.01)


async def forward(
    listener: socket.socket, probe: Probe, *, patient: bool = True, notify: int | None = None
) -> None:
    """Serve for ever; with `notify`, and for a program that drains, until SIGTERM. `patient`: clients wait for a program that is still starting; otherwise
    they are refused."""
    traffic = _Traffic(notify)
    upstream = Upstream(probe)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # When a client has no more to say, the event loop no longer holds its connection, and nobody this task: it would be
        # collected in the middle of an answer.
        task = asyncio.current_task()
        passing = _Passing(traffic)
        traffic.connections[passing] = task
        try:
            await _pass(reader, writer, passing, upstream, _ATTEMPTS if patient else 1)
        finally:
            del traffic.connections[passing]

    if notify is None and not probe.drains:
        server = await asyncio.start_server(serve, sock=listener, backlog=4096)
        await server.serve_forever()
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    telling = asyncio.ensure_future(_tell(upstream, notify))
    try:
        if not await upstream.wait(ending):
            return
    except Failed as error:
        say(notify, "FAILED", str(error))
        await ending.wait()
        return
    _tell_notes(upstream, notify)
    say(notify, "READY")
    server = await asyncio.start_server(serve, sock=listener, backlog=4096)
    regular = [telling, asyncio.ensure_future(traffic.tell()), asyncio.ensure_future(upstream.watch())]
    await ending.wait()
    traffic.ending = True
    server.close()
    await (traffic.part() if probe.drains else traffic.settle())
    for task in regular:
        task.cancel()


async def _tell(upstream: Upstream, notify: int | None) -> None:
    """Say what changes: why the program is not ready, and where requests go."""
    told = ""
    while True:
        _tell_notes(upstream, notify)
        if upstream.status != told:
            told = upstream.status
            say(notify, "STATUS", told)
        await asyncio.sleep(0.25)


def _tell_notes(upstream: Upstream, notify: int | None) -> None:
    while upstream.notes:
        say(notify, "NOTE", upstream.notes.pop(0))


async def _pass(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    passing: _Passing,
    upstream: Upstream,
    attempts: int,
) -> None:
    try:
        inner_reader, inner_writer = await _connect(upstream, attempts)
    except OSError:
        writer.transport.abort()
        return
    passing.connected = True
    passing.answer()
    if attempts > 1 and upstream.probe.ready != TCP:
        name = writer.get_extra_info("peername")
        passing.requests = Requests(name[0] if isinstance(name, tuple) else "")
        questions = asyncio.ensure_future(_pump_requests(reader, inner_writer, writer, passing))
        answers = asyncio.ensure_future(_pump_answers(inner_reader, writer, inner_writer, passing))
    else:
        questions = asyncio.ensure_future(pump(reader, inner_writer, passing.question))
        answers = asyncio.ensure_future(pump(inner_reader, writer, passing.answer))
    await answers
    if upstream.probe.drains:
        # It closes a connection for both directions: whatever the client says now has no receiver.
        questions.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await questions
    for stream in (writer, inner_writer):
        stream.close()
        try:
            async with asyncio.timeout(_PARTING):
                await stream.wait_closed()
        except TimeoutError:
            stream.transport.abort()
        except OSError:
            pass


def main(listener: str, notify: str, where: str, port: str, ready: str | None = None) -> None:
    """Forward with what the caller has opened."""
    _raise_limit()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            forward(
                socket.socket(fileno=int(listener)),
                Probe(int(port), ready, enclosed=where != "open", drains=where == "drains"),
                notify=None if notify == "-" else int(notify),
            )
        )


def _raise_limit() -> None:
    """Every connection is two open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
