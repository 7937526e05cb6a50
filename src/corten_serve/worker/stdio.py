"""Standard streams that never stop the project's code: not when nobody reads them, not when a disk is full.

What a stream takes is written at once, before `print` returns, so that nothing is lost when the process dies a moment later.
What it does not take waits, within bounds, for a thread that writes it later. What is beyond the bounds, or cannot be
written, is dropped, counted, and told of in front of the next line that can be.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

_MOST = 1 << 20
"""Bytes that may wait for a reader."""
_PIECE = select.PIPE_BUF
"""Bytes that a pipe takes as one, and has room for when it says that it can be written to."""
_PATIENCE = 1.0
"""Seconds at the end of the process for what waits."""
_READY = select.POLLOUT | select.POLLERR | select.POLLHUP


class Patient(io.RawIOBase):
    """The bytes of one stream. `write` takes all of them and neither waits nor raises. `notice` makes the line that tells
    how many were dropped."""

    def __init__(self, descriptor: int, notice: Callable[[int], bytes]) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._own = _without_waiting(descriptor)
        self._first = _identity(descriptor)
        self._waiting: deque[bytes] = deque()
        self._size = self._lost = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._forked)
        atexit.register(self.settle)

    def write(self, data: Any) -> int:
        """Write `data`, or keep it for later."""
        given = bytes(data)
        with self._lock:
            left = given if self._waiting else self._now(given)
            if left:
                self._keep(left)
        return len(given)

    def settle(self) -> None:
        """Give what waits a moment to be written."""
        end = time.monotonic() + _PATIENCE
        while self._waiting and time.monotonic() < end:
            time.sleep(0.005)

    def _now(self, data: bytes) -> bytes:
        """Write what can be written without waiting; the rest."""
        if self._lost:
            data = self._notice(self._lost) + data
        place, whole = self._place()
        left = data
        while left:
            if not whole and not _writable(place, 0):
                break
            try:
                left = left[os.write(place, left if whole else left[:_PIECE]) :]
            except BlockingIOError:
                break
            except OSError:
                self._lost += _lines(data)
                return b""
        self._lost = 0
        return left

    def _place(self) -> tuple[int, bool]:
        """Where to write, and whether it takes any size without waiting. The project may have put another file in the place
        of the stream (dup2), for good or for a while."""
        if self._own is not None and _identity(self._descriptor) == self._first:
            return self._own, True
        return self._descriptor, _is_file(self._descriptor)

    def _keep(self, data: bytes) -> None:
        if self._size + len(data) > _MOST:
            self._lost += _lines(data)
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._thread is None:
            self._thread = threading.Thread(target=self._later, name="output", daemon=True)
            self._thread.start()

    def _later(self) -> None:
        """The thread: writes what waits, and ends."""
        while True:
            place, _ = self._place()
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                data = self._waiting[0]
            _writable(place, None)
            try:
                # On a descriptor that waits this may take for ever, which holds up nobody.
                data = data[os.write(place, data[:_PIECE]) :]
            except BlockingIOError:
                time.sleep(0.005)
            except OSError:
                with self._lock:
                    self._lost += _lines(data)
                data = b""
            with self._lock:
                self._size -= len(self._waiting[0]) - len(data)
                if data:
                    self._waiting[0] = data
                else:
                    self._waiting.popleft()

    def _forked(self) -> None:
        """The thread is the parent's, and so is what it has yet to write."""
        self._lock = threading.Lock()
        self._thread = None
        self._waiting.clear()
        self._size = self._lost = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


def patient(stream: Any, notice: Callable[[int], bytes]) -> Any:
    """A text stream in the place of `stream`, one of Python's own; another is returned as it is."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        stream.flush()
        raw = Patient(stream.fileno(), notice)
    except (OSError, ValueError):
        return stream
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, stream.encoding, "backslashreplace", line_buffering=True)


def dropped(count: int) -> str:
    """What is said of lines that nobody will see."""
    return f"{count} lines of output were dropped, it was full or not read"


def replace(notice: Callable[[str, int], bytes]) -> None:
    """Make the standard streams of this process patient. `notice` is asked with a stream's name."""
    sys.stdout = patient(sys.stdout, lambda count: notice("stdout", count))
    sys.stderr = patient(sys.stderr, lambda count: notice("stderr", count))


def _without_waiting(descriptor: int) -> int | None:
    """The pipe behind `descriptor` opened once more, so that a write never waits: the flag is not everybody's who shares it.
    None where it is no pipe, or may not be opened."""
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return None
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_file(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _writable(descriptor: int, milliseconds: int | None) -> bool:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLOUT)
    return any(event & _READY for _, event in waiting.poll(milliseconds))


def _lines(data: bytes) -> int:
    return max(1, data.count(b"\n"))
