"""The server's event loop: asyncio's own, woken once for all that comes in one turn."""

from __future__ import annotations

import asyncio


class Loop(asyncio.SelectorEventLoop):
    """The HTTP library's threads hand every event over by `call_soon_threadsafe`, which writes a byte to a pipe each time.
    One unread byte is enough: what is handed over is in the queue before anybody looks whether a byte is needed, and a
    loop with something in its queue does not sleep."""

    def __init__(self) -> None:
        self._woken = False
        super().__init__()

    def _write_to_self(self) -> None:
        if not self._woken:
            self._woken = True
            super()._write_to_self()  # type: ignore[misc]

    def _read_from_self(self) -> None:
        super()._read_from_self()  # type: ignore[misc]
        # Only now: what was handed over while the pipe was read is in the queue, and this turn is not the last.
        self._woken = False
