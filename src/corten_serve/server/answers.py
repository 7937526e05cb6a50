"""Writing answers: their headers, and large or streamed ones only as fast as the client takes them."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from corten_serve.server.connections import Connection, find
from corten_serve.server.requests import Stream, Whole

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol
    from granian._granian import RSGIHTTPStreamTransport as Transport

Headers = list[tuple[str, str]]
JSON = ("content-type", "application/json")
SERVER = ("server", "corten")
LARGE = 1 << 20
"""Bytes of an answer, or of what is on the way to a client, from which on it is watched whether the client reads."""
_PIECE = 128 << 10
_FREE = 512 << 10
"""Bytes of a streamed answer before anybody looks after its client, and of any that may be on the way to one."""
_WORTH = 1024
"""Bytes from which on an answer is packed for clients that ask for it."""
_WORTH_UNTIL = 256 << 10
"""Bytes up to which packing takes a few milliseconds of the event loop at most."""
LEFT = 499
"""The status that is noted for a client that left before its answer."""


def head(meta: bytes, more: Headers) -> Headers:
    """The headers for a worker's `meta`, and `more`."""
    if not meta:
        return [JSON, SERVER, *more]
    fields = meta.decode("latin-1").split("\0")
    pairs = [(name.lower(), value) for name, value in zip(fields[1::2], fields[2::2], strict=False)]
    return [("content-type", fields[0]), SERVER, *pairs, *more]


def error(message: str) -> bytes:
    """The JSON of an error that the server itself gives."""
    return json.dumps({"error": message}).encode()


def packed(headers: Headers, body: bytes, accepts: str | None) -> tuple[Headers, bytes]:
    """Headers and body in gzip, where the client takes that and it is worth it; else as they are. What could be packed says
    that it depends on what is accepted, for caches."""
    if not _WORTH <= len(body) <= _WORTH_UNTIL:
        return headers, body
    kind = headers[0][1]
    if not kind.startswith(("application/json", "text/", "application/x-ndjson", "application/openmetrics")):
        return headers, body
    if any(name == "content-encoding" for name, _ in headers):
        return headers, body
    headers = [*headers, ("vary", "accept-encoding")]
    if not accepts or not takes_gzip(accepts):
        return headers, body
    return [*headers, ("content-encoding", "gzip")], gzip.compress(body, 1, mtime=0)


@lru_cache(maxsize=64)
def takes_gzip(accepts: str) -> bool:
    """Whether gzip is among what an `Accept-Encoding` takes (RFC 9110, 12.5.3)."""
    wildcard = False
    for entry in accepts.lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        weight = next((part.partition("=")[2].strip() for part in parameters if part.startswith("q")), "1")
        wanted = weight.strip("0.") != ""
        if name in ("gzip", "x-gzip"):
            return wanted
        wildcard = wanted if name == "*" else wildcard
    return wildcard


def error_part(meta: bytes, message: str, whole: bool) -> bytes:
    """What tells a client inside a streamed answer, in the words of its content type, why it ends here; `whole` says that the
    part before it was sent to its end. As `protocols.streams` writes it."""
    kind = meta.partition(b"\0")[0].partition(b";")[0]
    if kind == b"application/x-ndjson":
        return (b"" if whole else b"\n") + error(message) + b"\n"
    if kind == b"text/event-stream":
        return (b"" if whole else b"\n") + b"event: error\ndata: " + error(message) + b"\n\n"
    return f"\nerror: {message}\n".encode(errors="replace") if kind == b"text/plain" else b""


def _tells_its_end(meta: bytes) -> bool:
    """Whether a client sees from a streamed answer itself that it was broken off: by its last line, or by JSON that is not closed."""
    kind = meta.partition(b"\0")[0].partition(b";")[0]
    return kind in (b"application/x-ndjson", b"text/event-stream", b"application/json", b"text/plain")


class Writer:
    """Writes large answers to one client. `patience` tells for how many seconds a client may not read at all, which changes when the server ends. `shared`, for HTTP/2,
    has the connections on which several answers may be written at once, by address: those live on when one answer is broken
    off."""

    def __init__(
        self,
        proto: HTTPProtocol,
        client: str,
        patience: Callable[[], float],
        shared: dict[str, Connection] | None = None,
    ) -> None:
        self._shared = shared
        self._proto = proto
        self._client = client
        self._patience = patience
        self._connection: Connection | None = None
        self._searched = False

    async def whole(self, status: int, headers: Headers, body: bytes) -> int:
        """An answer in one piece. Returns its status, or that of a client that left or does not read."""
        transport = self._proto.response_stream(status, [*headers, ("content-length", str(len(body)))])
        self._find()
        try:
            for start in range(0, len(body), _PIECE):
                if not await self._give(transport, body[start : start + _PIECE]):
                    return LEFT
            return status
        finally:
            self.close()

    async def parts(self, stream: Stream, headers: Headers) -> int:
        """An answer as it comes. A client that has left, or does not read, ends the work on it."""
        transport = self._proto.response_stream(stream.status, headers)
        loop = asyncio.get_running_loop()
        whole = False
        free, taken = _FREE, 0
        try:
            while (data := await stream.next()) is not None:
                if stream.broken:
                    await self._last(transport, data, taken > 0 or free < _FREE)
                    break
                for start in range(0, len(data), _PIECE):
                    piece = data[start : start + _PIECE]
                    free -= len(piece)
                    if free < 0:
                        self._find()
                    if not await self._give(transport, piece):
                        return LEFT
                    taken += len(piece)
                    if taken >= _PIECE:
                        stream.taken(taken, loop.time())
                        taken = 0
            else:
                if stream.broken:
                    await self._last(transport, b"", True)
            whole = not stream.broken
            return stream.status if whole else LEFT
        finally:
            if not whole:
                stream.leave()
                if self._shared is None or not _tells_its_end(stream.meta):
                    self._cut()
            self.close()

    async def _last(self, transport: Transport, data: bytes, more: bool) -> None:
        """Send the last bytes of an answer that is broken off, and see that they and all before them (`more`) are on their way
        before the connection is cut."""
        connection = self._find()
        if connection is None:
            await _send(transport, data)
            return
        if more:
            await connection.settled(0, self._patience())
        if data and await _send(transport, data):
            connection.sent += len(data)
            await connection.settled(len(data), self._patience())

    async def _give(self, transport: Transport, data: bytes) -> bool:
        """Send the next bytes. False for a client that has left, or does not read; its connection ends."""
        connection = self._connection
        if connection is not None:
            if not await connection.taken(_FREE, self._patience):
                if self._shared is None:
                    connection.cut()
                return False
            connection.sent += len(data)
        return await _send(transport, data)

    def _find(self) -> Connection | None:
        # None where it has no address (a Unix socket): then what it does not read is in memory.
        if not self._searched:
            self._searched = True
            known = self._shared.get(self._client) if self._shared is not None else None
            if known is not None:
                known.writers += 1
                self._connection = known
            else:
                self._connection = find(self._client)
                if self._shared is not None and self._connection is not None:
                    self._shared[self._client] = self._connection
        return self._connection

    def _cut(self) -> None:
        connection = self._find()
        if connection is not None:
            connection.cut()

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.writers -= 1
        if connection.writers:
            return
        if self._shared is not None:
            del self._shared[self._client]
        connection.close()


async def _send(transport: Transport, data: bytes) -> bool:
    try:
        await transport.send_bytes(data)
        return True
    except asyncio.CancelledError:
        raise
    except Exception:
        return False  # Granian's word for a client that has left.


def is_large(outcome: Whole) -> bool:
    """Whether an answer has to be written by a Writer."""
    return len(outcome[2]) > LARGE
