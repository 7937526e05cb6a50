"""The client's TCP connection itself. The HTTP library takes whatever it is given and says nothing about how fast a client
reads; the kernel does. Looked up only for answers that are large or have to be broken off."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress


class Connection:
    """A second handle of a client's socket, which is the HTTP library's. To be closed."""

    def __init__(self, handle: socket.socket) -> None:
        self._handle = handle

    async def writable(self, seconds: float) -> bool:
        """Wait until the kernel has room for more, for at most so long. Whether it has."""
        loop = asyncio.get_running_loop()
        room: asyncio.Future[None] = loop.create_future()
        descriptor = self._handle.fileno()

        def there_is() -> None:
            if not room.done():
                room.set_result(None)

        loop.add_writer(descriptor, there_is)
        try:
            await asyncio.wait({room}, timeout=seconds)
            return room.done()
        finally:
            loop.remove_writer(descriptor)
            room.cancel()

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
    for name in os.listdir("/proc/self/fd"):
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
