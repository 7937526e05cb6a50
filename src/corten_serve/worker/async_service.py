"""The loop of a worker whose predictor is async: requests side by side, as many as `concurrency`, on one event loop."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from corten_serve.errors import Cancelled
from corten_serve.frames import CANCEL, CREDIT, HEALTH, HEALTHY, FrameError, Item, Reader, encode
from corten_serve.protocols.interface import Answer, Call, Work
from corten_serve.worker import forks
from corten_serve.worker.answering import Answering, answered, current_of
from corten_serve.worker.async_streams import AsyncStreams, each_of
from corten_serve.worker.current import current
from corten_serve.worker.held import Held
from corten_serve.worker.inbox import Inbox
from corten_serve.worker.lifetime import Guard
from corten_serve.worker.loop import gather
from corten_serve.worker.operations import PLAIN, RAISED, Operation, caught, is_stream

_LARGE = 64 << 10
"""Bytes of an answer's body that does not wait for others."""


class AsyncService(asyncio.Protocol):
    """Answers what comes over the channel until it ends or SIGTERM comes. Sync endpoints beside async ones run on the loop
    itself, and hold the others up as they do in any async program."""

    def __init__(self, guard: Guard, held: Held, answering: Answering, concurrency: int) -> None:
        self._guard = guard
        self._answering = answering
        self._concurrency = concurrency
        self._loop = answering.loaded.loop.loop
        self._reader = Reader()
        self._transport: Any = None
        self._inbox = Inbox()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._together: dict[asyncio.Task[None], set[int]] = {}
        self._checking: asyncio.Task[None] | None = None
        self._busy = 0
        self._streams = AsyncStreams(answering, self._say, self._given_up)
        self._told: set[asyncio.Task[None]] = set()
        self._held = held
        self._flushing = False
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
                self._told.add(task)
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
        if forks.child:
            forks.end()
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
        for item in self._inbox.sort(items):
            if item.kind == CANCEL:
                self._cancel(item.id)
            elif item.kind == CREDIT:
                self._streams.credit(item.id, int(item.body))
            elif item.kind == HEALTH:
                self._checking = self._loop.create_task(self._health())
        self._begin()

    def _begin(self) -> None:
        """Begin as much as may run side by side, in the order in which it came."""
        jobs, guard = self._inbox.jobs, self._guard
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
        self._told.discard(task)
        self._busy -= len(items)
        for item in items:
            if self._running.pop(item.id, None) is not None:
                # It was cancelled before its first step, or while it was about to answer.
                self._say(self._streams.given_up(item.id))
        if self._guard.ending and not self._busy:
            self._finish(None)
        elif self._inbox.jobs:
            self._begin()

    def _cancel(self, identity: int) -> None:
        task = self._running.get(identity)
        if task is None:
            if self._inbox.drop(identity):
                self._say(self._streams.given_up(identity))
            return
        left = self._together.get(task)
        if left is not None:
            # Others may still wait for the same batch.
            left.add(identity)
            if any(task is running and each not in left for each, running in self._running.items()):
                return
        self._told.add(task)
        task.cancel()

    def _given_up(self, error: BaseException) -> bool:
        """Whether `error` is that the server has given up the current task, and not something of the project's own."""
        if isinstance(error, asyncio.CancelledError):
            return asyncio.current_task() in self._told
        if isinstance(error, GeneratorExit):
            # It is ours only where the interpreter ends and closes what is left: no task runs then.
            return asyncio.current_task() is None
        return isinstance(error, Cancelled)

    # What goes out.

    def _say(self, item: Item) -> None:
        """Send `item` with all others of this turn of the loop, in one frame."""
        if forks.child:
            forks.end()
        if len(item.body) > _LARGE or not self._held.add(item):
            # Large answers gain nothing from sharing a frame.
            self._flush()
            self._transport.write(encode((item,)))
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._held.size:
            self._transport.write(bytes(self._held.frame()))
            self._held.clear()

    def _answered(self, item: Item, answer: Answer, begun: float) -> None:
        writing = self._answering.spent()
        if self._running.pop(item.id, None) is not None:
            self._say(answered(item.id, answer, time.perf_counter() - begun, writing))

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
                        end = await self._streams.run(item.id, work.stream, result, begun)
                        if self._running.pop(item.id, None) is not None:
                            self._say(end)
                        return
                    result = await gather(each_of(result))
                answer = answering.written(work, (result,))
            else:
                answer = answering.write(work, await self._drive(item.id, operation, work.items))
        except BaseException as error:
            if isinstance(error, Cancelled):
                return
            if self._given_up(error):
                raise
            answer = answering.failure(call, caught(error))
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
                        result = await gather(each_of(result))
                except BaseException as error:
                    if self._given_up(error):
                        raise
                    step = steps.throw(caught(error))
                else:
                    step = steps.send(result)
        except StopIteration as stop:
            results: list[Any] = stop.value
            return results

    async def _health(self) -> None:
        status, reason = 200, ""
        check = self._answering.loaded.health()
        try:
            healthy = None if check is None else check()
            if hasattr(healthy, "__await__"):
                healthy = await healthy  # type: ignore[misc]
            if healthy is False:
                status, reason = 503, "the predictor says that it is not healthy"
        except BaseException as error:
            status, reason = 503, f"the predictor's 'healthy' raised {type(error).__name__}"
            self._answering.reported(caught(error))
        self._say(Item(0, HEALTHY, status, 0, b"", reason.encode()))
