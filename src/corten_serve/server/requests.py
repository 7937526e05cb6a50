"""A request on its way through, and the answer that comes in parts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from corten_serve.server.queueing import Lane
    from corten_serve.server.workers import Worker

Whole = tuple[int, bytes, bytes]
"""An answer in one piece: status, meta as in frames, body."""
Outcome = Union[Whole, "Stream"]


class Refused(Exception):
    """A request is not taken. `status` and `reason` are for the client, `after` is Retry-After in seconds."""

    def __init__(self, status: int, reason: str, after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.after = after


class Request:
    """One request. `answer` completes with its Outcome, is cancelled when the client leaves first, or fails with Refused.

    `id` is that of the frames, given when it is handed to a worker. `path` names a file that holds the body instead of
    `body`. `watch` makes a future that completes when the client disconnects, only for those that wait. `turns` counts workers
    that died when it was this request's turn, `left` says that nobody wants the answer any more."""

    __slots__ = (
        "_gone", "_told", "answer", "body", "deadline", "group", "handed", "id", "key", "lane", "left", "meta", "path",
        "since", "stream", "turns", "watch", "worker",
    )  # fmt: skip

    def __init__(
        self,
        lane: Lane,
        meta: bytes,
        body: bytes,
        path: str | None,
        answer: asyncio.Future[Outcome],
        since: float,
        deadline: float,
        watch: Callable[[], Any] | None,
    ) -> None:
        self.id = 0
        self.lane = lane
        self.meta = meta
        self.body = body
        self.path = path
        self.answer = answer
        self.since = since
        self.deadline = deadline
        self.watch = watch
        self._gone: Any = None
        self._told: Callable[[], None] | None = None
        self.group: Group | None = None
        self.handed = 0.0
        self.key: bytes | None = None
        self.left = False
        self.stream: Stream | None = None
        self.turns = 0
        self.worker: Worker | None = None

    @property
    def watchable(self) -> bool:
        """Whether its client's connection can be watched, and is not yet."""
        return self._gone is None and self.watch is not None

    def look_after(self, gone: Callable[[], None]) -> None:
        """Call `gone` when the client disconnects, unless `forget_client` is called first."""
        assert self.watch is not None
        self._told = gone
        self._gone = self.watch()
        if hasattr(self._gone, "add_done_callback"):
            self._gone.add_done_callback(self._left)
        else:
            self._left(None)  # Granian's answer for a client that it knows to be gone.

    def forget_client(self) -> None:
        """Nobody has to know any more. Granian's future and what is called by it hold each other where the garbage collector
        does not see it, so the two are parted here, or the answer would stay for ever."""
        gone, self._gone, self._told, self.watch = self._gone, None, None, None
        if gone is not None and hasattr(gone, "cancel"):
            gone.remove_done_callback(self._left)
            gone.cancel()

    def _left(self, _: Any) -> None:
        gone = self._told
        self.forget_client()
        if gone is not None:
            gone()


class Group:
    """Requests that are predicted together. `wanted` is how many of them somebody still waits for."""

    __slots__ = ("members", "wanted")

    def __init__(self, members: list[Request]) -> None:
        self.members = members
        self.wanted = len(members)


class Stream:
    """An answer in parts, as they come. `leave` says that its client has gone. `touched` is when it last went on. `ending`
    is the last byte that was fed."""

    __slots__ = (
        "_credit",
        "_ended",
        "_parts",
        "_waiter",
        "broken",
        "ending",
        "leave",
        "meta",
        "status",
        "touched",
    )

    def __init__(
        self,
        status: int,
        meta: bytes,
        credit: Callable[[int], None],
        leave: Callable[[], None],
        now: float,
    ) -> None:
        self.status = status
        self.meta = meta
        self.leave = leave
        self._credit = credit
        self.broken = False
        self.touched = now
        self.ending = b"\n"
        self._parts: deque[bytes] = deque()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes, now: float) -> None:
        """The next bytes."""
        self._parts.append(data)
        self.ending = data[-1:] or self.ending
        self.touched = now
        self._wake()

    def taken(self, size: int, now: float) -> None:
        """The client has that many more bytes."""
        self.touched = now
        if not self._ended:
            self._credit(size)

    def end(self, broken: bool = False) -> None:
        """No more bytes come; with `broken` the client has to see that the answer is incomplete."""
        if not self._ended:
            self._ended = True
            self.broken = broken
            self._wake()

    def fail(self, part: bytes) -> None:
        """It breaks off, and `part` says why."""
        if not self._ended:
            if part:
                self._parts.append(part)
            self.end(broken=True)

    async def next(self) -> bytes | None:
        """All bytes that are there, or the next that come; None at the end."""
        while not self._parts:
            if self._ended:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
