"""The client's TCP connection itself. The HTTP library takes whatever it is given and says nothing about how fast a client
reads; the kernel does. Looked up only for answers that are large or have to be broken off."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import termios
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

_LAST_SENT, _LAST_RECEIVED = slice(44, 48), slice(52, 56)
_ACKED, _RECEIVED = slice(120, 128), slice(128, 136)
"""Where `tcpi_last_data_sent` and `tcpi_last_data_recv` (milliseconds ago), `tcpi_bytes_acked` and `tcpi_bytes_received` stand in
what TCP_INFO gives (tcp(7), linux/tcp.h, since Linux 4.1)."""
_PREFACE = 24
"""Bytes with which a connection of HTTP/2 begins (RFC 9113, 3.4)."""
_OVER = ("06", "07", "0A")
"""TIME_WAIT, CLOSE and LISTEN, as /proc/net/tcp writes the states of sockets."""
_QUIET = 0.02
"""Seconds without a byte after which the HTTP library has written what it was given: it has nothing else to do."""
_OTHERS = 4.0
_SOON, _LATE = 0.001, 0.05
"""Seconds between two looks at a client that has not taken enough: first, and at most."""


class Connection:
    """A second handle of a client's socket, which is the HTTP library's. To be closed. `sent` counts what has been given to
    the library since the handle was made. `writers`: so many answers are written at once (HTTP/2); each may have its part on the
    way, and what the client has taken counts for all."""

    def __init__(self, handle: socket.socket) -> None:
        self.sent, self.writers = 0, 1
        self._handle = handle
        self._start = self._acked()
        self._begun = self.written()

    def _acked(self) -> int:
        try:
            information = self._handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.stop)
        except OSError:
            return 1 << 62  # It is gone: sending will say so.
        return int.from_bytes(information[_ACKED], "little")

    async def taken(self, all_but: int, seconds: Callable[[], float]) -> bool:
        """Wait until the client has taken all but so many of the bytes that were sent. False as soon as it took nothing at
        all for `seconds`, or only other answers for several times as long. What was on its way when the handle was made counts as
        taken, too."""
        waited, pause, before, stuck = 0.0, _SOON, -1, 0.0
        while self.sent - ((acked := self._acked()) - self._start) > all_but * self.writers:
            if acked != before:
                waited, pause, before = 0.0, _SOON, acked
                stuck = stuck if self.writers > 1 else 0.0
            elif waited >= seconds():
                return False
            if stuck >= _OTHERS * seconds():
                return False
            await asyncio.sleep(pause)
            waited += pause
            stuck += pause
            pause = min(_LATE, pause * 2)
        return True

    def written(self) -> int:
        """Bytes that the HTTP library has written to the client so far, whether they have arrived or not."""
        try:
            waiting = fcntl.ioctl(self._handle, termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return 1 << 62
        return self._acked() + int.from_bytes(waiting, "little")

    async def settled(self, least: int, seconds: float) -> None:
        """Wait until at least so many bytes have been written since the handle was made, and nothing more follows. Gives up
        when nothing was written for `seconds`."""
        before, quiet = self.written(), 0.0
        while quiet < (_QUIET if before - self._begun >= least else seconds):
            await asyncio.sleep(_QUIET / 4)
            quiet += _QUIET / 4
            if (now := self.written()) != before:
                before, quiet = now, 0.0

    def cut(self) -> None:
        """End the connection without the end of the answer, so that the client cannot take it for whole."""
        with suppress(OSError):
            self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the handle; the connection lives on."""
        self._handle.close()


class IdleConnections:
    """Ends connections to `port` on which nothing has happened for `seconds`: those that never said which HTTP they speak, and
    those of HTTP/2 without a request. The HTTP library does so for HTTP/1 alone. `busy` has the addresses whose requests are being
    answered."""

    def __init__(self, port: int, seconds: float, busy: Mapping[str, object]) -> None:
        self._port, self._seconds, self._busy = port, seconds, busy
        self._first: dict[str, float] = {}
        self._looking: asyncio.Future[list[tuple[str, socket.socket]]] | None = None

    def sweep(self) -> None:
        """Look at all connections, in a thread. To be called every few seconds."""
        if self._looking is None:
            loop = asyncio.get_running_loop()
            self._looking = loop.run_in_executor(None, self._idle)
            self._looking.add_done_callback(self._end)

    def _end(self, looked: asyncio.Future[list[tuple[str, socket.socket]]]) -> None:
        self._looking = None
        if looked.cancelled():
            return
        for client, handle in looked.result():
            with handle, suppress(OSError):
                # A request may have come meanwhile.
                if client not in self._busy and self._is_idle(client, handle):
                    handle.shutdown(socket.SHUT_RDWR)

    def _idle(self) -> list[tuple[str, socket.socket]]:
        found, there = [], set()
        try:
            names = os.listdir("/proc/self/fd")
        except OSError:
            return []  # No more files may be open.
        for name in names:
            handle = _duplicate(int(name))
            if handle is None:
                continue
            try:
                peer = handle.getpeername()
                if isinstance(peer, tuple) and handle.getsockname()[1] == self._port:
                    client = f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
                    there.add(client)
                    if self._is_idle(client, handle):
                        found.append((client, handle))
                        continue
            except OSError:
                pass
            handle.close()
        self._first = {client: since for client, since in self._first.items() if client in there}
        return found

    def _is_idle(self, client: str, handle: socket.socket) -> bool:
        information = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.stop)
        limit = self._seconds * 1000
        sent, received = (
            int.from_bytes(information[part], "little") for part in (_LAST_SENT, _LAST_RECEIVED)
        )
        if int.from_bytes(information[_RECEIVED], "little") < _PREFACE:
            first = self._first.setdefault(client, time.monotonic())
            return time.monotonic() - first >= self._seconds and client not in self._busy
        return sent >= limit and received >= limit and client not in self._busy


def has_connections(port: int) -> bool:
    """Whether a TCP connection of this network namespace to `port` here is not closed on both sides yet (proc(5), /proc/net/tcp)."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError, ValueError), open(f"/proc/self/net/{name}", encoding="ascii") as file:
            for line in file.read().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port and fields[3] not in _OVER:
                    return True
    return False


def find(client: str) -> Connection | None:
    """The connection of the client `HOST:PORT`, None if it is gone or has no such address."""
    host, _, port = client.rpartition(":")
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return None  # No more files may be open.
    for name in names:
        handle = _duplicate(int(name))
        if handle is None:
            continue
        try:
            peer = handle.getpeername()
            if isinstance(peer, tuple) and str(peer[1]) == port and peer[0] == host.strip("[]"):
                return Connection(handle)
        except OSError:
            pass
        handle.close()
    return None


def _duplicate(descriptor: int) -> socket.socket | None:
    """A handle of our own, so that it stays the same connection whatever becomes of the descriptor."""
    try:
        mine = os.dup(descriptor)
    except OSError:
        return None  # Closed meanwhile.
    try:
        return socket.socket(fileno=mine)
    except OSError:
        os.close(mine)
        return None
