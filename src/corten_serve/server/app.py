"""The HTTP side: an RSGI application (Granian's interface) that routes, limits and forwards, and never parses a body.

Every request is awaited until its answer has been handed over; `_Exchange` is what the steps in between share.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from corten_serve.server.answers import JSON, LEFT, SERVER, Headers, Writer, error, head, is_large, packed
from corten_serve.server.bodies import Bodies, Body
from corten_serve.server.connections import Connection
from corten_serve.server.log import Log
from corten_serve.server.models import Models, Page, Route
from corten_serve.server.origins import Origins, forwarded_client
from corten_serve.server.own import Own
from corten_serve.server.predictions import Predictions, Wanted, responds_later
from corten_serve.server.requests import Refused, Stream
from corten_serve.server.tracing import Ids, valid_trace
from corten_serve.settings import Settings

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol
    from granian.rsgi import Scope

_DISCARD_SECONDS = 5.0
"""How long the rest of a refused body is read and dropped, so that a client that sends first and reads later gets the
answer instead of a broken connection."""
_LONGEST = 8192
"""Characters of a header's value that are passed on to a worker."""
_LONGEST_WHOLE = 256 << 10
"""Characters of a request line and headers that are passed on whole."""
_CLOSE = ("connection", "close")


class _Exchange:
    """One request on its way. `extra` are headers that its answer has in any case, `route` the worker's that answers.
    `given` says that the client has named the request."""

    __slots__ = ("extra", "given", "headers", "id", "proto", "route", "scope")

    def __init__(self, scope: Scope, proto: HTTPProtocol) -> None:
        self.scope = scope
        self.proto = proto
        self.headers = scope.headers
        self.extra: Headers = []
        self.id = ""
        self.given = False
        self.route: Route | None = None


class App:
    """`draining` is set at the end: not ready, still answering, and asking every client to close its connection. `active`
    requests are being answered, `taken` have come so far. `clients` are the addresses with requests that are being answered, and
    how many."""

    def __init__(self, settings: Settings, models: Models, log: Log, local: bool = False) -> None:
        """`local`: only this machine reaches it."""
        self.draining = False
        self.active = self.taken = 0
        self.clients: dict[str, int] = {}
        self.bodies = Bodies(settings, self._retry_after)
        self._settings = settings
        self._models = models
        self._log = log
        self._ids = Ids()
        self._origins = Origins(settings.cors, settings.hosts, local)
        self._waiting = 0
        self._shared: dict[str, Connection] = {}
        self._predictions = Predictions(settings, models, log)
        own = Own(settings, models, self, log)
        log.leave_out(own.watching)
        self._own: dict[str, Callable[[Scope], Any]] = own.routes

    async def __rsgi__(self, scope: Scope, proto: HTTPProtocol) -> None:
        if scope.proto != "http":
            return
        begun = time.perf_counter()
        client = scope.client
        self.clients[client] = self.clients.get(client, 0) + 1
        self.active += 1
        self.taken += 1
        status = 500
        exchange = _Exchange(scope, proto)
        try:
            status = await self._answer(exchange)
        except asyncio.CancelledError:
            status = LEFT  # There is nobody to answer.
        except Refused as refused:
            status = self._refuse(exchange, refused)
        except Exception:
            import traceback

            self._log.say(
                "error: this is a bug in Corten's model server; please report it\n" + traceback.format_exc(),
                request_id=exchange.id,
            )
            status = self._error(exchange, 500, "the server failed; its log says more")
        finally:
            self.active -= 1
            left = self.clients[client] - 1
            if left:
                self.clients[client] = left
            else:
                del self.clients[client]
            took = time.perf_counter() - begun
            route = exchange.route
            model = ""
            if route is not None:
                pool = route.pool
                model = pool.name
                pool.meter.active -= 1
                pool.meter.answered(route.path, status, took)
            if self._settings.forwarded:
                client = forwarded_client(exchange.headers.get("x-forwarded-for"))
            self._log.request(
                scope.method, scope.path, status, took, client, exchange.id, exchange.given, model
            )

    async def _answer(self, exchange: _Exchange) -> int:
        scope = exchange.scope
        get = exchange.headers.get
        trace, given = get("traceparent"), get("x-request-id")
        exchange.id = self._ids.of(given, trace)
        exchange.given = given is not None or trace is not None
        exchange.extra.append(("x-request-id", exchange.id))
        if trace is not None and valid_trace(trace):
            exchange.extra.append(("traceparent", trace))
        if self._origins.any:
            exchange.extra += self._origins.headers(get("origin"))
        if self.draining:
            exchange.extra.append(_CLOSE)
        if self._origins.by_name:
            host = get("host") or scope.authority
            if not self._origins.answers_to(host):
                return await self._stranger(exchange, host or "")
        method, path = scope.method, scope.path
        methods = self._models.table.get(path)
        if methods is None and path.endswith("/"):
            path = (
                path.rstrip("/") or "/"
            )  # `/predict/` is `/predict`, without a redirect that clients would not follow.
            methods = self._models.table.get(path)
        if methods is not None:
            found = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
            if isinstance(found, Route):
                return await self._call(exchange, found)
            if isinstance(found, Page):
                return self._page(exchange, found)
            if found is not None:
                return await self._predict(exchange, found.route)
        return await self._otherwise(exchange, method, path)

    async def _stranger(self, exchange: _Exchange, host: str) -> int:
        """A request for a host name that is none of ours."""
        reason = f"this server does not answer to the host name '{host[:100]}'; CORTEN_HOSTS can allow it"
        status = self._refuse(exchange, Refused(403, reason))
        await Body(exchange.proto, exchange.headers.get("content-length")).discard(_DISCARD_SECONDS)
        return status

    # Requests for a model.

    async def _call(self, exchange: _Exchange, route: Route, named: bool | None = None) -> int:
        """`named` is for calls of Cog's protocol: whether the path has the prediction's id."""
        exchange.route = route
        route.pool.meter.active += 1
        get = exchange.headers.get
        length = get("content-length")
        body = Body(exchange.proto, length, trailers=length is None and get("trailer") is not None)
        bodies, pool = self.bodies, route.pool
        later: Wanted | None = None
        kept = False
        try:
            foreign = self._origins.foreign(exchange.scope.method, get)
            if foreign is not None:
                page = "pages of other origins" if foreign == "null" else f"pages of '{foreign[:100]}'"
                raise Refused(403, f"{page} may not call this server; CORTEN_CORS can allow it")
            pool.check()  # Before its body takes memory, too.
            timeout = self._timeout(get("x-request-timeout"))
            await bodies.read(body, get("content-encoding"))
            watch: Callable[[], Any] | None = exchange.proto.client_disconnect
            if named is not None and responds_later(get("prefer"), get("accept")):
                later = self._wanted(exchange, body, named)
                watch, timeout = None, 0.0
            meta = _whole(route, exchange) if route.whole else _meta(route, exchange.id, get)
            answer = pool.submit(route.lane, meta, body.data, body.path, timeout, watch)
            if named is not None:
                self._predictions.began(exchange.id, answer, route)
            if later is not None:
                kept = True
                return self._later(exchange, later, answer, body)
            outcome = await answer
            if isinstance(outcome, Stream):
                return await self._stream(exchange, outcome)
            status, meta, data = outcome
            headers = head(meta, exchange.extra)
            if len(data) >= 1024:
                if is_large(outcome):
                    return await self._large(exchange, body, status, headers, data)
                headers, data = packed(headers, data, get("accept-encoding"))
            exchange.proto.response_bytes(status, headers, data)
            return status
        except Refused as refused:
            status = self._refuse(exchange, refused)
            if not (
                self.draining and status == 408
            ):  # That client sends nothing, and the end is not to wait for it.
                await body.discard(_DISCARD_SECONDS)
            return status
        finally:
            if not kept:
                bodies.release(body)

    # Predictions of Cog's protocol.

    async def _predict(self, exchange: _Exchange, route: Route, identity: str = "") -> int:
        """Make a prediction, or tell of the one that is being made under the id that the path names."""
        if not identity:
            return await self._call(exchange, route, False)
        exchange.id = identity
        exchange.extra[0] = ("x-request-id", identity)
        if self._predictions.is_running(identity):
            return self._give(exchange, 202, [JSON], self._predictions.begun(identity))
        return await self._call(exchange, route, True)

    def _wanted(self, exchange: _Exchange, body: Body, named: bool) -> Wanted:
        """What a prediction is asked for that nobody waits for. From here on the request has its id."""
        if body.path is not None:
            raise Refused(413, "a prediction that nobody waits for takes a body of at most 1 MiB")
        later = self._predictions.wanted(body.data, exchange.id, named)
        if self._predictions.is_running(later.id):
            raise Refused(409, f"the prediction '{later.id}' is being made already")
        exchange.id = later.id
        exchange.extra[0] = ("x-request-id", later.id)
        return later

    def _later(self, exchange: _Exchange, later: Wanted, answer: Any, body: Body) -> int:
        """Answer now; the end of the server waits for the prediction."""
        self.active += 1

        def release() -> None:
            self.active -= 1
            self.bodies.release(body)

        self._predictions.follow(later, answer, release)
        return self._give(exchange, 202, [JSON], self._predictions.begun(later.id))

    async def _prediction(self, exchange: _Exchange, method: str, path: str) -> int | None:
        """The answer below `/predictions/`, None where there is nothing."""
        place, route = self._predictions.place(path), self._predictions.route()
        if place is None or route is None:
            return None
        identity, cancels = place
        allowed = ("POST",) if cancels else ("GET", "PUT")
        if method == "OPTIONS":
            return self._options(exchange, ", ".join(allowed))
        if method not in allowed and not (method == "HEAD" and not cancels):
            message = f"'{path[:100]}' takes {', '.join(allowed)}, not {method[:20]}"
            return self._error(exchange, 405, message, [("allow", ", ".join(allowed))])
        foreign = self._origins.foreign(method, exchange.headers.get)
        if foreign is not None:
            return self._error(exchange, 403, f"pages of '{foreign[:100]}' may not call this server")
        if cancels:
            return self._give(exchange, 200 if self._predictions.cancel(identity) else 404, [JSON], b"{}")
        if method == "PUT":
            return await self._predict(exchange, route, identity)
        status, body = self._predictions.told(identity)
        return self._give(exchange, status, [JSON], body)

    def _healthy(self, _: Scope) -> tuple[int, Headers, bytes]:
        """Cog's `/health-check`, also before a worker has said that there is one."""
        busy = all(
            pool.queue.handed >= pool.at_once and pool.queue.handed > 0
            for pool in self._models.pools.values()
        )
        body = self._predictions.health(busy, self.draining, self._settings.version)
        return 200, [JSON, ("cache-control", "no-store")], body

    async def _stream(self, exchange: _Exchange, stream: Stream) -> int:
        writer = self._writer(exchange)
        return await writer.parts(stream, head(stream.meta, exchange.extra))

    def _writer(self, exchange: _Exchange) -> Writer:
        scope = exchange.scope
        shared = self._shared if scope.http_version == "2" else None
        return Writer(exchange.proto, scope.client, lambda: self.bodies.patience, shared)

    async def _large(
        self, exchange: _Exchange, body: Body, status: int, headers: Headers, data: bytes
    ) -> int:
        """Answers that are long on their way count like bodies that wait."""
        body.kept += len(data)
        self.bodies.waiting += len(data)
        writer = self._writer(exchange)
        return await writer.whole(status, headers, data)

    def _timeout(self, text: str | None) -> float:
        """Seconds: the client's own wish, and at most the server's limit."""
        limit = self._settings.timeout
        if text is None:
            return limit
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < 1e9:
            raise Refused(400, f"x-request-timeout is '{text[:40]}', not a number of seconds")
        return min(seconds, limit) if limit else seconds

    def _refuse(self, exchange: _Exchange, refused: Refused) -> int:
        # A full server is better off without the connections of those that it sends away.
        extra = [] if self.draining else [_CLOSE]
        if refused.after:
            extra.append(("retry-after", str(refused.after)))
        return self._error(exchange, refused.status, refused.reason, extra)

    def _retry_after(self) -> int:
        return max(pool.queue.retry_after(pool.at_once) for pool in self._models.pools.values())

    # Everything else.

    async def _otherwise(self, exchange: _Exchange, method: str, path: str) -> int:
        if path.startswith("/predictions/"):
            status = await self._prediction(exchange, method, path)
            if status is not None:
                return status
        own = self._own.get(path)
        if path == "/health-check" and own is None and (self._settings.cog or self._models.cog is not None):
            own = self._healthy
        everything = self._models.table.get("/{proxy+}", {}).get("ANY")
        if isinstance(everything, Route) and (own is None or path == "/"):
            return await self._call(exchange, everything)
        methods = self._models.table.get(path, {})
        allowed = sorted(
            {*methods, *(("GET",) if own else ()), *(("HEAD",) if own or "GET" in methods else ())}
        )
        if method in ("GET", "HEAD") and own is not None:
            status, headers, data = own(exchange.scope)
            return self._give(exchange, status, headers, data)
        if allowed and method == "OPTIONS":
            return self._options(exchange, ", ".join(allowed))
        if allowed:
            extra = [("allow", ", ".join(allowed))]
            message = f"'{path}' takes {', '.join(m for m in allowed if m != 'HEAD')}, not {method[:20]}"
            return self._error(exchange, 405, message, extra)
        if not self._models.known.is_set():
            return await self._wait(exchange)
        known = ", ".join(self._known())
        return self._error(exchange, 404, f"there is no '{path[:100]}' here; there is {known}")

    def _known(self) -> list[str]:
        paths = [path for path, methods in self._models.table.items() if path and "POST" in methods]
        return paths[:12] + [path for path in self._own if path.count("/") == 1]

    async def _wait(self, exchange: _Exchange) -> int:
        """Nobody knows yet which paths there are: the request waits for the first start, as those that follow it do."""
        if self._models.state == "failed":
            raise Refused(503, self._models.reason or "the predictor is not available", 5)
        if self._waiting >= self._settings.queue:
            raise Refused(503, f"the queue is full ({self._settings.queue} requests)", 1)
        self._waiting += 1
        known = asyncio.ensure_future(self._models.known.wait())
        gone: Any = exchange.proto.client_disconnect()
        gone.add_done_callback(lambda _: known.cancel())
        try:
            await asyncio.wait({known}, timeout=self._settings.timeout or None)
            if not known.done():
                raise Refused(503, "the predictor is still starting", 5)
            known.result()
        finally:
            self._waiting -= 1
            known.cancel()
            gone.cancel()
        exchange.extra.clear()
        return await self._answer(exchange)

    def _page(self, exchange: _Exchange, page: Page) -> int:
        document = page.document
        if document.ready and (self.draining or page.pool.state != "ready"):
            raise Refused(503, f"the model '{page.pool.name}' is not ready", 1)
        return self._give(exchange, 200, [("content-type", document.kind)], document.body)

    def _options(self, exchange: _Exchange, allowed: str) -> int:
        get = exchange.headers.get
        extra = [SERVER, *exchange.extra, ("allow", allowed)]
        if self._origins.any and get("access-control-request-method"):
            asked = self._origins.preflight(get("origin"), allowed, get("access-control-request-headers"))
            extra = [SERVER, *exchange.extra[:1], *asked]
        exchange.proto.response_empty(204, extra)
        return self._noted(exchange, 204)

    def _give(self, exchange: _Exchange, status: int, headers: Headers, data: bytes) -> int:
        exchange.proto.response_bytes(status, [*headers, SERVER, *exchange.extra], data)
        return self._noted(exchange, status)

    def _error(self, exchange: _Exchange, status: int, message: str, extra: Headers | None = None) -> int:
        headers = [JSON, *(extra or ())]
        if exchange.scope.method == "HEAD":
            headers.append(("content-length", "0"))
        return self._give(exchange, status, headers, error(message))

    def _noted(self, exchange: _Exchange, status: int) -> int:
        if exchange.route is None:
            path = exchange.scope.path.rstrip("/") or "/"
            self._models.meter.answered(
                path if path in self._own or path in self._models.table else "other", status
            )
        return status


def _meta(route: Route, identity: str, get: Callable[[str], str | None]) -> bytes:
    """What the worker learns beside the body."""
    values = [(get(name) or "")[:_LONGEST] for name in route.headers]
    return route.prefix + "\0".join((identity, *values)).encode("latin-1", "replace")


def _whole(route: Route, exchange: _Exchange) -> bytes:
    """The same for a worker that wants the request line and all headers. What is too long for that is left out, and seen there."""
    scope = exchange.scope
    asked = {
        "method": scope.method,
        "path": scope.path,
        "query": scope.query_string,
        "headers": [[name.lower(), value] for name, value in scope.headers.items()],
        "client": scope.client,
    }
    text = json.dumps(asked)
    return route.prefix + f"{exchange.id}\0{text if len(text) <= _LONGEST_WHOLE else ''}".encode(
        "latin-1", "replace"
    )
