"""All models of one server, and what they serve together: one table of paths, one OpenAPI document, one state."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from corten_serve.server.log import Log
from corten_serve.server.meter import Meter
from corten_serve.server.pool import Pool, StartFailed, State
from corten_serve.server.process import Spawned
from corten_serve.server.queueing import Lane
from corten_serve.server.tables import Document, merged
from corten_serve.settings import Settings

_COG = "cog:"
_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


class Route:
    """Where the calls of one path and method go. `name` and `headers` are the worker's; `whole` says that it wants the request line
    and all headers."""

    __slots__ = ("batch", "headers", "lane", "name", "path", "pool", "prefix", "whole")

    def __init__(self, pool: Pool, lane: Lane, name: str, path: str, headers: tuple[str, ...]) -> None:
        self.pool = pool
        self.lane = lane
        self.name = name
        self.path = path
        self.headers = headers
        self.prefix = name.encode() + b"\0"
        self.whole = headers == (":request",)


class Page:
    """A document of a model that needs no worker."""

    __slots__ = ("document", "pool")

    def __init__(self, pool: Pool, document: Document) -> None:
        self.pool = pool
        self.document = document


class Deferrable:
    """A route of Cog's protocol, whose calls may be answered before they are worked on."""

    __slots__ = ("route",)

    def __init__(self, route: Route) -> None:
        self.route = route


Entry = Route | Page | Deferrable


class Models:
    """The pools by name. `first` completes when every model is ready for the first time, and fails when one cannot be.
    `table` has what the workers announced, path → method → what answers; it is replaced, never changed."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], log: Log, meter: Meter) -> None:
        self.meter = meter
        self.table: dict[str, dict[str, Entry]] = {}
        self.openapi: bytes | None = None
        self._settings = settings
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[None] = loop.create_future()
        self.known = asyncio.Event()
        self.pools = {
            name: Pool(name, settings, environment, log, meter.model(name), self._published)
            for name, _ in settings.models
        }
        for pool in self.pools.values():
            pool.first.add_done_callback(self._first)

    @property
    def state(self) -> State:
        """That of the worst model."""
        states = {pool.state for pool in self.pools.values()}
        for state in ("stopping", "failed", "starting"):
            if state in states:
                return state
        return "ready"

    @property
    def reason(self) -> str | None:
        """Why a model failed."""
        return next((pool.reason for pool in self.pools.values() if pool.reason), None)

    @property
    def cog(self) -> dict[str, Any] | None:
        """What the first model tells of its start, where it was written for Cog."""
        table = next(iter(self.pools.values())).table
        return None if table is None else table.cog

    def adopt(self, spawned: list[Spawned]) -> None:
        """Take over the workers that have been started."""
        for each in spawned:
            self.pools[each.model].fleet.adopt(each)

    def look(self) -> None:
        """See after all workers. To be called every second or so."""
        for pool in self.pools.values():
            pool.fleet.look()

    def reap(self) -> None:
        """Collect every child process that has ended; as process 1 that includes the orphans of others."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, _ENDED)
            except ChildProcessError:
                return
            if ended is None:
                return
            owner = None
            for pool in self.pools.values():
                owner = owner or pool.fleet.owns(ended.si_pid)
            if owner is not None:
                owner.spawned.kill_family()
            _, status = os.waitpid(ended.si_pid, os.WNOHANG)
            if owner is not None:
                owner.exited(status)

    def work(self) -> tuple[int, bool]:
        """How many calls have been handed to workers so far, and whether there are any now."""
        queues = [pool.queue for pool in self.pools.values()]
        return sum(queue.begun for queue in queues), any(len(queue) for queue in queues)

    async def stop(self) -> None:
        """End all workers, after what they have in hand."""
        await asyncio.gather(*(pool.fleet.stop() for pool in self.pools.values()))

    def kill(self) -> None:
        """End all workers at once."""
        for pool in self.pools.values():
            pool.fleet.kill()

    def route(self, name: str) -> Route | None:
        """The first route that a worker calls `name`."""
        for methods in self.table.values():
            for each in methods.values():
                if isinstance(each, Route) and each.name.partition(":")[0] == name:
                    return each
        return None

    def _first(self, future: asyncio.Future[None]) -> None:
        if self.first.done() or future.cancelled():
            return
        error = future.exception()
        if error is not None:
            assert isinstance(error, StartFailed)
            self.first.set_exception(error)
        elif all(pool.first.done() for pool in self.pools.values()):
            self.first.set_result(None)

    def _published(self, _: Pool) -> None:
        table: dict[str, dict[str, Entry]] = {}
        for pool in self.pools.values():
            if pool.table is None:
                continue
            size = self._settings.batch_size
            for operation in pool.table.operations:
                lane = pool.queue.lane(operation.route, size if operation.batch and size > 1 else 0)
                route = Route(pool, lane, operation.route, operation.path, operation.headers)
                entry: Entry = Deferrable(route) if operation.route.startswith(_COG) else route
                table.setdefault(operation.path, {}).setdefault(operation.method, entry)
            for document in pool.table.documents:
                table.setdefault(document.path, {}).setdefault("GET", Page(pool, document))
        self.table = table
        tables = [pool.table for pool in self.pools.values()]
        if all(tables):
            documents = [each.openapi for each in tables if each is not None]
            self.openapi = merged(self._settings.name, self._settings.version, documents)
            self.known.set()
