"""The loop of a worker whose predictor is sync: one piece of work after the other, in the main thread.

While the project's code runs nobody reads the channel. A cancel therefore comes as a signal (see `lifetime`), and what
the server sends meanwhile waits in the socket.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Union

from corten_serve.errors import Cancelled
from corten_serve.frames import (
    BATCH,
    CALL,
    CANCEL,
    CREDIT,
    CREDIT_BYTES,
    END,
    HEAD,
    HEALTH,
    HEALTHY,
    PART,
    Item,
)
from corten_serve.protocols.interface import Answer, Call, Stream, Work, meta
from corten_serve.worker.answering import Answering, answered, current_of
from corten_serve.worker.channel import Channel
from corten_serve.worker.current import current
from corten_serve.worker.lifetime import Ended, Guard
from corten_serve.worker.operations import PLAIN, Operation, drive, is_stream

_HOLD = 0.002
"""Seconds for which finished answers may wait for others of their frame, while there is more to do. Each frame wakes the
server, which costs both sides more than a quick prediction does."""
_LARGE = 64 << 10
"""Bytes of an answer's body that does not wait for others."""
_SLOW = 0.0005
"""Seconds that a request typically takes above which no answer waits for another: sending it costs next to nothing then,
and a quick answer never stands behind a slow prediction."""
_PIECE = 256 << 10
"""Bytes of the longest part of a stream that is sent at once."""
Job = Union[Item, "list[Item]"]


class SyncService:
    """Answers what comes over `channel` until it ends or SIGTERM comes."""

    def __init__(self, channel: Channel, guard: Guard, answering: Answering) -> None:
        self._channel = channel
        self._guard = guard
        self._answering = answering
        self._loop = answering.loaded.loop
        self._jobs: deque[Job] = deque()
        self._answers: list[Item] = []
        self._sent = 0.0
        self._typical = 0.0
        self._streaming = 0
        self._unacknowledged = 0
        self._open = True

    def run(self) -> None:
        """Return when there is nothing more to do. Raises OSError when the channel breaks."""
        jobs, clock = self._jobs, time.perf_counter
        while self._open and not self._guard.ending:
            if not jobs:
                self._flush()
                self._wait()
                continue
            if self._typical > _SLOW:
                # Whose client has left by now need not be begun. For quick work asking would cost more than it saves.
                self._sort(self._channel.poll())
                if not jobs:
                    continue
            job = jobs.popleft()
            begun = clock()
            if self._answers and (begun - self._sent > _HOLD or self._typical > _SLOW):
                self._flush()
            if isinstance(job, list):
                self._together(job)
            elif job.kind == CALL:
                self._single(job, begun)
            else:
                self._health()
        self._flush()

    def _wait(self) -> None:
        """Sleep until something comes."""
        guard = self._guard
        try:
            guard.waiting = True
            if guard.ending:
                return
            items = self._channel.receive()
            guard.waiting = False
        except Ended:
            return
        self._sent = time.perf_counter()
        if items is None:
            self._open = False
        else:
            self._sort(items)

    def _sort(self, items: list[Item]) -> None:
        """Put what is to be done behind what is there, and heed the rest at once."""
        jobs = self._jobs
        together: list[Item] = []
        left = 0
        for item in items:
            kind = item.kind
            if kind == CALL:
                if left:
                    together.append(item)
                    left -= 1
                    if not left:
                        jobs.append(together)
                        together = []
                else:
                    jobs.append(item)
            elif kind == BATCH:
                left = item.status
            elif kind == CANCEL:
                self._cancel(item.id)
            elif kind == CREDIT:
                if item.id == self._streaming:
                    self._unacknowledged -= int(item.body)
            elif kind == HEALTH:
                jobs.append(item)
        if together:
            jobs.append(together)

    def _cancel(self, identity: int) -> None:
        """Give up what has not been begun, or the stream that waits for its client."""
        if identity == self._streaming:
            self._streaming = 0
            return
        for job in self._jobs:
            if isinstance(job, list):
                for item in job:
                    if item.id == identity:
                        job.remove(item)
                        self._answers.append(self._answering.cancelled(identity))
                        return
            elif job.id == identity and job.kind == CALL:
                self._jobs.remove(job)
                self._answers.append(self._answering.cancelled(identity))
                return

    def _flush(self) -> None:
        if self._answers:
            self._channel.send(self._answers)
            self._answers = []
        self._sent = time.perf_counter()

    def _done(self, item: Item, answer: Answer | None, begun: float) -> None:
        """Note the answer, None for a call that was given up."""
        took = time.perf_counter() - begun
        self._typical += (took - self._typical) / 16
        if answer is None:
            self._answers.append(self._answering.cancelled(item.id, took))
        else:
            self._answers.append(answered(item.id, answer, took))
            if len(answer.body) > _LARGE:
                self._flush()

    def _single(self, item: Item, begun: float) -> None:
        guard, answering = self._guard, self._answering
        guard.begin(item.id)
        answer: Answer | None = None
        flow: tuple[Work, Iterator[Any]] | None = None
        try:
            guard.arm(item.id, item.id)
            try:
                call = answering.call(item)
            except OSError as error:
                answer = answering.unreadable(item, error)
            else:
                current.set(current_of((call,), (item,)))
                answer, flow = self._answer(call)
            guard.disarm()
        except Cancelled:
            answer = None
        if flow is not None:
            self._stream(item, flow[0], flow[1], begun)
        else:
            self._done(item, answer, begun)

    def _answer(self, call: Call) -> tuple[Answer | None, tuple[Work, Iterator[Any]] | None]:
        """The answer, or the work and the iterator of a result that is to be streamed."""
        answering = self._answering
        try:
            work = answering.desk.read(call)
            operation = answering.operations[work.endpoint]
            function = operation.call
            if len(work.items) != 1 or function is None:
                return answering.write(work, self._drive(operation, work.items)), None
            arguments, keywords = work.items[0]
            result = function(*arguments, **keywords)
            if result.__class__ not in PLAIN:
                result = self._loop.settle(result)
                if is_stream(result) or (operation.streams and not hasattr(result, "__len__")):
                    if work.stream is not None:
                        return None, (work, self._items(result))
                    result = self._loop.collect(result)
            return answering.desk.write(work, (result,)), None
        except Cancelled:
            raise
        except BaseException as error:
            return answering.failure(call, error), None

    def _drive(self, operation: Operation, items: Sequence[Any]) -> list[Any]:
        return drive(operation.steps(items, True), self._loop)

    def _together(self, items: list[Item]) -> None:
        """Predict several calls at once. What is wrong with one of them is answered to that one."""
        if not items:
            return
        guard, answering = self._guard, self._answering
        begun = time.perf_counter()
        guard.begin(items[-1].id)
        answers: list[Answer | None] = [None] * len(items)
        try:
            guard.arm(items[0].id, items[-1].id)
            read: list[tuple[int, Work]] = []
            calls: list[Call] = []
            for place, item in enumerate(items):
                try:
                    call = answering.call(item)
                except OSError as error:
                    answers[place] = answering.unreadable(item, error)
                    continue
                try:
                    read.append((place, answering.desk.read(call)))
                    calls.append(call)
                except Cancelled:
                    raise
                except BaseException as error:
                    answers[place] = answering.failure(call, error)
            current.set(current_of(calls, items))
            by_name: dict[str, list[tuple[int, Work]]] = {}
            for place, work in read:
                by_name.setdefault(work.endpoint, []).append((place, work))
            for name, works in by_name.items():
                arguments = [each for _, work in works for each in work.items]
                results = self._drive(answering.operations[name], arguments)
                after = 0
                for place, work in works:
                    before, after = after, after + len(work.items)
                    answers[place] = answering.write(work, results[before:after])
            guard.disarm()
        except Cancelled:
            pass
        for item, answer in zip(items, answers):  # noqa: B905 (no `strict` in Python 3.9)
            self._done(item, answer, begun)

    def _items(self, result: Any) -> Iterator[Any]:
        """The items of a generator of either sort."""
        if not hasattr(result, "__anext__"):
            return iter(result)
        return self._stepwise(result)

    def _stepwise(self, result: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    item = self._loop.settle(result.__anext__())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if hasattr(result, "aclose"):
                self._loop.settle(result.aclose())

    def _stream(self, item: Item, work: Work, items: Iterator[Any], begun: float) -> None:
        """Send the items of one answer as they come. The head waits for the first, so that what fails before it is an
        answer with a status of its own."""
        stream = work.stream
        assert stream is not None
        headed = False
        self._streaming, self._unacknowledged = item.id, 0
        while True:
            over, part, error = self._next(item.id, stream, items)
            if error is not None and not headed:
                self._streaming = 0
                answer = None if isinstance(error, Cancelled) else self._answering.failure(work.call, error)
                self._done(item, answer, begun)
                return
            if not headed:
                headed = True
                self._answers.append(Item(item.id, HEAD, 200, 0, meta(stream.type, stream.headers), b""))
            if error is not None and not isinstance(error, Cancelled):
                part = stream.error(self._answering.reported(error))
            broken = error is not None
            if not self._part(item.id, part) and not broken:
                # The client has left while the project's code was waiting for it.
                _close(items)
                broken = True
            if over or broken:
                took = int((time.perf_counter() - begun) * 1e6)
                self._answers.append(Item(item.id, END, 1 if broken else 0, took, b"", b""))
                self._streaming = 0
                return

    def _next(
        self, identity: int, stream: Stream, items: Iterator[Any]
    ) -> tuple[bool, bytes, BaseException | None]:
        """Whether that was the last part, its bytes, and what was raised instead."""
        guard = self._guard
        try:
            guard.arm(identity, identity)
            try:
                part = False, stream.part(next(items)), None
            except StopIteration:
                part = True, stream.end(), None
            guard.disarm()
            return part
        except Cancelled as error:
            _close(items)
            return True, b"", error
        except BaseException as error:
            guard.disarm()
            _close(items)
            return True, b"", error

    def _part(self, identity: int, data: bytes) -> bool:
        """Send bytes of a stream when the client has taken enough of those before; False once it has left."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._answers.append(Item(identity, PART, 0, 0, b"", piece))
            self._flush()
            self._unacknowledged += len(piece)
            while self._unacknowledged + _PIECE > CREDIT_BYTES and self._streaming == identity:
                self._heed()
        self._flush()
        if self._guard.cancelled(identity):
            self._streaming = 0
        return self._streaming == identity

    def _heed(self) -> None:
        """Wait for what the server says in the middle of a stream."""
        items = self._channel.receive()
        if items is None:
            self._open = False
            self._streaming = 0
        else:
            self._sort(items)

    def _health(self) -> None:
        """Answer how the project's own `healthy` finds itself."""
        status, reason = 200, ""
        check = self._answering.loaded.health()
        try:
            if check is not None and self._loop.settle(check()) is False:
                status, reason = 503, "the predictor says that it is not healthy"
        except BaseException as error:
            status, reason = 503, f"the predictor's 'healthy' raised {type(error).__name__}"
            self._answering.reported(error)
        self._answers.append(Item(0, HEALTHY, status, 0, b"", reason.encode()))


def _close(items: Any) -> None:
    """End a generator that is not at its end; what it raises then is nobody's business."""
    try:
        close = getattr(items, "close", None)
        if close is not None:
            close()
    except BaseException:
        return
