"""The client's TCP connection itself. The HTTP library takes whatever it is given and says nothing about how fast a client
reads; the kernel does. Looked up only for answers that are large or have to be broken off."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import termios
from contextlib import suppress

_ACKED = slice(120, 128)
"""Where `tcpi_bytes_acked` stands in what TCP_INFO gives (tcp(7), linux/tcp.h, since Linux 4.1)."""
_QUIET = 0.02
"""Seconds without a byte after which the HTTP library has written what it was given: it has nothing else to do."""
_SOON, _LATE = 0.001, 0.05
"""Seconds between two looks at a client that has not taken enough: first, and at most."""


class Connection:
    """A second handle of a client's socket, which is the HTTP library's. To be closed. `sent` counts what has been given to
    the library since the handle was made."""

    def __init__(self, handle: socket.socket) -> None:
        self.sent = 0
        self._handle = handle
        self._start = self._acked()
        self._begun = self.written()

    def _acked(self) -> int:
        try:
            information = self._handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.stop)
        except OSError:
            return 1 << 62  # It is gone: sending will say so.
        return int.from_bytes(information[_ACKED], "little")

    async def taken(self, all_but: int, seconds: float) -> bool:
        """Wait until the client has taken all but so many of the bytes that were sent. False as soon as it took nothing at
        all for `seconds`. What was on its way when the handle was made counts as taken, too."""
        waited, pause, before = 0.0, _SOON, -1
        while self.sent - ((acked := self._acked()) - self._start) > all_but:
            if acked != before:
                waited, pause, before = 0.0, _SOON, acked
            elif waited >= seconds:
                return False
            await asyncio.sleep(pause)
            waited += pause
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
