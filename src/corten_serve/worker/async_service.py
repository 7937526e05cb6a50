"""The loop of a worker whose predictor is async: requests side by side, as many as `concurrency`, on one event loop."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Union

from corten_serve.errors import Cancelled
from corten_serve.frames import (
    ANSWER,
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
    FrameError,
    Item,
    Reader,
    encode,
)
from corten_serve.protocols.interface import Answer, Call, Stream, Work, meta
from corten_serve.worker.answering import CANCELLED, Answering, answered, current_of
from corten_serve.worker.current import current
from corten_serve.worker.lifetime import Guard
from corten_serve.worker.loop import gather
from corten_serve.worker.operations import PLAIN, RAISED, Operation, is_stream

_PIECE = 256 << 10
"""Bytes of the longest part of a stream that is sent at once."""
Job = Union[Item, "list[Item]"]


class _Flow:
    """What is known of one answer that is streamed: bytes that the client has yet to take."""

    __slots__ = ("headed", "room", "unacknowledged")

    def __init__(self) -> None:
        self.headed = False
        self.unacknowledged = 0
        self.room = asyncio.Event()


class AsyncService(asyncio.Protocol):
    """Answers what comes over the channel until it ends or SIGTERM comes. Sync endpoints beside async ones run on the loop
    itself, and hold the others up as they do in any async program."""

    def __init__(self, guard: Guard, answering: Answering, concurrency: int) -> None:
        self._guard = guard
        self._answering = answering
        self._concurrency = concurrency
        self._loop = answering.loaded.loop.loop
        self._reader = Reader()
        self._transport: Any = None
        self._jobs: deque[Job] = deque()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._together: dict[asyncio.Task[None], set[int]] = {}
        self._busy = 0
        self._flows: dict[int, _Flow] = {}
        self._outgoing: list[Item] = []
        self._over = self._loop.create_future()

    def run(self, channel: socket.socket) -> None:
        """Return when there is nothing more to do. Raises FrameError when the server says something that is no frame."""
        self._loop.run_until_complete(self._run(channel))

    async def _run(self, channel: socket.socket) -> None:
        self._loop.add_signal_handler(signal.SIGTERM, self._end)
        channel.setblocking(False)
        if self._guard.ending:
            return
        await self._loop.create_connection(lambda: self, sock=channel)
        try:
            await self._over
        finally:
            tasks = set(self._running.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=1)
            self._flush()
            self._transport.close()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._sort(self._reader.feed(data))
        except FrameError as error:
            self._finish(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    def _end(self) -> None:
        """SIGTERM: what was begun is finished, what was not is for another worker."""
        self._guard.ending = True
        if not self._busy:
            self._finish(None)

    # What the server says.

    def _sort(self, items: list[Item]) -> None:
        together: list[Item] = []
        left = 0
        for item in items:
            kind = item.kind
            if kind == CALL:
                if left:
                    together.append(item)
                    left -= 1
                    if not left:
                        self._jobs.append(together)
                        together = []
                else:
                    self._jobs.append(item)
            elif kind == BATCH:
                left = item.status
            elif kind == CANCEL:
                self._cancel(item.id)
            elif kind == CREDIT:
                flow = self._flows.get(item.id)
                if flow is not None:
                    flow.unacknowledged -= int(item.body)
                    flow.room.set()
            elif kind == HEALTH:
                self._loop.create_task(self._health())
        if together:
            self._jobs.append(together)
        self._begin()

    def _begin(self) -> None:
        """Begin as much as may run side by side, in the order in which it came."""
        jobs, guard = self._jobs, self._guard
        while jobs and self._busy < self._concurrency and not guard.ending:
            job = jobs.popleft()
            items = job if isinstance(job, list) else [job]
            if not items:
                continue
            if isinstance(job, list):
                guard.begin(items[-1].id)
                task = self._loop.create_task(self._batch(items))
                self._together[task] = set()
            else:
                guard.begin(items[0].id)
                task = self._loop.create_task(self._single(items[0]))
            self._busy += len(items)
            for item in items:
                self._running[item.id] = task
            task.add_done_callback(partial(self._ended, items))

    def _ended(self, items: list[Item], task: asyncio.Task[None]) -> None:
        self._together.pop(task, None)
        self._busy -= len(items)
        for item in items:
            if self._running.pop(item.id, None) is not None:
                # It was cancelled before its first step, or while it was about to answer.
                flow = self._flows.pop(item.id, None)
                broken = flow is not None and flow.headed
                self._say(Item(item.id, END, 1) if broken else Item(item.id, ANSWER, CANCELLED))
        if self._guard.ending and not self._busy:
            self._finish(None)
        elif self._jobs:
            self._begin()

    def _cancel(self, identity: int) -> None:
        task = self._running.get(identity)
        if task is not None:
            left = self._together.get(task)
            if left is not None:
                # Others may still wait for the same batch.
                left.add(identity)
                if any(task is running and each not in left for each, running in self._running.items()):
                    return
            task.cancel()
            return
        for job in self._jobs:
            if isinstance(job, list):
                for item in job:
                    if item.id == identity:
                        job.remove(item)
                        self._say(Item(identity, ANSWER, CANCELLED))
                        return
            elif job.id == identity:
                self._jobs.remove(job)
                self._say(Item(identity, ANSWER, CANCELLED))
                return

    # What goes out.

    def _say(self, item: Item) -> None:
        """Send `item` with all others of this turn of the loop, in one frame."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(item)
        if len(item.body) > _PIECE:
            self._flush()  # A frame has a longest length, and large answers gain nothing from sharing one.

    def _flush(self) -> None:
        if self._outgoing:
            items, self._outgoing = self._outgoing, []
            self._transport.write(encode(items))

    def _answered(self, item: Item, answer: Answer, begun: float) -> None:
        if self._running.pop(item.id, None) is not None:
            self._say(answered(item.id, answer, time.perf_counter() - begun))

    # The work.

    async def _single(self, item: Item) -> None:
        answering = self._answering
        begun = time.perf_counter()
        try:
            call = answering.call(item)
        except OSError as error:
            self._answered(item, answering.unreadable(item, error), begun)
            return
        current.set(current_of((call,), (item,)))
        try:
            work = answering.desk.read(call)
            operation = answering.operations[work.endpoint]
            if len(work.items) == 1 and operation.call is not None:
                arguments, keywords = work.items[0]
                result = await self._settled(item.id, operation.call, arguments, keywords)
                if result.__class__ not in PLAIN and (
                    is_stream(result) or (operation.streams and not hasattr(result, "__len__"))
                ):
                    if work.stream is not None:
                        await self._stream(item, work, work.stream, result, begun)
                        return
                    result = await gather(_items(result))
                answer = answering.desk.write(work, (result,))
            else:
                answer = answering.write(work, await self._drive(item.id, operation, work.items))
        except RAISED as error:
            answer = answering.failure(call, error)
        except Cancelled:
            return
        self._answered(item, answer, begun)

    async def _batch(self, items: list[Item]) -> None:
        """Predict several calls at once. What is wrong with one of them is answered to that one."""
        answering = self._answering
        begun = time.perf_counter()
        works: dict[str, list[tuple[Item, Work]]] = {}
        calls: list[Call] = []
        for item in items:
            try:
                call = answering.call(item)
            except OSError as error:
                self._answered(item, answering.unreadable(item, error), begun)
                continue
            try:
                work = answering.desk.read(call)
                works.setdefault(work.endpoint, []).append((item, work))
                calls.append(call)
            except RAISED as error:
                self._answered(item, answering.failure(call, error), begun)
        current.set(current_of(calls, items))
        for name, some in works.items():
            arguments = [each for _, work in some for each in work.items]
            try:
                results = await self._drive(some[0][0].id, answering.operations[name], arguments)
            except Cancelled:
                return
            after = 0
            for item, work in some:
                before, after = after, after + len(work.items)
                self._answered(item, answering.write(work, results[before:after]), begun)

    async def _settled(
        self, identity: int, function: Callable[..., Any], arguments: Sequence[Any], keywords: dict[str, Any]
    ) -> Any:
        """What `function` gives, awaited. While it is on the interpreter it can be cancelled as sync code can."""
        guard = self._guard
        try:
            guard.arm(identity, identity)
            result = function(*arguments, **keywords)
        finally:
            guard.disarm()
        if result.__class__ in PLAIN or not hasattr(result, "__await__"):
            return result
        awaitable: Awaitable[Any] = result
        return await awaitable

    async def _drive(self, identity: int, operation: Operation, items: Sequence[Any]) -> list[Any]:
        """Make the calls that `Operation.steps` asks for."""
        steps = operation.steps(items, True)
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._settled(identity, step.function, step.arguments, step.keywords)
                    if is_stream(result):
                        result = await gather(_items(result))
                except RAISED as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as stop:
            results: list[Any] = stop.value
            return results

    async def _stream(self, item: Item, work: Work, stream: Stream, result: Any, begun: float) -> None:
        """Send the items of one answer as they come. The head waits for the first, so that what fails before it is an
        answer with a status of its own."""
        flow = self._flows[item.id] = _Flow()
        status = 1
        items = _items(result)
        try:
            async for each in items:
                part = stream.part(each)
                self._head(item, stream, flow)
                await self._part(item.id, flow, part)
            end = stream.end()
            self._head(item, stream, flow)
            await self._part(item.id, flow, end)
            status = 0
        except RAISED as error:
            if not flow.headed:
                del self._flows[item.id]
                raise
            await self._part(item.id, flow, stream.error(self._answering.reported(error)))
        finally:
            await items.aclose()
        del self._flows[item.id]
        if self._running.pop(item.id, None) is not None:
            self._say(Item(item.id, END, status, int((time.perf_counter() - begun) * 1e6)))

    def _head(self, item: Item, stream: Stream, flow: _Flow) -> None:
        if not flow.headed:
            flow.headed = True
            self._say(Item(item.id, HEAD, 200, 0, meta(stream.type, stream.headers), b""))

    async def _part(self, identity: int, flow: _Flow, data: bytes) -> None:
        """Send bytes of a stream when the client has taken enough of those before."""
        for start in range(0, len(data), _PIECE):
            while flow.unacknowledged + _PIECE > CREDIT_BYTES:
                flow.room.clear()
                await flow.room.wait()
            piece = data[start : start + _PIECE]
            flow.unacknowledged += len(piece)
            self._say(Item(identity, PART, 0, 0, b"", piece))
        # A generator that never waits would keep its parts, and everybody else's answers, from going out.
        await asyncio.sleep(0)

    async def _health(self) -> None:
        status, reason = 200, ""
        check = self._answering.loaded.health()
        try:
            healthy = None if check is None else check()
            if hasattr(healthy, "__await__"):
                healthy = await healthy  # type: ignore[misc]
            if healthy is False:
                status, reason = 503, "the predictor says that it is not healthy"
        except RAISED as error:
            status, reason = 503, f"the predictor's 'healthy' raised {type(error).__name__}"
            self._answering.reported(error)
        self._say(Item(0, HEALTHY, status, 0, b"", reason.encode()))


async def _items(result: Any) -> Any:
    """The items of a generator of either sort; closing this one closes it."""
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
