"""The HTTP side: an RSGI application (Granian's interface) that routes, limits and forwards, and never parses a body."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from corten_serve.server.log import Log
from corten_serve.server.page import page
from corten_serve.server.pool import Pool, Refused
from corten_serve.settings import Settings

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol
    from granian.rsgi import Scope

Headers = list[tuple[str, str]]
_JSON = ("content-type", "application/json")
_DISCARD_SECONDS = 5.0
"""How long the rest of a refused body is read and dropped, so that a client that sends first and reads later gets the
answer instead of a broken connection."""
_SMALL = 64 << 10
"""Bodies up to this many bytes are read in one go; larger ones piece by piece, counting."""
_TOO_LATE = -1.0
_LEFT = 499


class _Body:
    """A request's body. `announced` is its length by the header, None where it comes in chunks; `size` what was read."""

    def __init__(self, proto: HTTPProtocol, length: str | None) -> None:
        # The HTTP library has refused what is not a number; absurdly long numbers are only too large.
        self.announced = None if length is None else int(length[:18]) if length.isdigit() else 0
        self.size = 0
        self._proto = proto
        self._begun = False

    async def whole(self) -> bytes:
        """All of it at once. Raises CancelledError when the client goes away."""
        try:
            data: bytes = await self._proto()
        except Exception as error:  # Granian's protocol errors
            raise asyncio.CancelledError from error
        self._begun = True
        self.size = len(data)
        return data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not self._begun:
            self._begun = True
            self._proto.__aiter__()
        while True:
            try:
                chunk: bytes = await self._proto.__anext__()  # type: ignore[attr-defined]
            except Exception:
                return
            if not chunk:
                return
            self.size += len(chunk)
            yield chunk

    async def discard(self, seconds: float) -> None:
        """Read on for a while without keeping anything."""
        if self._begun and self.announced is not None and self.size >= self.announced:
            return
        end = time.monotonic() + seconds
        before = self.size
        async for _ in self:
            self.size = before
            if time.monotonic() > end:
                return


class App:
    """`draining` is set at the end: not ready, still answering, and asking every client to close its connection. `active`
    requests are being answered, `taken` have come so far."""

    def __init__(self, settings: Settings, pool: Pool, log: Log) -> None:
        self.draining = False
        self.active = self.taken = 0
        self._settings = settings
        self._pool = pool
        self._log = log
        self._bytes = 0
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._routes: dict[str, dict[str, Callable[[Scope, HTTPProtocol], Awaitable[int] | int]]] = {
            "/predict": {"POST": self._predict},
            "/livez": {"GET": self._livez},
            "/readyz": {"GET": self._readyz},
            "/openapi.json": {"GET": self._openapi},
            "/": {"GET": self._page},
        }

    async def __rsgi__(self, scope: Scope, proto: HTTPProtocol) -> None:
        if scope.proto != "http":
            return
        begun = time.perf_counter()
        method, path = scope.method, scope.path
        self.active += 1
        self.taken += 1
        status = 500
        try:
            status = await self._route(method, path, scope, proto)
        except asyncio.CancelledError:
            status = _LEFT  # The client left; there is nobody to answer.
        except Exception:
            import traceback

            self._log.say(
                "error: this is a bug in Corten's model server; please report it\n" + traceback.format_exc()
            )
            status = self._error(proto, 500, "the server failed; its log says more")
        finally:
            self.active -= 1
            self._log.request(method, path, status, time.perf_counter() - begun, scope.client)

    async def _route(self, method: str, path: str, scope: Scope, proto: HTTPProtocol) -> int:
        methods = self._routes.get(path)
        if methods is None:
            known = ", ".join(self._routes)
            return self._error(proto, 404, f"there is no '{path[:100]}' here; there is {known}")
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join(methods)
            return self._error(
                proto, 405, f"'{path}' takes {allowed}, not {method[:20]}", [("allow", allowed)]
            )
        result = handler(scope, proto)
        return result if isinstance(result, int) else await result

    async def _predict(self, scope: Scope, proto: HTTPProtocol) -> int:
        headers = scope.headers
        body = _Body(proto, headers.get("content-length"))
        try:
            data = await self._read(body)
            meta = b"predict\0" + (headers.get("content-type") or "").encode("latin-1", "replace")[:200]
            status, answer = await self._pool.submit(meta, data, proto.client_disconnect)
            return self._send(proto, status, answer)
        except Refused as refused:
            # A full server is better off without the connections of those that it sends away.
            extra = [("connection", "close")]
            if refused.after:
                extra.append(("retry-after", str(refused.after)))
            status = self._error(proto, refused.status, refused.reason, extra)
            await body.discard(_DISCARD_SECONDS)
            return status
        finally:
            self._bytes -= body.size

    async def _read(self, body: _Body) -> bytes:
        """The whole body. Raises Refused instead of keeping more than one body, or all of them, may have; and
        CancelledError for a client that goes away or takes too long."""
        limit = self._settings.body
        if body.announced is not None and body.announced > limit:
            raise self._too_large()
        task = asyncio.current_task()
        assert task is not None
        self._reading[task] = time.monotonic()
        try:
            if body.announced is not None and body.announced <= _SMALL:
                data = await body.whole()
                self._bytes += len(data)
                return data
            chunks: list[bytes] = []
            async for chunk in body:
                self._bytes += len(chunk)
                if body.size > limit:
                    raise self._too_large()
                if self._bytes > max(limit, self._settings.queue_bytes):
                    raise Refused(503, "too many bytes are waiting", self._pool.queue.retry_after())
                chunks.append(chunk)
            if body.announced is not None and body.size < body.announced:
                raise asyncio.CancelledError  # The connection broke in the middle of the body.
            return b"".join(chunks)
        except asyncio.CancelledError:
            if self._reading[task] == _TOO_LATE:
                raise Refused(408, f"the body took longer than {self._settings.body_seconds:g} s") from None
            raise
        finally:
            del self._reading[task]

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {_size(self._settings.body)}")

    def sweep(self) -> None:
        """Drop clients that have been sending their body for too long. To be called every few seconds."""
        limit = time.monotonic() - self._settings.body_seconds
        for task, begun in list(self._reading.items()):
            if begun < limit and begun != _TOO_LATE:
                self._reading[task] = _TOO_LATE
                task.cancel()

    def _livez(self, scope: Scope, proto: HTTPProtocol) -> int:
        return self._send(proto, 200, b'{"status":"live"}')

    def _readyz(self, scope: Scope, proto: HTTPProtocol) -> int:
        if self.draining:
            return self._send(proto, 503, b'{"status":"stopping"}')
        if self._pool.state == "ready":
            return self._send(proto, 200, b'{"status":"ready"}')
        document: dict[str, str] = {"status": self._pool.state}
        if self._pool.reason:
            document["error"] = self._pool.reason
        return self._send(proto, 503, json.dumps(document).encode())

    def _openapi(self, scope: Scope, proto: HTTPProtocol) -> int:
        document = self._pool.openapi
        if document is None:
            return self._error(proto, 503, "the predictor is still starting", [("retry-after", "1")])
        return self._send(proto, 200, document)

    def _page(self, scope: Scope, proto: HTTPProtocol) -> int:
        accepts = scope.headers.get("accept-encoding") or ""
        (kind, *headers), body = page(self._settings.name, self._settings.predict, self._pool.state, accepts)
        return self._send(proto, 200, body, kind, headers)

    def _send(
        self,
        proto: HTTPProtocol,
        status: int,
        body: bytes,
        kind: tuple[str, str] = _JSON,
        extra: Headers | None = None,
    ) -> int:
        headers = [kind, ("server", "corten"), *(extra or ())]
        if self.draining and not extra:
            headers.append(("connection", "close"))
        proto.response_bytes(status, headers, body)
        return status

    def _error(self, proto: HTTPProtocol, status: int, message: str, extra: Headers | None = None) -> int:
        return self._send(proto, status, json.dumps({"error": message}).encode(), extra=extra)


def _size(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"
