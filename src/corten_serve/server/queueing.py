"""Requests on their way through: waiting, handed to the worker, answered. Pure bookkeeping, no input or output."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_AHEAD = 0.004
"""Seconds of work that the worker may hold. More would keep requests from being dropped when their clients leave."""


class Request:
    """One request. `gone` is a future that completes when the client disconnects, made only for those that wait."""

    __slots__ = ("answer", "body", "gone", "id", "meta", "since", "watch")

    def __init__(
        self,
        id: int,
        meta: bytes,
        body: bytes,
        answer: asyncio.Future[tuple[int, bytes]],
        since: float,
        watch: Callable[[], Any] | None,
    ) -> None:
        self.id = id
        self.meta = meta
        self.body = body
        self.answer = answer
        self.since = since
        self.watch = watch
        self.gone: Any = None


class Queue:
    """The bounded queue. `handed` is what the worker has, in the order in which it works."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.waiting: deque[Request] = deque()
        self.handed: dict[int, Request] = {}
        self.typical: float | None = None
        self._next = 1

    def __len__(self) -> int:
        return len(self.waiting) + len(self.handed)

    @property
    def full(self) -> bool:
        """Whether one more request would be beyond the bound."""
        return len(self.waiting) + len(self.handed) >= self.most

    def new_id(self) -> int:
        """Ids rise and are never used again; 0 is nobody's."""
        identity, self._next = self._next, self._next + 1
        return identity

    def window(self) -> int:
        """How many requests the worker may hold: about four milliseconds' worth, at least one in hand, and one more
        so that it need not wait for us; but only the one when it takes so long that waiting for us does not count."""
        if self.typical is None:
            return 8
        if self.typical > 0.02:
            return 1
        return max(2, min(256, int(_AHEAD / max(self.typical, 1e-6))))

    def take(self) -> list[Request]:
        """Move the next requests to `handed`, leaving out those that nobody waits for any more."""
        batch: list[Request] = []
        room = self.window() - len(self.handed)
        while room > 0 and self.waiting:
            request = self.waiting.popleft()
            if request.answer.done():
                continue
            self.handed[request.id] = request
            batch.append(request)
            room -= 1
        return batch

    def finish(self, id: int, micros: int) -> Request | None:
        """The request that has been answered, or None if it is not ours (any more)."""
        request = self.handed.pop(id, None)
        if request is not None:
            seconds = micros / 1e6
            self.typical = seconds if self.typical is None else self.typical + (seconds - self.typical) / 16
        return request

    def recall(self, working_on: int) -> list[Request]:
        """The worker is dead: requests that it had begun are returned, the others wait again, before all newer ones."""
        begun = [request for request in self.handed.values() if request.id <= working_on]
        again = [request for request in self.handed.values() if request.id > working_on]
        self.handed.clear()
        self.waiting.extendleft(reversed(again))
        return begun

    def drop(self, request: Request) -> None:
        """Forget a waiting request."""
        with suppress(ValueError):
            self.waiting.remove(request)

    def retry_after(self) -> int:
        """Whole seconds after which the queue has probably been worked off, from 1 to 60."""
        return max(1, min(60, round((self.typical or 0.0) * len(self))))
