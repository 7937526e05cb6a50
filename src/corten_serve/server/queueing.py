"""Requests that wait for a worker: bounded, in order, in one lane for each route. Bookkeeping, no input or output."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from corten_serve.server.requests import Request


class Lane:
    """The requests for one route. `size` is how many may be predicted together, 0 where each is on its own. `typical` is
    how many seconds one took lately (of a batch: its share), `expected` how many came together lately, `active` when the
    last batch was taken or done, `held` since when it waits for a batch to grow (0: it does not)."""

    __slots__ = ("active", "expected", "held", "route", "size", "typical", "waiting")

    def __init__(self, route: str, size: int) -> None:
        self.route = route
        self.size = size
        self.waiting: deque[Request] = deque()
        self.typical: float | None = None
        self.expected = 0.0
        self.active = 0.0
        self.held = 0.0

    def took(self, seconds: float) -> None:
        """Learn how long one request took."""
        self.typical = seconds if self.typical is None else self.typical + (seconds - self.typical) / 16


class Queue:
    """`handed` counts the requests that workers have; together with those that wait they are at most `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.lanes: dict[str, Lane] = {}
        self.waiting = 0
        self.handed = 0
        self._next = 1

    def __len__(self) -> int:
        return self.waiting + self.handed

    @property
    def full(self) -> bool:
        """Whether one more request would be beyond the bound."""
        return self.waiting + self.handed >= self.most

    @property
    def begun(self) -> int:
        """How many times a request was handed to a worker so far."""
        return self._next - 1

    def lane(self, route: str, size: int) -> Lane:
        """The lane of `route`, made if there is none."""
        lane = self.lanes.get(route)
        if lane is None:
            lane = self.lanes[route] = Lane(route, size)
        lane.size = size
        return lane

    def new_id(self) -> int:
        """Ids rise in the order of handing over and are never used again; 0 is nobody's."""
        identity, self._next = self._next, self._next + 1
        return identity

    def add(self, request: Request) -> None:
        """Put `request` at the end of its lane."""
        request.lane.waiting.append(request)
        self.waiting += 1

    def in_order(self) -> list[Lane]:
        """The lanes in which somebody waits, longest first."""
        lanes = [lane for lane in self.lanes.values() if lane.waiting]
        if len(lanes) > 1:
            lanes.sort(key=lambda lane: lane.waiting[0].since)
        return lanes

    def take(self, lane: Lane, most: int) -> list[Request]:
        """The next requests of `lane`, leaving out those that nobody waits for any more. They count as handed."""
        taken: list[Request] = []
        waiting = lane.waiting
        while waiting and len(taken) < most:
            request = waiting.popleft()
            self.waiting -= 1
            if not request.answer.done():
                taken.append(request)
        self.handed += len(taken)
        return taken

    def again(self, requests: list[Request]) -> None:
        """Requests that a worker had not begun wait again, each before all newer ones of its lane."""
        for request in sorted(requests, key=lambda request: request.since, reverse=True):
            request.worker = request.group = None
            request.lane.waiting.appendleft(request)
        self.waiting += len(requests)
        self.handed -= len(requests)

    def drop(self, request: Request) -> None:
        """Forget a waiting request."""
        with suppress(ValueError):
            request.lane.waiting.remove(request)
            self.waiting -= 1

    def clear(self) -> list[Request]:
        """Forget all waiting requests, and return them."""
        all_of_them = [request for lane in self.lanes.values() for request in lane.waiting]
        for lane in self.lanes.values():
            lane.waiting.clear()
        self.waiting = 0
        return all_of_them

    def retry_after(self, at_once: int) -> int:
        """Whole seconds after which the queue has probably been worked off by `at_once` at a time, from 1 to 60."""
        work = sum((lane.typical or 0.0) * len(lane.waiting) for lane in self.lanes.values())
        slowest = max((lane.typical or 0.0 for lane in self.lanes.values()), default=0.0)
        return max(1, min(60, round((work + slowest * self.handed) / max(1, at_once))))
