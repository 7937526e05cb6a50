"""The HTTP side: an RSGI application (Granian's interface) that routes, limits and forwards, and never parses a body."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from corten_serve.log import Log
from corten_serve.page import page
from corten_serve.pool import Pool, Refused
from corten_serve.settings import Settings

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol
    from granian.rsgi import Scope

Headers = list[tuple[str, str]]
_JSON = ("content-type", "application/json")
_DISCARD_SECONDS = 5.0
"""How long the rest of a refused body is read and dropped, so that a client that sends first and reads later gets the
answer instead of a broken connection."""
_LEFT = 499


class BodyTooLarge(Exception):
    """The body is, or says that it is, larger than the limit."""


class App:
    """`draining` is set at the end: not ready, still answering, and asking every client to close its connection."""

    def __init__(self, settings: Settings, pool: Pool, log: Log) -> None:
        self.draining = False
        self.active = 0
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
        status = 500
        try:
            status = await self._route(method, path, scope, proto)
        except asyncio.CancelledError:
            status = _LEFT  # The client left; there is nobody to answer.
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
        size = 0
        try:
            headers = scope.headers
            length = headers.get("content-length")
            body = await self._body(proto, length)
            size = len(body)
            self._bytes += size
            if self._bytes > self._settings.queue_bytes and size < self._bytes:
                raise Refused(503, "too many bytes are waiting", self._pool.queue.retry_after())
            meta = b"predict\0" + (headers.get("content-type") or "").encode("latin-1", "replace")[:200]
            status, answer = await self._pool.submit(meta, body, proto.client_disconnect)
            del body
            return self._send(proto, status, answer)
        except BodyTooLarge:
            status = self._error(
                proto,
                413,
                f"the body is larger than {_size(self._settings.body)}",
                [("connection", "close")],
            )
            await self._discard(proto)
            return status
        except Refused as refused:
            extra = [("retry-after", str(refused.after))] if refused.after else []
            return self._error(proto, refused.status, refused.reason, extra)
        finally:
            self._bytes -= size

    async def _body(self, proto: HTTPProtocol, length: str | None) -> bytes:
        """The whole body. Raises BodyTooLarge before reading more than the limit, CancelledError when it takes too long."""
        limit = self._settings.body
        task = asyncio.current_task()
        assert task is not None
        self._reading[task] = time.monotonic()
        try:
            if length is not None:
                if not length.isdigit() or len(length) > 15 or int(length) > limit:
                    raise BodyTooLarge
                return await proto()
            chunks: list[bytes] = []
            size = 0
            async for chunk in proto:
                size += len(chunk)
                if size > limit:
                    raise BodyTooLarge
                chunks.append(chunk)
            return b"".join(chunks)
        except (BodyTooLarge, asyncio.CancelledError):
            raise
        except (
            Exception
        ) as error:  # granian's protocol errors: the connection broke in the middle of the body
            raise asyncio.CancelledError from error
        finally:
            del self._reading[task]

    async def _discard(self, proto: HTTPProtocol) -> None:
        """Read on for a while without keeping anything."""
        end = time.monotonic() + _DISCARD_SECONDS
        try:
            async for chunk in proto:
                if not chunk or time.monotonic() > end:
                    return
        except Exception:
            return  # The body has been taken already, or the client is gone: either way there is nothing to read.

    def sweep(self) -> None:
        """Drop clients that have been sending their body for too long. To be called every few seconds."""
        limit = time.monotonic() - self._settings.body_seconds
        for task, begun in list(self._reading.items()):
            if begun < limit:
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
        text = page(self._settings.name, self._settings.predict, self._pool.state)
        return self._send(proto, 200, text.encode(), ("content-type", "text/html; charset=utf-8"))

    def _send(
        self,
        proto: HTTPProtocol,
        status: int,
        body: bytes,
        kind: tuple[str, str] = _JSON,
        extra: Headers | None = None,
    ) -> int:
        headers = [kind, ("server", "corten"), *(extra or ())]
        if self.draining:
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
