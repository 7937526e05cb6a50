"""The worker's end of the socket to the server, for code that waits for it."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from corten_serve.frames import Item, Reader, encode
from corten_serve.worker import forks

_MOST = 1 << 18


class Channel:
    """Frames in and out of a socket that blocks. What breaks it raises OSError, and FrameError what is no frame."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._reader = Reader()

    def receive(self) -> list[Item] | None:
        """Wait for the next items; None at the end of the channel. May be empty while a frame is not complete."""
        self._refuse_children()
        data = self._socket.recv(_MOST)
        return self._reader.feed(data) if data else None

    def poll(self) -> list[Item]:
        """The items that are there already. The end of the channel is left for `receive` to find."""
        self._refuse_children()
        try:
            data = self._socket.recv(_MOST, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        return self._reader.feed(data)

    def send(self, items: Sequence[Item]) -> None:
        """Send one frame."""
        self.send_frame(encode(items))

    def send_frame(self, frame: bytes | memoryview) -> None:
        """Send a frame that has been made."""
        self._refuse_children()
        self._socket.sendall(frame)

    def _refuse_children(self) -> None:
        if forks.child:
            forks.end()
