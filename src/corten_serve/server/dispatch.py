"""Which worker gets which requests, and when: the hands that carry out what `batching` decides."""

from __future__ import annotations

import asyncio

from corten_serve import frames
from corten_serve.frames import Item
from corten_serve.server.batching import SLOW, STALLED, expect, fresh, patience, window
from corten_serve.server.meter import ModelMeter
from corten_serve.server.queueing import Lane, Queue
from corten_serve.server.requests import Group, Request
from corten_serve.server.workers import Worker


class Dispatch:
    """Feeds `workers`, the list of those that are ready, from `queue`. What comes within one turn of the event loop goes
    out together. `delay` is for how long a batch may wait to grow, in seconds."""

    def __init__(self, queue: Queue, workers: list[Worker], meter: ModelMeter, delay: float) -> None:
        self._queue = queue
        self._workers = workers
        self._meter = meter
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._flushing = False
        self._lingering: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """At the end of this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.now)

    def now(self) -> None:
        """Hand over as much as the workers have room for, the longest waiting first."""
        self._flushing = False
        workers = self._workers
        if not workers:
            return
        for lane in self._queue.in_order():
            served = self._batches(lane, workers) if lane.size else self._singles(lane, workers)
            if not served:
                return  # Who has waited longest is not overtaken for ever.

    def _singles(self, lane: Lane, workers: list[Worker]) -> bool:
        """Whether all of the lane could be handed over."""
        most, now = window(lane.typical), self._loop.time()
        while lane.waiting:
            if len(workers) == 1:
                worker, room = workers[0], _room(workers[0], most, now)
            else:
                worker, room = _least(workers, most, now)
            if room <= 0:
                return False
            requests = self._queue.take(lane, room)
            if requests:
                self._hand(worker, requests, None)
        return True

    def _batches(self, lane: Lane, workers: list[Worker]) -> bool:
        """Whether all of the lane could be handed over, or waits on purpose."""
        while lane.waiting:
            idle = next((worker for worker in workers if not worker.hand), None)
            if idle is None:
                return False
            now = self._loop.time()
            since = now - lane.active
            busy = len(workers) > 1 and any(worker.hand for worker in workers)
            expected = lane.expected if busy else fresh(lane.expected, since)
            left = patience(
                len(lane.waiting),
                lane.size,
                now - lane.waiting[0].since,
                expected,
                self._delay,
            )
            if left > 0:
                lane.held = lane.held or now
                if self._lingering is None:
                    self._lingering = self._loop.call_later(left, self._linger)
                return True
            requests = self._queue.take(lane, lane.size)
            if requests:
                lane.expected = expect(lane.expected, len(requests), since)
                lane.active = now
                held, lane.held = lane.held, 0.0
                self._meter.batches.add(len(requests))
                self._hand(idle, requests, Group(requests), held)
        return True

    def _linger(self) -> None:
        self._lingering = None
        self.now()

    def _hand(self, worker: Worker, requests: list[Request], group: Group | None, held: float = 0.0) -> None:
        """`held` is since when they waited for others of their batch, 0 where they did not."""
        items: list[Item] = []
        now = self._loop.time()
        queue, hand, stage, batch = self._queue, worker.hand, self._meter.queue, self._meter.batch
        if group is not None:
            items.append(Item(0, frames.BATCH, len(requests)))
        for request in requests:
            identity = request.id = queue.new_id()
            request.worker = worker
            request.group = group
            request.handed = now
            hand[identity] = request
            if group is None:
                stage.add(now - request.since)
            else:
                grown = now - max(held, request.since) if held else 0.0
                stage.add(now - request.since - grown)
                batch.add(grown)
            left = max(1, int((request.deadline - now) * 1000)) if request.deadline else 0
            if request.path is None:
                items.append(Item(identity, frames.CALL, 0, left, request.meta, request.body))
            else:
                items.append(
                    Item(identity, frames.CALL, frames.IN_FILE, left, request.meta, request.path.encode())
                )
        if len(hand) == len(requests):
            worker.progressed = now
        if group is None and is_slow(requests[0]):
            worker.slow += len(requests)
        worker.send(items)


def _room(worker: Worker, most: int, now: float) -> int:
    """How many more requests a worker may be given, of which `most` would fill it."""
    held = len(worker.hand)
    if worker.concurrency:
        return worker.concurrency - held
    if not held:
        return most
    # Nothing is put behind what takes long, whether that was to be expected or not.
    if worker.slow or now - worker.progressed > STALLED or next(iter(worker.hand.values())).group is not None:
        return 0
    return most - held


def _least(workers: list[Worker], most: int, now: float) -> tuple[Worker, int]:
    """The worker with the least in hand that has room, and how many it may be given before it is another's turn."""
    loads = sorted(
        (len(worker.hand), at) for at, worker in enumerate(workers) if _room(worker, most, now) > 0
    )
    if not loads:
        return workers[0], 0
    load, at = loads[0]
    room = _room(workers[at], most, now)
    if len(loads) > 1:
        room = min(room, loads[1][0] - load + 1)
    return workers[at], room


def is_slow(request: Request) -> bool:
    """Whether nothing should stand behind it in a worker's hand."""
    typical = request.lane.typical
    return request.group is None and (typical is None or typical > SLOW)
