"""One model's requests and workers: the way of a request to a worker and back.

Workers are fed by load and given only as much as they can do at once. When one dies, the requests that it had begun are
answered 502 and those that it had not are given to another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

from corten_serve import frames
from corten_serve.frames import Item
from corten_serve.server.answers import error_part
from corten_serve.server.dispatch import Dispatch, is_slow
from corten_serve.server.fleet import Fleet
from corten_serve.server.log import Log
from corten_serve.server.meter import ModelMeter
from corten_serve.server.process import ending
from corten_serve.server.queueing import Lane, Queue
from corten_serve.server.requests import Outcome, Refused, Request, Stream
from corten_serve.server.suspects import Suspects
from corten_serve.server.tables import Table, read_table
from corten_serve.server.workers import Worker, error_body
from corten_serve.settings import Settings

State = Literal["starting", "ready", "failed", "stopping"]
_WATCH = 0.05
"""Seconds that a request waits before its client's connection is watched; quick ones never pay for that."""
_TURNS = 2
"""Workers that may die when it was a request's turn, before it is refused."""


class StartFailed(Exception):
    """A model's first worker did not get ready. The project's traceback, if any, is on standard error already."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Pool:
    """`submit` a request and await its answer. `first` completes when the first worker is ready, or has failed. `table` is
    what the workers serve; `published` is called when it is known."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        environment: Mapping[str, str],
        log: Log,
        meter: ModelMeter,
        published: Callable[[Pool], None],
    ) -> None:
        self.name = name
        self.meter = meter
        self.table: Table | None = None
        self.reason: str | None = None
        self.queue = Queue(settings.queue)
        self._settings = settings
        self._log = log
        self._published = published
        self._loop = asyncio.get_running_loop()
        self.first: asyncio.Future[None] = self._loop.create_future()
        self.fleet = Fleet(name, settings, environment, self, log, meter)
        self._dispatch = Dispatch(self.queue, self.fleet.ready, meter, settings.batch_delay)
        self._suspects = Suspects()
        self._failed = False
        self._ticking = False

    @property
    def state(self) -> State:
        """`ready` while any worker can be used; `failed` while none could be started again."""
        if self.fleet.stopping:
            return "stopping"
        if self.fleet.ready:
            return "ready"
        return "failed" if self._failed else "starting"

    @property
    def at_once(self) -> int:
        """How many requests are worked on side by side."""
        return max(1, sum(worker.concurrency or 1 for worker in self.fleet.ready))

    def check(self) -> None:
        """Raises Refused where no request can be taken."""
        queue = self.queue
        if queue.full:
            raise Refused(503, f"the queue is full ({queue.most} requests)", queue.retry_after(self.at_once))
        if self._failed and not self.fleet.ready:
            raise Refused(503, self.reason or "the predictor is not available", 5)

    def submit(
        self,
        lane: Lane,
        meta: bytes,
        body: bytes,
        path: str | None,
        timeout: float,
        watch: Callable[[], Any] | None,
    ) -> asyncio.Future[Outcome]:
        """The future of the answer. It is cancelled when the client leaves first. `timeout` 0 is no limit. Raises Refused."""
        self.check()
        queue = self.queue
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        now = self._loop.time()
        request = Request(lane, meta, body, path, answer, now, now + timeout if timeout else 0.0, watch)
        if path is None and self._suspects.may_be(body):
            self._check(request, now)
        queue.add(request)
        self._dispatch.soon()
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(_WATCH, self._tick)
        return answer

    def _check(self, request: Request, now: float) -> None:
        request.key = _key(request)
        if self._suspects.guilty(request.key, now):
            raise Refused(502, f"this input has ended {_TURNS} workers, and is not tried again for a while")

    # What workers tell.

    def received(self, worker: Worker, items: list[Item]) -> None:
        """Answers and announcements from a worker."""
        worker.progressed = self._loop.time()
        self._hear(worker, items)
        if worker.state == "leaving" and not worker.hand:
            worker.leave()
        if self.queue.waiting:
            self._dispatch.now()

    def _hear(self, worker: Worker, items: list[Item]) -> None:
        """What is in another's hand, or was heard before, is passed over."""
        hand, now = worker.hand, self._loop.time()
        for item in items:
            kind = item.kind
            if kind == frames.ANSWER:
                request = hand.pop(item.id, None)
                if request is not None:
                    self._finish(worker, request, item, now)
                    request.forget_client()
                    if not request.answer.done():
                        request.answer.set_result((item.status, item.meta, item.body))
            elif kind in (frames.HEAD, frames.PART, frames.END):
                self._stream(worker, item, now)
            else:
                self._announced(worker, item)

    def _finish(self, worker: Worker, request: Request, item: Item, now: float) -> None:
        """It is out of the worker's hand."""
        self.queue.handed -= 1
        lane, group = request.lane, request.group
        seconds = item.micros / 1e6
        writing = item.writing / 1e6
        self.meter.predict.add(seconds - writing)
        self.meter.encode.add(writing)
        if group is None:
            lane.took(seconds)
            if worker.slow:
                worker.slow = sum(1 for other in worker.hand.values() if is_slow(other))
        elif group.members[-1] is request:
            lane.took((now - request.handed) / len(group.members))
            lane.active = now
        worker.proved = True
        if worker.stopping:
            worker.stopped(request.id)
        if request.key is not None and item.status < 500:
            self._suspects.innocent(request.key)

    def _stream(self, worker: Worker, item: Item, now: float) -> None:
        request = worker.hand.get(item.id)
        if request is None:
            return
        if item.kind == frames.HEAD:
            if request.answer.done():
                return

            def credit(size: int) -> None:
                worker.send([Item(request.id, frames.CREDIT, body=b"%d" % size)])

            request.stream = Stream(item.status, item.meta, credit, lambda: self.abandon(request), now)
            request.answer.set_result(request.stream)
        elif item.kind == frames.PART:
            if request.stream is not None:
                request.stream.feed(item.body, now)
        else:
            del worker.hand[item.id]
            self._finish(worker, request, item, now)
            request.forget_client()
            if request.stream is not None:
                request.stream.end(broken=item.status == 1)
                request.stream = None  # It knows how to give the request up, and would keep it.

    def _announced(self, worker: Worker, item: Item) -> None:
        if item.kind == frames.READY:
            self.table = read_table(item.body)
            predictor = self.table.predictor
            worker.concurrency = predictor.concurrency if predictor.asynchronous else 0
            self.reason, self._failed = None, False
            self.fleet.is_ready(worker)
            self._published(self)
            if not self.first.done():
                self.first.set_result(None)
        elif item.kind == frames.FAILED:
            message, _, hint = item.body.decode(errors="replace").partition("\0")
            worker.failure = (message, hint or None)
        elif item.kind == frames.HEALTHY:
            self.fleet.healthy(worker, item.status, item.body.decode(errors="replace"))

    def lost(self, worker: Worker, status: int) -> None:
        """A worker has ended and everything that it said has been heard."""
        was_ready = worker in self.fleet.ready or worker.why is not None
        how = ending(status)
        self._hear(worker, worker.spawned.held())
        reason = worker.reason or f"the {self.fleet.label} {how} while it was working on this request"
        self._recall(worker, reason)
        if self.fleet.stopping:
            self.fleet.lost(worker, "", None)
            return
        message, hint = worker.failure or (f"the {self.fleet.label} {how} before it was ready", None)
        if not self.first.done():
            self._failed, self.reason = True, message
            self.first.set_exception(StartFailed(message, hint))
            self.fleet.stopping = True
            return
        if was_ready:
            message = worker.reason or f"the {self.fleet.label} {how}"
        elif not self.fleet.ready:
            # It could be set up before and now cannot: those who wait are told, instead of waiting for a repair.
            self._failed, self.reason = True, f"the predictor cannot be started again: {message}"
            for request in self.queue.clear():
                _settle(request, (503, b"", error_body(self.reason)))
        self.fleet.lost(worker, message, hint)
        self._dispatch.soon()

    def _recall(self, worker: Worker, reason: str) -> None:
        """Requests that a dead worker had begun are lost, the others wait again."""
        if not worker.hand:
            return
        now, working_on = self._loop.time(), worker.spawned.working_on()
        begun = [request for request in worker.hand.values() if request.id <= working_on]
        again = [request for request in worker.hand.values() if request.id > working_on]
        worker.hand.clear()
        self.queue.handed -= len(begun)
        self.queue.again(again)
        if not begun:
            # It died over something that it had not said to begin: whoever's turn it was cannot be tried for ever.
            again[0].turns += 1
            if again[0].turns >= _TURNS:
                self.queue.drop(again[0])
                _settle(again[0], (502, b"", error_body(f"{reason}; {_TURNS} workers have ended that way")))
        for request in begun:
            if len(begun) == 1 and request.path is None and worker.why is None:
                self._suspects.accuse(request.key or _key(request), request.body, now)
            if request.stream is not None:
                _break_off(request.stream, reason)
            _settle(request, (502, b"", error_body(reason)))
        for request in again:
            if request.left:
                self.queue.drop(request)

    # Those who leave, and those who take too long.

    def _tick(self) -> None:
        """Watch the connections of those who have been waiting for a while, and the clock."""
        now = self._loop.time()
        for lane in self.queue.lanes.values():
            for request in list(lane.waiting):
                self._attend(request, now)
        for worker in self.fleet.all:
            for request in list(worker.hand.values()):
                self._attend(request, now)
            if worker.hand and now - worker.progressed > _WATCH:
                self._hear(worker, worker.spawned.held())
            if worker.stopping:
                self._chase(worker)
        self._ticking = len(self.queue) > 0
        if self._ticking:
            self._loop.call_later(_WATCH, self._tick)

    def _attend(self, request: Request, now: float) -> None:
        if request.watchable and now - request.since > _WATCH:
            request.look_after(lambda: self._gone(request))
        if not request.deadline or request.left:
            return
        stream = request.stream
        if stream is None:
            if now > request.deadline:
                self._late(request)
        elif now - stream.touched > (seconds := request.deadline - request.since):
            _break_off(stream, f"the next part took longer than {seconds:g} s")
            self.abandon(request)

    def _late(self, request: Request) -> None:
        seconds = request.deadline - request.since
        self.abandon(request)
        _settle(request, (504, b"", error_body(f"the prediction took longer than {seconds:g} s")))

    def _gone(self, request: Request) -> None:
        """The client has left."""
        if request.left:
            return
        if request.stream is not None:
            request.stream.end(broken=True)
        elif request.answer.done():
            return
        self.abandon(request)
        request.answer.cancel()

    def abandon(self, request: Request) -> None:
        """Nobody wants the answer any more: it is not begun, or stopped if all of its batch are so."""
        if request.left:
            return
        request.left = True
        worker = request.worker
        if worker is None:
            self.queue.drop(request)
            request.body = b""
            return
        if request.id not in worker.hand:
            return
        group = request.group
        if group is None:
            worker.stop([request.id])
            return
        group.wanted -= 1
        if not group.wanted:
            worker.stop([member.id for member in group.members if member.id in worker.hand])

    def find(self, answer: asyncio.Future[Outcome]) -> Request | None:
        """The request that waits for `answer`, queued or in a worker's hand."""
        for lane in self.queue.lanes.values():
            for request in lane.waiting:
                if request.answer is answer:
                    return request
        for worker in self.fleet.all:
            for request in worker.hand.values():
                if request.answer is answer:
                    return request
        return None

    def give_up(self, answer: asyncio.Future[Outcome], outcome: tuple[int, bytes, bytes]) -> None:
        """Whoever waits for `answer` gets `outcome`, and nothing is worked on for it any longer."""
        request = self.find(answer)
        if request is None or answer.done():
            return
        self.abandon(request)
        _settle(request, outcome)

    def _chase(self, worker: Worker) -> None:
        grace = self._settings.grace
        if worker.overdue() <= grace or worker.reason is not None:
            return
        reason = f"the {self.fleet.label} did not return within {grace:g} s of being told to stop"
        if worker.concurrency and any(id not in worker.stopping for id in worker.hand):
            # Others are worked on beside it. While the loop there goes on, they are finished first.
            alive = worker.is_alive(self._loop.time())
            if alive:
                self.fleet.replace(worker, "hang", reason, trusted=False)
            if alive is not False:
                return
        worker.reason = reason
        worker.why = worker.why or "hang"
        worker.kill()


def _key(request: Request) -> bytes:
    return hashlib.blake2b(request.lane.route.encode() + b"\0" + request.body, digest_size=16).digest()


def _break_off(stream: Stream, reason: str) -> None:
    """End a stream in the middle, with a last part that says why."""
    stream.fail(error_part(stream.meta, reason, stream.ending == b"\n"))


def _settle(request: Request, answer: tuple[int, bytes, bytes]) -> None:
    request.forget_client()
    if not request.answer.done():
        request.answer.set_result(answer)
