"""The loop of a worker whose predictor is sync: one piece of work after the other, in the main thread.

While the project's code runs nobody reads the channel. A cancel therefore comes as a signal (see `lifetime`), and what
the server sends meanwhile waits in the socket.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from corten_serve.errors import Cancelled
from corten_serve.frames import CALL, CANCEL, CREDIT, END, HEALTH, HEALTHY, Item
from corten_serve.protocols.interface import Answer, Call, Work
from corten_serve.worker.answering import Answering, answered, current_of
from corten_serve.worker.channel import Channel
from corten_serve.worker.current import current
from corten_serve.worker.held import Held
from corten_serve.worker.inbox import Inbox
from corten_serve.worker.lifetime import Ended, Guard
from corten_serve.worker.operations import PLAIN, Operation, drive, is_stream
from corten_serve.worker.sync_streams import SyncStreams, stepwise

if TYPE_CHECKING:
    from typing import TypeAlias

_HOLD = 0.002
"""Seconds for which finished answers may wait for others of their frame, while there is more to do. Each frame wakes the
server, which costs both sides more than a quick prediction does."""
_LARGE = 64 << 10
"""Bytes of an answer's body that does not wait for others."""
_SLOW = 0.0005
"""Seconds that half of the requests take, above which no answer waits for another: sending it costs next to nothing then,
and a quick answer never stands behind a slow prediction. It is the median, because a mean rises when the machine is busy,
and sending more frames then would only make it busier."""
_STALL = 0.01
"""Seconds that one of the last hundred or so took, above which none waits either: the next may take as long."""
Streamed: TypeAlias = "tuple[Work, Iterator[Any]]"


class SyncService:
    """Answers what comes over `channel` until it ends or SIGTERM comes."""

    def __init__(self, channel: Channel, guard: Guard, held: Held, answering: Answering) -> None:
        self._channel = channel
        self._guard = guard
        self._answering = answering
        self._loop = answering.loaded.loop
        self._inbox = Inbox()
        self._held = held
        self._sent = 0.0
        self._typical = _SLOW
        self._longest = 0.0
        self._quick = True
        self._open = True
        self._streams = SyncStreams(guard, answering, self._send, self._put, self._heed)

    def run(self) -> None:
        """Return when there is nothing more to do. Raises OSError when the channel breaks."""
        jobs, clock = self._inbox.jobs, time.perf_counter
        while self._open and not self._guard.ending:
            if not jobs:
                self._flush()
                self._wait()
                continue
            if not self._quick:
                # Whose client has left by now need not be begun. For quick work asking would cost more than it saves.
                self._sort(self._channel.poll())
                if not jobs:
                    continue
            job = jobs.popleft()
            begun = clock()
            if self._held.size and (begun - self._sent > _HOLD or not self._quick):
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
        inbox = self._inbox
        for item in inbox.sort(items):
            if item.kind == CANCEL:
                if not self._streams.stop(item.id) and inbox.drop(item.id):
                    self._put(self._answering.cancelled(item.id))
            elif item.kind == CREDIT:
                self._streams.credit(item.id, int(item.body))
            elif item.kind == HEALTH:
                inbox.jobs.append(item)

    def _heed(self) -> None:
        """Wait for what the server says in the middle of a stream."""
        items = self._channel.receive()
        if items is None:
            self._open = False
            self._streams.stop()
        else:
            self._sort(items)

    def _send(self, item: Item) -> None:
        self._put(item)
        self._flush()

    def _put(self, item: Item) -> None:
        """Send `item` with the next, or at once where it is large."""
        if len(item.body) > _LARGE or not self._held.add(item):
            self._flush()
            self._channel.send((item,))

    def _flush(self) -> None:
        held = self._held
        if held.size:
            self._channel.send_frame(held.frame())
            held.clear()
        self._sent = time.perf_counter()

    def _done(self, item: Item, answer: Answer | None, begun: float, writing: float = 0.0) -> None:
        """Note the answer, None for a call that was given up. `writing` is how many seconds its bytes took."""
        took = time.perf_counter() - begun
        # A step up or down for each comes to rest where half of them are longer.
        self._typical *= 1.06 if took > self._typical else 0.94
        self._longest = max(took, self._longest * 0.99)
        self._quick = self._typical <= _SLOW and self._longest <= _STALL
        if answer is None:
            self._put(self._answering.cancelled(item.id, took))
        else:
            self._put(answered(item.id, answer, took, writing))

    def _single(self, item: Item, begun: float) -> None:
        guard, answering = self._guard, self._answering
        guard.begin(item.id)
        outcome: tuple[Answer | None, Streamed | None] = (None, None)
        try:
            guard.arm(item.id, item.id)
            try:
                call = answering.call(item)
            except OSError as error:
                outcome = answering.unreadable(item, error), None
            else:
                current.set(current_of((call,), (item,)))
                outcome = self._answer(call)
            guard.disarm()
        except Cancelled:
            outcome = (None, None)
        answer, streamed = outcome
        if streamed is not None:
            self._stream(item, streamed[0], streamed[1], begun)
        else:
            self._done(item, answer, begun, answering.spent())

    def _answer(self, call: Call) -> tuple[Answer | None, Streamed | None]:
        """The answer to one call, or what is to be streamed as it. Raises nothing but Cancelled."""
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
                        return None, (work, stepwise(result, self._loop))
                    result = self._loop.collect(result)
            return answering.written(work, (result,)), None
        except Cancelled:
            raise
        except BaseException as error:
            return answering.failure(call, error), None

    def _stream(self, item: Item, work: Work, items: Iterator[Any], begun: float) -> None:
        stream = work.stream
        assert stream is not None
        ended = self._streams.run(item, work, stream, items)
        if isinstance(ended, int):
            took = int((time.perf_counter() - begun) * 1e6)
            self._put(Item(item.id, END, ended, took, writing=int(self._streams.writing * 1e6)))
        else:
            self._done(item, ended, begun)

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
        writing = [0.0] * len(items)
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
                    writing[place] = answering.spent()
            guard.disarm()
        except Cancelled:
            pass
        for item, answer, seconds in zip(items, answers, writing):  # noqa: B905 (no `strict` in Python 3.9)
            self._done(item, answer, begun, seconds)

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
        self._put(Item(0, HEALTHY, status, 0, b"", reason.encode()))
