"""Answers of an async predictor that come in parts, several side by side, none faster than its client takes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from corten_serve.frames import ANSWER, CREDIT_BYTES, END, HEAD, PART, Item
from corten_serve.protocols.interface import Stream, meta
from corten_serve.worker.answering import CANCELLED, Answering
from corten_serve.worker.operations import caught

PIECE = 256 << 10
"""Bytes of the longest part that is sent at once."""


class _Flow:
    """One answer on its way: whether its head was sent, and the bytes that its client has yet to take."""

    __slots__ = ("headed", "room", "unacknowledged")

    def __init__(self) -> None:
        self.headed = False
        self.unacknowledged = 0
        self.room = asyncio.Event()


class AsyncStreams:
    """`say` sends an item with others of the same turn of the loop. `given_up` tells whether what was raised is that the
    server has given up the call that the current task works on."""

    def __init__(
        self, answering: Answering, say: Callable[[Item], None], given_up: Callable[[BaseException], bool]
    ) -> None:
        self._answering = answering
        self._say = say
        self._given_up = given_up
        self._flows: dict[int, _Flow] = {}

    def credit(self, identity: int, size: int) -> None:
        """The client of `identity` has taken `size` bytes."""
        flow = self._flows.get(identity)
        if flow is not None:
            flow.unacknowledged -= size
            flow.room.set()

    def given_up(self, identity: int) -> Item:
        """What ends a call that was cancelled: the end of a stream whose head was sent, else an answer."""
        flow = self._flows.pop(identity, None)
        broken = flow is not None and flow.headed
        return Item(identity, END, 1) if broken else Item(identity, ANSWER, CANCELLED)

    async def run(self, identity: int, stream: Stream, result: Any, begun: float) -> Item:
        """Send the parts of `result`, and return the END that is due. The head waits for the first part, so that what is
        raised before it passes through, and is answered with a status of its own."""
        flow = self._flows[identity] = _Flow()
        status, writing = 1, 0.0
        items = each_of(result)
        last = b""
        try:
            async for each in items:
                before = time.perf_counter()
                part = stream.part(each)
                writing += time.perf_counter() - before
                await self._part(identity, stream, flow, part)
            await self._part(identity, stream, flow, stream.end())
            status = 0
        except BaseException as error:
            if self._given_up(error):
                raise
            if not flow.headed:
                del self._flows[identity]
                failure = caught(error)
                if failure is error:
                    raise
                raise failure from error
            last = stream.error(self._answering.reported(caught(error)))
        finally:
            await items.aclose()
        del self._flows[identity]
        if last:
            # In one frame with the end: so the server knows that it is the last part.
            self._say(Item(identity, PART, 0, 0, b"", last))
        took = time.perf_counter() - begun
        return Item(identity, END, status, int(took * 1e6), writing=int(writing * 1e6))

    async def _part(self, identity: int, stream: Stream, flow: _Flow, data: bytes) -> None:
        """Send bytes when the client has taken enough of those before."""
        if not flow.headed:
            flow.headed = True
            self._say(Item(identity, HEAD, 200, 0, meta(stream.type, stream.headers), b""))
        for start in range(0, len(data), PIECE):
            while flow.unacknowledged + PIECE > CREDIT_BYTES:
                flow.room.clear()
                await flow.room.wait()
            piece = data[start : start + PIECE]
            flow.unacknowledged += len(piece)
            self._say(Item(identity, PART, 0, 0, b"", piece))
        # A generator that never waits would keep its parts, and everybody else's answers, from going out.
        await asyncio.sleep(0)


async def each_of(result: Any) -> Any:
    """The items of an iterator of either sort. Closing this closes it."""
    try:
        if hasattr(result, "__anext__"):
            async for item in result:
                yield item
        else:
            for item in result:
                yield item
    finally:
        if hasattr(result, "aclose"):
            await result.aclose()
        elif hasattr(result, "close"):
            result.close()
