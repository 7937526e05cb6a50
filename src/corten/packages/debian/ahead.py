"""Streams that threads read ahead of whoever uses them in turn, in bounded memory.

Decompressing takes most of the time of unpacking, and runs without the interpreter's lock: so the streams of the next
packages are produced while the files of this one are written.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

LARGEST = 48 << 20
"""How many bytes may wait, but for one piece of each thread."""

Open = Callable[[], Iterator[bytes]]


@contextmanager
def read_ahead(streams: Sequence[Open], threads: int = 2) -> Iterator[Iterator[Iterator[bytes]]]:
    """The pieces of each of `streams`, in order; an error in one is raised where it is read. Streams are begun in their
    order, so the one in use is always at work, and only those after it ever wait for room: it cannot come to a halt.
    When the block is left, the threads end."""
    shelf = _Shelf(len(streams))
    with ThreadPoolExecutor(threads, "read-ahead") as pool:
        try:
            for number, stream in enumerate(streams):
                pool.submit(_produce, shelf, number, stream)
            yield map(shelf.take, range(len(streams)))
        finally:
            shelf.stop()
            pool.shutdown(cancel_futures=True)


def _produce(shelf: _Shelf, number: int, stream: Open) -> None:
    try:
        for piece in stream():
            if not shelf.put(number, piece):
                return
        shelf.put(number, None)
    except BaseException as error:  # it belongs to whoever reads this stream
        shelf.put(number, error)


class _Shelf:
    """Pieces that wait: one queue per stream. None is a stream's end."""

    def __init__(self, count: int) -> None:
        self._queues: list[deque[bytes | BaseException | None]] = [deque() for _ in range(count)]
        self._changed = threading.Condition()
        self._bytes = 0
        self._current = 0
        self._stopped = False

    def put(self, number: int, item: bytes | BaseException | None) -> bool:
        """Add to a stream, when there is room; False when nobody reads any more."""
        size = len(item) if isinstance(item, bytes) else 0
        with self._changed:
            while not self._stopped and size and self._bytes >= LARGEST:
                if number == self._current and not self._queues[number]:
                    break  # whoever reads is waiting for this very stream
                self._changed.wait()
            self._bytes += size
            self._queues[number].append(item)
            self._changed.notify_all()
            return not self._stopped

    def take(self, number: int) -> Iterator[bytes]:
        """The pieces of a stream."""
        while True:
            with self._changed:
                self._current = number
                self._changed.notify_all()
                while not self._queues[number]:
                    self._changed.wait()
                item = self._queues[number].popleft()
                if isinstance(item, bytes):
                    self._bytes -= len(item)
                self._changed.notify_all()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        """Let all threads end."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
