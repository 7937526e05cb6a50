"""HTTP/1.1 as a server reads it (RFC 9112): strict, bounded in bytes and in time.

The standard library's `http.server` bounds neither the sum of the headers nor how slowly they may come, and lets the body be
anything; both are what a client that means harm would use.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable

from corten.registry.server.refusals import Refusal
from corten.values import dataclass

LARGEST_HEAD = 32 << 10
IDLE = 60.0
"""Seconds between two requests, and without a byte inside a body."""
HEAD_SECONDS = 20.0
"""Seconds for a request's head, from its first byte to its last."""
SLOWEST = 100
"""Bytes a second that a body must bring, over each minute."""
_LARGEST_LINE = 1024
_MOST_FIELDS = 100
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST = re.compile(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_FIRST = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n"
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class Disconnected(Exception):
    """The other side has gone, or sends nothing, or too little: there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. Names of headers are in lower case; a repeated one is joined by commas."""

    method: str
    target: str
    headers: dict[str, str]
    persistent: bool


class Incoming:
    """The bytes of one connection. Reads ahead into a buffer of its own, and past it for large bodies."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray(256 << 10)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._since, self._arrived = 0.0, 0

    def head(self) -> Head | None:
        """The next request's head; None when the other side is done or idle for too long. Raises Disconnected, and Refusal for
        what is not HTTP/1.1 (the connection cannot go on after that)."""
        if self._start == self._end:
            self._connection.settimeout(IDLE)
            if not self._receive_some():
                return None
        deadline = time.monotonic() + HEAD_SECONDS
        while True:
            # A TLS handshake has no line that ends: whoever tries https first must be told at once, not when time is up.
            if self._buffer[self._start] not in _FIRST:
                raise Refusal(400, "UNSUPPORTED", "that is not an HTTP/1.1 request")
            end = self._buffer.find(b"\r\n\r\n", self._start, self._end)
            if end >= 0 and end - self._start <= LARGEST_HEAD:
                data = bytes(self._view[self._start : end])
                self._start = end + 4
                return parse_head(data)
            if self._end - self._start > LARGEST_HEAD:
                raise Refusal(431, "UNSUPPORTED", "the headers are too large")
            left = deadline - time.monotonic()
            if left <= 0:
                raise Disconnected
            self._connection.settimeout(left)
            if not self._receive_some():
                raise Disconnected

    def begin_body(self) -> None:
        """Begin to watch how fast a body comes."""
        self._connection.settimeout(IDLE)
        self._since, self._arrived = time.monotonic(), 0

    def line(self) -> bytes:
        """The next line, without its end. Raises Refusal when it is too long."""
        while True:
            end = self._buffer.find(b"\n", self._start, self._end)
            if end >= 0:
                data = bytes(self._view[self._start : end])
                self._start = end + 1
                return data.removesuffix(b"\r")
            if self._end - self._start > _LARGEST_LINE:
                raise Refusal(400, "UNSUPPORTED", "a line of the body's framing is too long")
            if not self._receive_some():
                raise Disconnected
            self._watch()

    def readinto(self, target: memoryview) -> int:
        """Some bytes, at least one. Raises Disconnected."""
        if self._start == self._end and len(target) >= 64 << 10:
            count = self._receive(target)
        else:
            if self._start == self._end and not self._receive_some():
                raise Disconnected
            count = min(len(target), self._end - self._start)
            target[:count] = self._view[self._start : self._start + count]
            self._start += count
        if not count:
            raise Disconnected
        self._watch()
        return count

    def _receive_some(self) -> int:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._buffer):
            held = bytes(self._view[self._start : self._end])
            self._view[: len(held)] = held
            self._start, self._end = 0, len(held)
        count = self._receive(self._view[self._end :])
        self._end += count
        return count

    def _receive(self, target: memoryview) -> int:
        try:
            count = self._connection.recv_into(target)
        except OSError:
            raise Disconnected from None
        self._arrived += count
        return count

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._since > IDLE:
            if self._arrived < SLOWEST * IDLE:
                raise Disconnected
            self._since, self._arrived = now, 0


def parse_head(data: bytes) -> Head:
    """The head in `data`, lines without the last blank one. Raises Refusal."""
    first, *lines = data.decode("latin-1").lstrip("\r\n").split("\r\n")
    found = _REQUEST.fullmatch(first)
    if not found:
        raise Refusal(400, "UNSUPPORTED", "that is not an HTTP/1.1 request")
    if len(lines) > _MOST_FIELDS:
        raise Refusal(431, "UNSUPPORTED", "there are too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Refusal(400, "UNSUPPORTED", "a header cannot be read")
        key, value = name.lower(), value.strip(" \t")
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    wishes = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    persistent = "close" not in wishes and (found[3] == "1" or "keep-alive" in wishes)
    return Head(found[1], found[2], headers, persistent)


class Body:
    """A request's body, by length or in chunks. `wanted` is called once, before the first byte is read: it is where `100 Continue`
    is sent. Raises Refusal for a framing that is not valid or not sure (RFC 9112, 6.3)."""

    def __init__(self, incoming: Incoming, headers: dict[str, str], wanted: Callable[[], None]) -> None:
        self._incoming, self._wanted = incoming, wanted
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        self.chunked = coding is not None
        self.length: int | None = None
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise Refusal(400, "UNSUPPORTED", "the length of the body is not sure")
        else:
            if length is not None and not re.fullmatch(r"[0-9]{1,18}", length):
                raise Refusal(400, "SIZE_INVALID", "the Content-Length is not a number")
            self.length = int(length or 0)
        self._left = self.length or 0
        self._ended = self.length == 0
        self.begun = False
        self._first_chunk = True
        self._failure: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether all of it was read."""
        return self._ended

    def readinto(self, target: memoryview) -> int:
        """Fill `target`, unless the body ends before; 0 at its end. When it is cut, what came before is returned first, and
        the next call raises Disconnected."""
        filled = 0
        while filled < len(target) and not self._ended:
            try:
                if self._failure:
                    raise self._failure
                filled += self._some(target[filled:])
            except (Disconnected, Refusal) as error:
                self._failure = error
                if filled:
                    return filled
                raise
        return filled

    def read(self, limit: int) -> bytes | None:
        """The whole body; None when it has more than `limit` bytes."""
        if self.length is not None and self.length > limit:
            return None
        pieces: list[bytes] = []
        total = 0
        while True:
            piece = bytearray(min(limit + 1, 64 << 10))
            count = self.readinto(memoryview(piece))
            if not count:
                return b"".join(pieces)
            total += count
            if total > limit:
                return None
            pieces.append(bytes(piece[:count]))

    def discard(self, limit: int) -> bool:
        """Read what is left, if that is not more than `limit` bytes. Returns whether the body is at its end."""
        if not self._ended and not self.chunked and self._left > limit:
            return False
        place = memoryview(bytearray(64 << 10))
        while not self._ended and limit > 0:
            limit -= self.readinto(place)
        return self._ended

    def _some(self, target: memoryview) -> int:
        if not self.begun:
            self.begun = True
            self._wanted()
            self._incoming.begin_body()
        if self.chunked and not self._left:
            self._next_chunk()
            if self._ended:
                return 0
        count = self._incoming.readinto(target[: self._left])
        self._left -= count
        if not self.chunked and not self._left:
            self._ended = True
        return count

    def _next_chunk(self) -> None:
        if not self._first_chunk and self._incoming.line():
            raise Refusal(400, "SIZE_INVALID", "a chunk is longer than it says")
        self._first_chunk = False
        found = _SIZE.fullmatch(self._incoming.line())
        if not found:
            raise Refusal(400, "SIZE_INVALID", "the size of a chunk cannot be read")
        self._left = int(found[1], 16)
        if not self._left:
            for _ in range(_MOST_FIELDS):
                if not self._incoming.line():
                    self._ended = True
                    return
            raise Refusal(400, "UNSUPPORTED", "there are too many trailers")
