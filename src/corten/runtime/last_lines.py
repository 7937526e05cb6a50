"""The end of what a container in the foreground prints to standard error: the cause of a failure is nearly always there.

Standard error is passed through a pipe on its way, byte for byte. Where standard output is the same pipe or file, it takes the same way,
so the order stays. A terminal is passed on as it is: programs draw on it.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PIECE = 1 << 16
_KEPT = 64 << 10
_LINES = 50
_SILENCE = 200
"""Milliseconds without a byte after which a pipe counts as read, when the container has ended and somebody still holds the pipe."""


class LastLines:
    """Standard error of this process, in `passing`, goes through here."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._ended, self._end = os.pipe2(os.O_CLOEXEC)

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Put a pipe in the place of standard error for the processes that are started inside the block. After it the bytes flow."""
        numbers = _numbers()
        if not numbers:
            yield
            return
        reading, writing = os.pipe2(os.O_CLOEXEC)
        before = {number: os.dup(number) for number in numbers}
        try:
            for number in numbers:
                os.dup2(writing, number)
            yield
        finally:
            for number, own in before.items():
                os.dup2(own, number)
                os.close(own)
            os.close(writing)
            self._start(reading)

    def finish(self) -> tuple[str, ...]:
        """The last lines, when the container has ended and all of them have been passed on."""
        os.close(self._end)
        if self._thread is not None:
            self._thread.join()
        os.close(self._ended)
        return tuple(bytes(self._kept).decode(errors="replace").splitlines()[-_LINES:])

    _thread: threading.Thread | None = None

    def _start(self, reading: int) -> None:
        # Signals are for the thread that waits for the container.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread = threading.Thread(target=self._pass_on, args=(reading,), name="stderr", daemon=True)
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _pass_on(self, reading: int) -> None:
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        ended = select.poll()
        ended.register(self._ended, select.POLLIN)
        both = select.poll()
        both.register(reading, select.POLLIN)
        both.register(self._ended, select.POLLIN)
        try:
            while True:
                both.poll()
                if ended.poll(0) and not poll.poll(_SILENCE):
                    return
                if not poll.poll(0):
                    continue
                piece = os.read(reading, _PIECE)
                if not piece:
                    return
                self._kept += piece
                del self._kept[:-_KEPT]
                view = memoryview(piece)
                while view:
                    view = view[os.write(2, view) :]
        except OSError:
            pass  # nobody reads any more, or the disk is full: the container hears of its pipe
        finally:
            os.close(reading)


def _numbers() -> tuple[int, ...]:
    """Which standard streams go through the pipe: standard error, where it is a pipe, a socket or a file, and standard output where
    that is the same."""
    with suppress(OSError):
        error = os.fstat(2)
        if stat.S_ISFIFO(error.st_mode) or stat.S_ISSOCK(error.st_mode) or stat.S_ISREG(error.st_mode):
            output = os.fstat(1)
            same = (output.st_dev, output.st_ino) == (error.st_dev, error.st_ino)
            return (1, 2) if same else (2,)
    return ()
