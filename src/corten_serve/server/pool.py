"""The worker's life, and the way of a request to it and back.

One worker for now. It is started before anything else is imported, restarted with a growing delay when it dies, and
given only as much as it can do at once. When it dies, the requests that it had begun are answered 502 and those that it
had not are given to the next one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

from corten_serve import frames
from corten_serve.server.log import Log
from corten_serve.server.process import Spawned, ending, spawn
from corten_serve.server.queueing import Queue, Request
from corten_serve.settings import Settings, SettingsError

State = Literal["starting", "ready", "failed", "stopping"]
_LONG = 10.0
"""Seconds after which a worker that dies counts as having worked, so that the next one is started at once."""
_WATCH = 0.05
"""Seconds that a request waits before its client's connection is watched; quick ones never pay for that."""
_FAREWELL = 5.0
"""Seconds that a worker has for its own end after its channel is closed."""


class Refused(Exception):
    """A request is not taken. `status` and `reason` are for the client, `after` is Retry-After in seconds."""

    def __init__(self, status: int, reason: str, after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.after = after


class StartFailed(Exception):
    """The first worker did not get ready. The project's traceback, if any, is on standard error already."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def restart_delay(attempt: int) -> float:
    """Seconds before the restart after `attempt` failures in a row (the first is 0): 0, 0.5, 1, 2, … 30."""
    return 0.0 if attempt == 0 else min(30.0, 0.5 * 2 ** min(attempt - 1, 10))


class Pool:
    """`submit` a request and await its answer. `first` completes when the first worker is ready, or has failed."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], log: Log) -> None:
        self.state: State = "starting"
        self.openapi: bytes | None = None
        self.reason: str | None = None
        self._settings = settings
        self._environment = environment
        self._log = log
        self._loop = asyncio.get_running_loop()
        self.first: asyncio.Future[None] = self._loop.create_future()
        self.queue = Queue(settings.queue)
        self._link: _Link | None = None
        self._failures = 0
        self._flushing = False
        self._watching = False
        self._stopped: asyncio.Future[None] | None = None

    def adopt(self, spawned: Spawned) -> None:
        """Take over a worker that has been started. While it gets ready requests wait, unless the one before it could
        not be set up: then they are still refused until one is."""
        self._link = _Link(self, spawned, self._loop)
        if self.state != "failed":
            self.state = "starting"

    def submit(
        self, meta: bytes, body: bytes, watch: Callable[[], Any] | None
    ) -> asyncio.Future[tuple[int, bytes]]:
        """The future of (status, body). Cancelled when the client leaves first. Raises Refused."""
        queue = self.queue
        if queue.full:
            raise Refused(503, f"the queue is full ({queue.most} requests)", queue.retry_after())
        if self.state == "failed":
            raise Refused(503, self.reason or "the predictor is not available", 5)
        answer: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        queue.waiting.append(Request(queue.new_id(), meta, body, answer, self._loop.time(), watch))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        if not self._watching:
            self._watching = True
            self._loop.call_later(_WATCH, self._watch)
        return answer

    def reap(self) -> None:
        """Collect every child process that has ended; as process 1 that includes the orphans of others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._link is not None and pid == self._link.spawned.pid:
                self._link.exited(status)

    async def stop(self) -> None:
        """Let the worker end; after five seconds it is killed. One that is still starting has nothing to finish."""
        before, self.state = self.state, "stopping"
        if self._link is None or self._link.status is not None:
            return
        if before != "ready":
            self._link.spawned.kill()
            return
        self._stopped = self._loop.create_future()
        self._link.close()
        await asyncio.wait({self._stopped}, timeout=_FAREWELL)
        if not self._stopped.done():
            self._link.spawned.kill()
            self._log.say("warning: the worker did not end by itself and was killed")

    def kill(self) -> None:
        """End the worker at once."""
        self.state = "stopping"
        if self._link is not None and self._link.status is None:
            self._link.spawned.kill()

    # What the link tells.

    def received(self, items: list[frames.Item]) -> None:
        """Answers and announcements from the worker."""
        for item in items:
            if item.kind == frames.ANSWER:
                request = self.queue.finish(item.id, item.micros)
                if request is not None:
                    _settle(request, (item.status, item.body))
            elif item.kind == frames.READY:
                self.openapi = item.body
                self.state = "ready"
                self.reason = None
                if not self.first.done():
                    self.first.set_result(None)
            elif item.kind == frames.FAILED and self._link is not None:
                message, _, hint = item.body.decode(errors="replace").partition("\0")
                self._link.failure = (message, hint or None)
        if self.queue.waiting:
            self._flush()

    def lost(self, link: _Link, status: int) -> None:
        """The worker has ended and everything that it said has been heard."""
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)
        began = self.queue.recall(link.spawned.working_on())
        was, how = self.state, ending(status)
        reason = f"the worker {how} while it was working on this request"
        for request in began:
            _settle(request, (502, _error(reason)))
        link.spawned.board.close()
        if was == "stopping":
            return
        message, hint = link.failure or (f"the worker {how} before it was ready", None)
        if not self.first.done():
            self.state, self.reason = "failed", message
            self.first.set_exception(StartFailed(message, hint))
            return
        if was == "ready":
            self._failures = 0 if self._loop.time() - link.since > _LONG else self._failures
            self.state = "starting"
            message = f"the worker {how}"
        else:
            # It could be set up before and now cannot: those who wait are told, instead of waiting for a repair.
            self.state, self.reason = "failed", f"the predictor cannot be started again: {message}"
            while self.queue.waiting:
                _settle(self.queue.waiting.popleft(), (503, _error(self.reason)))
        delay = restart_delay(self._failures)
        self._failures += 1
        self._log.say(f"error: {message}; it is started again {f'in {delay:g} s' if delay else 'now'}", hint)
        self._loop.call_later(delay, self._restart)

    def _restart(self) -> None:
        if self.state == "stopping":
            return
        try:
            self.adopt(spawn(self._settings, self._environment))
        except SettingsError as error:
            self.reason = error.message
            self._log.say(f"error: {error.message}", error.hint)
            self._loop.call_later(restart_delay(self._failures), self._restart)
            self._failures += 1

    def _flush(self) -> None:
        self._flushing = False
        if self.state != "ready" or self._link is None:
            return
        batch = self.queue.take()
        if batch:
            self._link.send([frames.Item(r.id, frames.CALL, meta=r.meta, body=r.body) for r in batch])

    def _watch(self) -> None:
        """Watch the connections of those who have been waiting for a while."""
        now = self._loop.time()
        for request in self.queue.waiting:
            if request.gone is None and request.watch is not None and now - request.since > _WATCH:
                request.gone = request.watch()
                request.gone.add_done_callback(lambda future, of=request: self._left(of, future))
        self._watching = bool(self.queue.waiting)
        if self._watching:
            self._loop.call_later(_WATCH, self._watch)

    def _left(self, request: Request, future: Any) -> None:
        if future.cancelled() or request.answer.done():
            return
        if request.id not in self.queue.handed:
            self.queue.drop(request)
            request.body = b""
        request.answer.cancel()


class _Link(asyncio.Protocol):
    """The connection to one worker process. Both the end of its channel and its exit are awaited before it is lost."""

    def __init__(self, pool: Pool, spawned: Spawned, loop: asyncio.AbstractEventLoop) -> None:
        self.spawned = spawned
        self.since = loop.time()
        self.status: int | None = None
        self.failure: tuple[str, str | None] | None = None
        self._pool = pool
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
        self._pool.received(items)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        if self.status is None:
            # A worker without its channel is of no use; it gets a moment to exit by itself, and its code is kept.
            self._loop.call_later(_FAREWELL if self._pool.state == "stopping" else 1.0, self._kill)
        self._tell()

    def send(self, items: list[frames.Item]) -> None:
        """Hand over one frame."""
        if self._transport is not None and not self._ended:
            self._transport.write(frames.encode(items))

    def close(self) -> None:
        """End the channel: the worker finishes what it has and exits."""
        if self._transport is not None:
            self._transport.close()

    def exited(self, status: int) -> None:
        """The process has been reaped. A forked child of it may still hold the channel; it is not waited for."""
        self.status = status
        if self._ended:
            self._tell()
        else:
            self._loop.call_later(0.2, self._give_up)

    def _kill(self) -> None:
        if self.status is None:
            self.spawned.kill()

    def _give_up(self) -> None:
        if not self._ended:
            self.close()

    def _tell(self) -> None:
        if self._ended and self.status is not None and not self._told:
            self._told = True
            self._pool.lost(self, self.status)


def _settle(request: Request, answer: tuple[int, bytes]) -> None:
    if request.gone is not None:
        request.gone.cancel()
    if not request.answer.done():
        request.answer.set_result(answer)


def _error(message: str) -> bytes:
    import json

    return json.dumps({"error": message}).encode()
