"""The signals that a worker gets, and the end of the process that started it.

SIGUSR1 asks to stop working on the request whose id stands in the second word of the board; SIGTERM asks to finish what
was begun and to end. Both are Python's handlers, so they run in the main thread between two steps of the interpreter:
code that never comes back to it cannot be interrupted, and is the server's to replace.
"""

from __future__ import annotations

import signal
from typing import Any

from corten_serve.errors import Cancelled


class Ended(BaseException):
    """SIGTERM came while the worker was waiting for work."""


class Guard:
    """Says what the main thread works on, and raises there what a signal asks for.

    `board` is the shared memory as two 64-bit words. Between `arm(low, high)` and `disarm()` a cancel of one of these ids
    raises Cancelled, at most once; at any other time it does nothing. `ending` is set by SIGTERM."""

    def __init__(self, board: memoryview) -> None:
        self.ending = False
        self.waiting = False
        self._board = board
        self._low = 1
        self._high = 0

    def install(self) -> None:
        """Take over SIGUSR1 and SIGTERM. To be called in the main thread."""
        signal.signal(signal.SIGUSR1, self._cancel)
        signal.signal(signal.SIGTERM, self._end)

    def forget(self) -> None:
        """Have a board of one's own, which nobody reads: this is another process now."""
        self._board = memoryview(bytearray(self._board.nbytes)).cast("Q")
        self._high = 0

    def begin(self, identity: int) -> None:
        """Note on the board that `identity`, and with it all lower ids, was begun."""
        self._board[0] = identity

    def arm(self, low: int, high: int) -> None:
        """The ids from `low` to `high` are worked on. Raises Cancelled, now or until `disarm`; the caller has to be prepared
        for it right up to the end of `disarm`."""
        self._low, self._high = low, high
        # A cancel that came before the ids were known here has left its id on the board.
        if low <= self._board[1] <= high:
            self._high = 0
            raise Cancelled

    def disarm(self) -> None:
        """Nothing can be cancelled any more."""
        self._high = 0

    def cancelled(self, identity: int) -> bool:
        """Whether the board asks to stop working on `identity`."""
        return self._board[1] == identity

    def _cancel(self, *_: Any) -> None:
        if self._low <= self._board[1] <= self._high:
            self._high = 0
            raise Cancelled

    def _end(self, *_: Any) -> None:
        self.ending = True
        if self.waiting:
            self.waiting = False
            raise Ended


def end_with_the_server() -> None:
    """Have the kernel kill this process when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG), so that a busy
    worker of a killed server does not live on. Without ctypes the end of the channel has to do, which only an idle worker
    notices."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
