"""`python -m corten.runtime.forward DESCRIPTOR PORT [NOTIFY]`: what arrives at a listening socket goes to 127.0.0.1:PORT of the
network namespace that this process is in. The socket was made elsewhere, which is the point.

Whoever made it may hold it for others as well, and then gives a pipe, NOTIFY: nothing is accepted before the program
answers, when `READY=1` is written there; `BUSY=1` follows once a second while bytes pass. At SIGTERM nothing more is
accepted, and the process ends when every connection has had its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

_PIECE = 1 << 16
_ATTEMPTS = 600
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


async def _connect(port: int, attempts: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for attempt in range(attempts):
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            # The program inside is still starting: the client waits, instead of being refused.
            await asyncio.sleep(min(0.02 * (attempt + 1), 0.2))
    raise ConnectionRefusedError


class _Passing:
    """A connection. `asked`: what came last was the client's, or nobody inside has taken it yet."""

    def __init__(self, traffic: _Traffic) -> None:
        self._traffic = traffic
        self.asked, self.last = True, time.monotonic()

    def question(self) -> None:
        self.asked, self.last = True, time.monotonic()
        self._traffic.moved = True

    def answer(self) -> None:
        self.asked, self.last = False, time.monotonic()
        self._traffic.moved = True

    @property
    def is_busy(self) -> bool:
        return self.asked or time.monotonic() - self.last < _LULL


class _Traffic:
    """The connections that there are, and the pipe on which something is said of them."""

    def __init__(self, notify: int | None) -> None:
        self.connections: dict[_Passing, object] = {}
        self.moved = False
        self._notify = notify

    def say(self, word: bytes) -> None:
        # Whoever listened may be gone, or not be reading.
        if self._notify is not None:
            with contextlib.suppress(OSError):
                os.write(self._notify, word + b"=1\n")

    async def tell(self) -> None:
        """Say once a second whether bytes passed."""
        while True:
            await asyncio.sleep(1.0)
            if self.moved or any(passing.asked for passing in self.connections):
                self.moved = False
                self.say(b"BUSY")

    async def settle(self) -> None:
        """Wait until every connection has had its answer, those too that were accepted in this turn of the loop."""
        await asyncio.sleep(_LULL / 10)
        while any(passing.is_busy for passing in self.connections):
            await asyncio.sleep(0.02)


async def forward(
    listener: socket.socket, port: int, *, patient: bool = True, notify: int | None = None
) -> None:
    """Serve for ever; with `notify` until SIGTERM. `patient`: clients wait for a program that is still starting; otherwise
    they are refused."""
    traffic = _Traffic(notify)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # When a client has no more to say, the event loop no longer holds its connection, and nobody this task: it would be
        # collected in the middle of an answer.
        task = asyncio.current_task()
        passing = _Passing(traffic)
        traffic.connections[passing] = task
        try:
            await _pass(reader, writer, passing, port, _ATTEMPTS if patient else 1)
        finally:
            del traffic.connections[passing]

    if notify is None:
        server = await asyncio.start_server(serve, sock=listener, backlog=4096)
        await server.serve_forever()
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    if not await _answers(port, ending):
        return
    traffic.say(b"READY")
    server = await asyncio.start_server(serve, sock=listener, backlog=4096)
    telling = asyncio.ensure_future(traffic.tell())
    await ending.wait()
    server.close()
    await traffic.settle()
    telling.cancel()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: _Passing, port: int, attempts: int
) -> None:
    try:
        inner_reader, inner_writer = await _connect(port, attempts)
    except OSError:
        writer.transport.abort()
        return
    passing.answer()
    await asyncio.gather(
        pump(reader, inner_writer, passing.question), pump(inner_reader, writer, passing.answer)
    )
    for stream in (writer, inner_writer):
        stream.close()
        with contextlib.suppress(OSError):
            await stream.wait_closed()


async def _answers(port: int, ending: asyncio.Event) -> bool:
    """Wait until the program inside accepts connections; False when the end comes first."""
    while not ending.is_set():
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        await asyncio.sleep(0.02)
    return False


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            forward(
                socket.socket(fileno=int(sys.argv[1])),
                int(sys.argv[2]),
                notify=int(sys.argv[3]) if len(sys.argv) > 3 else None,
            )
        )
