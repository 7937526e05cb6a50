"""Reading requests' bodies: bounded in bytes and in time, unpacked, and kept in files where they are large."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from corten_serve.server.requests import Refused
from corten_serve.settings import Settings

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol

_SMALL = 64 << 10
"""Bodies up to this many bytes are read in one go; larger ones piece by piece, counting."""
_IN_MEMORY = 1 << 20
"""Bodies above this many bytes are kept in files, and written in pieces of it."""
_STEP = 256 << 10
"""Bytes that are unpacked at once on the event loop; what is longer is unpacked beside it."""
_MEMBERS = 10_000
"""Members that a gzip stream may have: empty ones are 20 bytes each, and cost more than they bring."""
_PACKINGS = ("gzip", "x-gzip", "deflate")
_SILENT = 3.0
"""Seconds, or a quarter of what a body may take, for which the end of the server waits for a client that sends nothing more of its body. Whoever ends a server kills
it after ten or so, and everybody with it who is still waiting for an answer."""


class Body:
    """A request's body. `announced` is its length by the header, None where it comes in chunks; `size` what was read, and
    `kept` what of it still counts as waiting, which is what was unpacked. After `Bodies.read`, `data` or the file at
    `path` has it. `trailers` says that header fields may follow it (RFC 9110, section 6.6.2), and `broken` that it came in
    chunks and broke off."""

    def __init__(self, proto: HTTPProtocol, length: str | None, trailers: bool = False) -> None:
        # The HTTP library has refused what is not a number; absurdly long numbers are only too large.
        self.announced = None if length is None else int(length[:18]) if length.isdigit() else 0
        self.size = 0
        self.kept = 0
        self.data = b""
        self.path: str | None = None
        self.proto = proto
        self.trailers = trailers
        self.broken = False
        self._begun = False

    async def at_once(self) -> None:
        """Read it in one go. Raises CancelledError for a client that goes away."""
        self._begun = True
        try:
            self.data = await self.proto()
        except Exception as error:  # Granian's word for that.
            raise asyncio.CancelledError from error
        self.size = self.kept = len(self.data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not self._begun:
            self._begun = True
            self.proto.__aiter__()
        while True:
            try:
                chunk: bytes = await self.proto.__anext__()  # type: ignore[attr-defined]
            except Exception:
                return
            if not chunk:
                await self._ended()
                return
            self.size += len(chunk)
            yield chunk

    async def _ended(self) -> None:
        """Granian gives nothing both at the end and where a body breaks off, and only after the end nothing is next."""
        if self.announced is None and not self.trailers:
            try:
                await self.proto.__anext__()  # type: ignore[attr-defined]
            except StopAsyncIteration:
                return
            self.broken = True

    async def discard(self, seconds: float) -> None:
        """Read on for so long, and no longer, without keeping anything."""
        if self._begun and self.announced is not None and self.size >= self.announced:
            return
        task = asyncio.current_task()
        assert task is not None
        late = False

        def stop() -> None:
            nonlocal late
            late = task.cancel()

        # Not a task of its own: a full server does this for everybody whom it sends away.
        timer = asyncio.get_running_loop().call_later(seconds, stop)
        try:
            await self._to_nowhere()
        except asyncio.CancelledError:
            if not late:
                raise
        finally:
            timer.cancel()
            self.data = b""

    async def _to_nowhere(self) -> None:
        if not self._begun and self.announced is not None and self.announced <= _SMALL:
            with suppress(asyncio.CancelledError):
                await self.at_once()
            return
        async for _ in self:
            pass


class Bodies:
    """Reads all bodies of a server. `waiting` is how many bytes of them there are, and `spare` what else is counted with
    them. `after` gives the Retry-After of a server that has too many."""

    def __init__(self, settings: Settings, after: Callable[[], int]) -> None:
        self.waiting = 0
        self._limit = settings.body
        self._all = max(settings.body, settings.queue_bytes)
        self._seconds = settings.body_seconds
        self._after = after
        self._spool = _Spool(settings.spool)
        self._reading: dict[asyncio.Task[Any], _Reading] = {}
        self._hurried = 0.0
        self._silent = min(_SILENT, settings.body_seconds / 4)

    async def read(self, body: Body, encoding: str | None) -> None:
        """Fill `body`, a large one into a file. Raises Refused instead of keeping more than one body, or all
        of them, may have; and CancelledError for a client that goes away. What it has counts until `release`."""
        announced = body.announced
        if announced is not None and announced > self._limit:
            raise self._too_large()
        if encoding is not None and encoding.lower() in ("identity", ""):
            encoding = None
        if encoding is not None and encoding.lower() not in _PACKINGS:
            raise Refused(
                415, f"bodies in '{encoding[:40]}' are not understood; send them plain, in gzip or in deflate"
            )
        task = asyncio.current_task()
        assert task is not None
        reading = self._reading[task] = _Reading(body)
        try:
            if announced is not None and announced <= _SMALL and encoding is None:
                await body.at_once()
                self.waiting += body.kept
            else:
                await self._pieces(body, encoding and encoding.lower())
        except asyncio.CancelledError:
            if reading.late:
                raise Refused(408, reading.late) from None
            raise
        finally:
            del self._reading[task]

    def release(self, body: Body) -> None:
        """It is not needed any more."""
        self.waiting -= body.kept
        body.kept = 0
        if body.path is not None:
            with suppress(OSError):
                os.unlink(body.path)

    @property
    def patience(self) -> float:
        """For how many seconds a client may not read its answer."""
        return self._silent if self._hurried else self._seconds

    def hurry(self) -> None:
        """The server ends: clients that neither send nor read are waited for no longer. `sweep` should be called every second."""
        self._hurried = time.monotonic()

    def sweep(self) -> None:
        """Drop clients that have been sending their body for too long. To be called every few seconds."""
        now = time.monotonic()
        for task, reading in self._reading.items():
            reading.look(now)
            if reading.late:
                continue
            if reading.begun < now - self._seconds:
                reading.late = f"the body took longer than {self._seconds:g} s"
            elif self._hurried and max(reading.moved, self._hurried) < now - self._silent:
                reading.late = f"the server ends, and nothing of the body came for {self._silent:g} s"
            if reading.late:
                task.cancel()

    def close(self) -> None:
        """Remove the folder of large bodies."""
        self._spool.remove()

    async def _pieces(self, body: Body, packing: str | None) -> None:
        sink = _Sink(body, self._spool)
        gzip = None if packing is None else _Deflate() if packing == "deflate" else _Gzip()
        try:
            async for chunk in body:
                if gzip is None:
                    self._count(body, len(chunk))
                    await sink.add(chunk)
                    continue
                gzip.feed(chunk)
                data = gzip.step()
                self._count(body, len(data))
                await sink.add(data)
                while gzip.pending or len(data) == _STEP:
                    data = await asyncio.to_thread(gzip.step)
                    self._count(body, len(data))
                    await sink.add(data)
            if body.announced is not None and body.size < body.announced:
                raise asyncio.CancelledError  # The connection broke in the middle of the body.
            if body.broken:
                raise Refused(400, "the body broke off, or its chunks are no chunks")
            if gzip is not None and not gzip.complete:
                raise Refused(400, f"the body is no whole {gzip.name} stream")
            await sink.finish()
        except zlib.error:
            raise Refused(400, f"the body is no valid {packing} stream") from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise Refused(503, f"the body cannot be kept: {reason}", self._after()) from error
        finally:
            sink.close()

    def _count(self, body: Body, size: int) -> None:
        body.kept += size
        self.waiting += size
        if body.kept > self._limit:
            raise self._too_large()
        if self.waiting > self._all:
            raise Refused(503, "too many bytes are waiting", self._after())

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {_size(self._limit)}")


class _Reading:
    """A body that is being read: since when, when something of it came last (as far as that is known), and why it was dropped."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._size = 0
        self.begun = self.moved = time.monotonic()
        self.late = ""

    def look(self, now: float) -> None:
        """See whether more has come."""
        if self._body.size != self._size:
            self._size, self.moved = self._body.size, now


class _Gzip:
    """Unpacks a gzip stream (RFC 1952) of one or more members, never more than a step at once."""

    name = "gzip"

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._input = b""
        self._members = 0

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        self._input += data

    @property
    def pending(self) -> bool:
        """Whether there is input left to unpack."""
        return bool(self._input)

    @property
    def complete(self) -> bool:
        """Whether the stream may end here."""
        return self._members > 0 and self._inflate.eof and not self._input

    def step(self) -> bytes:
        """At most `_STEP` bytes of what can be unpacked now. Raises zlib.error."""
        if self._inflate.eof:
            if not self._input:
                return b""
            self._inflate = zlib.decompressobj(wbits=31)
            self._members += 1
            if self._members > _MEMBERS:
                raise zlib.error("too many members")
        self._members = self._members or 1
        data = self._inflate.decompress(self._input, _STEP)
        self._input = self._inflate.unconsumed_tail or self._inflate.unused_data
        return data


class _Deflate(_Gzip):
    """Unpacks "deflate": a zlib stream (RFC 1950), or the bare one (RFC 1951) that some clients send under that name."""

    name = "deflate"

    def __init__(self) -> None:
        super().__init__()
        self._inflate = zlib.decompressobj()
        self._known = False

    @property
    def pending(self) -> bool:
        """Whether there is input left to unpack: two bytes say which of the two forms it is."""
        return bool(self._input) and (self._known or len(self._input) > 1)

    @property
    def complete(self) -> bool:
        """Whether the stream may end here."""
        return self._inflate.eof and not self._input

    def step(self) -> bytes:
        """At most `_STEP` bytes of what can be unpacked now. Raises zlib.error."""
        if not self._known:
            if len(self._input) < 2:
                return b""
            first, second = self._input[:2]
            if first & 15 != 8 or (first << 8 | second) % 31:
                self._inflate = zlib.decompressobj(wbits=-15)
            self._known = True
        if self._inflate.eof and self._input:
            raise zlib.error("bytes after the end")
        data = self._inflate.decompress(self._input, _STEP)
        self._input = self._inflate.unconsumed_tail or self._inflate.unused_data
        return data


class _Sink:
    """Takes a body's pieces, into memory, or into a file as soon as there is much. Files are written beside the loop."""

    def __init__(self, body: Body, spool: _Spool) -> None:
        self._body = body
        self._spool = spool
        self._pieces: list[bytes] = []
        self._held = 0
        self._file: _File | None = None

    async def add(self, data: bytes) -> None:
        """The next bytes. Raises OSError when they cannot be kept."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held > _IN_MEMORY:
            await self._write()

    async def finish(self) -> None:
        """There are no more."""
        if self._file is not None:
            await self._write()
        else:
            self._body.data = b"".join(self._pieces)

    async def _write(self) -> None:
        pieces, self._pieces, self._held = self._pieces, [], 0
        if self._file is None:
            descriptor, self._body.path = self._spool.new()
            self._file = _File(descriptor)
        await asyncio.get_running_loop().run_in_executor(None, self._file.write, pieces)

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._file is not None:
            self._file.close()
            self._file = None


class _File:
    """A descriptor that one thread writes to and another may close meanwhile. While something is written it stays open: its
    number could be another file's the next moment."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._writing = self._closed = False

    def write(self, pieces: list[bytes]) -> None:
        """Write all of it, or what can be written before somebody closes it. Raises OSError."""
        with self._lock:
            if self._closed:
                return
            self._writing = True
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest and not self._closed:
                    rest = rest[os.write(self._descriptor, rest) :]
        finally:
            with self._lock:
                self._writing = False
                if self._closed:
                    os.close(self._descriptor)

    def close(self) -> None:
        """Close it, now or as soon as nothing is being written."""
        with self._lock:
            if not self._closed:
                self._closed = True
                if not self._writing:
                    os.close(self._descriptor)


class _Spool:
    """A private folder, made when it is first needed: where the settings say, or where files are not memory."""

    def __init__(self, chosen: str) -> None:
        self._places = [chosen] if chosen else [os.environ.get("TMPDIR", ""), "/var/tmp", "/tmp"]
        self._folder: str | None = None

    def new(self) -> tuple[int, str]:
        """A new file, open for writing. Raises OSError."""
        if self._folder is None:
            self._folder = self._make()
        return tempfile.mkstemp(dir=self._folder)

    def _make(self) -> str:
        for place in filter(None, self._places[:-1]):
            with suppress(OSError):
                return tempfile.mkdtemp(prefix="corten-", dir=place)
        return tempfile.mkdtemp(prefix="corten-", dir=self._places[-1])

    def remove(self) -> None:
        """Remove the folder with all that is left in it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _size(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"
