"""Answers of a sync predictor that come in parts: made one by one, and sent no faster than the client takes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from corten_serve.errors import Cancelled
from corten_serve.frames import CREDIT_BYTES, HEAD, PART, Item
from corten_serve.protocols.interface import Answer, Stream, Work, meta
from corten_serve.worker.answering import Answering
from corten_serve.worker.lifetime import Guard
from corten_serve.worker.loop import Loop

PIECE = 256 << 10
"""Bytes of the longest part that is sent at once."""


class SyncStreams:
    """One stream at a time. `send` sends an item at once, `hold` with the next; `heed` waits for what the server says next. `writing` is how many
    seconds the parts of the last one took to write."""

    def __init__(
        self,
        guard: Guard,
        answering: Answering,
        send: Callable[[Item], None],
        hold: Callable[[Item], None],
        heed: Callable[[], None],
    ) -> None:
        self._guard = guard
        self._answering = answering
        self._send = send
        self._hold = hold
        self._heed = heed
        self.writing = 0.0
        self._id = 0
        self._unacknowledged = 0

    def credit(self, identity: int, size: int) -> None:
        """The client of `identity` has taken `size` bytes."""
        if identity == self._id:
            self._unacknowledged -= size

    def stop(self, identity: int | None = None) -> bool:
        """Go on no longer with `identity`, or whichever it is; False if that is not what is being streamed."""
        if identity is not None and identity != self._id:
            return False
        self._id = 0
        return True

    def run(self, item: Item, work: Work, stream: Stream, items: Iterator[Any]) -> Answer | int | None:
        """Send the parts. Returns the status of the END that is due (1 if it was broken off); or, where nothing has been sent
        yet, the answer for what was raised, or None for a call that was given up.

        The head waits for the first part, so that what fails before it has a status of its own."""
        headed = False
        self._id, self._unacknowledged, self.writing = item.id, 0, 0.0
        try:
            while True:
                over, part, error = self._next(item.id, stream, items)
                if error is not None and not headed:
                    cancelled = isinstance(error, Cancelled)
                    return None if cancelled else self._answering.failure(work.call, error)
                if not headed:
                    headed = True
                    self._send(Item(item.id, HEAD, 200, 0, meta(stream.type, stream.headers), b""))
                if error is not None:
                    if not isinstance(error, Cancelled):
                        # In one frame with the end: so the server knows that it is the last part.
                        said = stream.error(self._answering.reported(error))
                        self._hold(Item(item.id, PART, 0, 0, b"", said))
                    return 1
                taken = self._part(item.id, part)
                if not taken:
                    # The client has left while the project's code was waiting for it.
                    _close(items)
                    return 1
                if over:
                    return 0
        finally:
            self._id = 0

    def _next(
        self, identity: int, stream: Stream, items: Iterator[Any]
    ) -> tuple[bool, bytes, BaseException | None]:
        """Whether this is the last part, its bytes, and what was raised in its place."""
        guard = self._guard
        try:
            guard.arm(identity, identity)
            try:
                each, over = next(items), False
                begun = time.perf_counter()
                part = stream.part(each)
                self.writing += time.perf_counter() - begun
            except StopIteration:
                part, over = stream.end(), True
            guard.disarm()
            return over, part, None
        except BaseException as error:
            guard.disarm()
            _close(items)
            return True, b"", error

    def _part(self, identity: int, data: bytes) -> bool:
        """Send bytes when the client has taken enough of those before; False once it has left."""
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self._send(Item(identity, PART, 0, 0, b"", piece))
            self._unacknowledged += len(piece)
            while self._unacknowledged + PIECE > CREDIT_BYTES and self._id == identity:
                self._heed()
        if self._guard.cancelled(identity):
            self._id = 0
        return self._id == identity


def stepwise(result: Any, loop: Loop) -> Iterator[Any]:
    """The items of an iterator of either sort, one at a time. Closing this closes it."""
    return _awaited(result, loop) if hasattr(result, "__anext__") else iter(result)


def _awaited(result: Any, loop: Loop) -> Iterator[Any]:
    try:
        while True:
            try:
                item = loop.settle(result.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        if hasattr(result, "aclose"):
            loop.settle(result.aclose())


def _close(items: Any) -> None:
    """End a generator that is not at its end; what it raises then is nobody's business."""
    try:
        close = getattr(items, "close", None)
        if close is not None:
            close()
    except BaseException:
        return
