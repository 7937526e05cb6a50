"""One worker process as the server speaks with it: what it has in hand, what it was told to stop, and its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Literal, Protocol

from corten_serve import frames
from corten_serve.frames import Item
from corten_serve.server.process import Spawned
from corten_serve.server.requests import Request

State = Literal["starting", "ready", "leaving", "ended"]
"""A worker that is leaving gets nothing more, finishes what it has, and is ended."""
_PATIENCE = 2.0
"""Seconds in which an event loop that goes on answers a question."""
_FAREWELL = 5.0
"""Seconds that a worker has for its own end after its channel is closed."""


class Owner(Protocol):
    """Who hears what a worker says."""

    def received(self, worker: Worker, items: list[Item]) -> None:
        """Items, in order."""

    def lost(self, worker: Worker, status: int) -> None:
        """It has ended with that wait status, and everything that it said has been heard."""


class Worker(asyncio.Protocol):
    """The connection to one worker process. Both the end of its channel and its exit are awaited before it is lost.

    `hand` is what it has, in the order in which it works. `slow` counts those of them that take long. `stopping` holds
    when it was told to stop each of these ids, or was interrupted over it. `why` says why it is replaced, `reason` so in a
    sentence where it was killed. `asked` is when it was asked after its health and has not answered, `looked_after` when it
    last was well, `progressed` when it last began or answered something; it is `proved` once it
    has answered anything."""

    def __init__(self, owner: Owner, spawned: Spawned, loop: asyncio.AbstractEventLoop) -> None:
        self.spawned = spawned
        self.state: State = "starting"
        self.since = self.looked_after = self.progressed = loop.time()
        self.status: int | None = None
        self.failure: tuple[str, str | None] | None = None
        self.hand: dict[int, Request] = {}
        self.slow = 0
        self.concurrency = 0
        self.memory = 0
        self.stopping: dict[int, float] = {}
        self._interrupted: set[int] = set()
        self.asked: float | None = None
        self._doubted: float | None = None
        self.proved = False
        self.why: str | None = None
        self.reason: str | None = None
        self._owner = owner
        self._loop = loop
        self._reader = frames.Reader()
        self._transport: asyncio.WriteTransport | None = None
        self._ended = False
        self._told = False
        self._connecting = loop.create_task(self._connect())

    async def _connect(self) -> None:
        await self._loop.create_connection(lambda: self, sock=self.spawned.channel)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            items = self._reader.feed(data)
        except frames.FrameError:
            self.spawned.kill()  # Its memory is no longer to be trusted.
            return
        if items:
            self._owner.received(self, items)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        if self.status is None:
            # A worker without its channel is of no use; it gets a moment to exit by itself, and its code is kept.
            self._loop.call_later(_FAREWELL if self.state == "leaving" else 1.0, self.kill)
        self._tell()

    def send(self, items: Iterable[Item]) -> None:
        """Hand over one frame."""
        if self._transport is not None and not self._ended:
            self._transport.write(frames.encode(items))

    def stop(self, ids: list[int]) -> None:
        """Tell it to stop working on `ids`; `overdue` has to be called regularly until it has."""
        self.send([Item(id, frames.CANCEL) for id in ids])
        now = self._loop.time()
        for id in ids:
            self.stopping.setdefault(id, now)
        self.overdue()

    def overdue(self) -> float:
        """Interrupt what is to be stopped as soon as it is begun. Returns for how many seconds it has not been heeded."""
        now, begun = self._loop.time(), self.spawned.working_on()
        busy = any(id <= begun for id in self.hand)
        longest = 0.0
        for id, since in self.stopping.items():
            if id > begun:
                # Its turn comes after the one that is being worked on; without any, nothing happens in there at all.
                if not busy:
                    longest = max(longest, now - since)
            elif id not in self._interrupted:
                self._interrupted.add(id)
                self.stopping[id] = now
                if self.concurrency == 0:
                    self.spawned.interrupt(id)
            else:
                longest = max(longest, now - since)
        return longest

    def stopped(self, id: int) -> None:
        """It has answered `id`, whatever."""
        self.stopping.pop(id, None)
        self._interrupted.discard(id)

    def ask(self) -> None:
        """Ask whether the predictor is healthy."""
        self.asked = self._loop.time()
        self.send([Item(0, frames.HEALTH)])

    def is_alive(self, now: float) -> bool | None:
        """Whether its event loop goes on: it is asked when this is asked first. None while it has not answered in time."""
        if self._doubted is None:
            self._doubted = now
            if self.asked is None:
                self.ask()
        if self.looked_after >= self._doubted:
            return True
        return None if now - self._doubted < _PATIENCE else False

    def close(self) -> None:
        """End the channel: the worker finishes what it has and exits."""
        if self._transport is not None:
            self._transport.close()

    def leave(self) -> None:
        """Give it nothing more, and end it when its hand is empty."""
        if self.state in ("starting", "ready"):
            self.state = "leaving"
        if self.state == "leaving" and not self.hand:
            self.close()

    def exited(self, status: int) -> None:
        """The process has been reaped. A forked child of it may still hold the channel; it is not waited for."""
        self.status = status
        if self._ended:
            self._tell()
        else:
            self._loop.call_later(0.2, self._give_up)

    def kill(self) -> None:
        """End the process at once."""
        if self.status is None:
            self.spawned.kill()

    def _give_up(self) -> None:
        if not self._ended:
            self.close()

    def _tell(self) -> None:
        if self._ended and self.status is not None and not self._told:
            self._told = True
            self.state = "ended"
            self._owner.lost(self, self.status)


def error_body(message: str) -> bytes:
    """The JSON of an error that the server itself gives."""
    return json.dumps({"error": message}).encode()
