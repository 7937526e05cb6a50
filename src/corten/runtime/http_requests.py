"""Requests of HTTP/1 on their way through the forwarder: each gets headers that say who sent it. Without input and output.

Only the boundaries of requests are looked for (RFC 9112). A connection whose first line is no request of HTTP/1, and one that
becomes another protocol (Upgrade, CONNECT), is passed on as it is."""

from __future__ import annotations

import re
from ipaddress import ip_address

_REQUEST = re.compile(rb"([A-Za-z]{1,32}) [^\r\n]* HTTP/1\.[0-9]\r?\n")
_PERHAPS = re.compile(rb"[A-Za-z]{1,32}(?: [^\r\n]*\r?)?")
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([^\r]*?)[ \t]*(?=\r\n)")
_CODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:[ \t]*([^\r]*?)[ \t]*(?=\r\n)")
_HOST = re.compile(rb"\r\nhost:[ \t]*([!-~]*)", re.IGNORECASE)
_FORWARDED = re.compile(rb"\r\nx-forwarded-for[ \t]*:[ \t]*([^\r]*?)[ \t]*(?=\r\n)", re.IGNORECASE)
_OURS = re.compile(rb"\r\nx-forwarded-(?:for|proto|host)[ \t]*:[^\r]*(?=\r\n)", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\n(?:connection|keep-alive)[ \t]*:[^\r]*(?=\r\n)", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\n(?:upgrade|http2-settings)[ \t]*:[^\r]*(?=\r\n)", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_AGREED = re.compile(rb"HTTP/1\.[01] (?:101|2[0-9][0-9]) ")
_LONGEST, _LONGEST_LINE = 256 << 10, 8 << 10


class Refused(Exception):
    """No request that can be passed on; the argument is the answer, after which the connection ends."""


def _refuse(status: str) -> Refused:
    return Refused(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())


class Requests:
    """The requests of one connection from the address `client`. What a client on this machine says of those before it (a proxy) is
    kept; what others say is replaced."""

    def __init__(self, client: str) -> None:
        self._client = client.encode()
        try:
            self._trusted = ip_address(client.partition("%")[0]).is_loopback
        except ValueError:
            self._trusted = False
        self._rest = b""
        self._state = "first"
        self._left, self._after = 0, "head"

    def feed(self, data: bytes, last: bool = False) -> bytes:
        """What is to be passed on of the bytes so far. `last`: a request that begins now is the last on its connection, and asks the
        program to close it. Raises Refused."""
        data = self._rest + data if self._rest else data
        self._rest = b""
        if self._state == "raw":
            return data
        found: list[bytes] = []
        while data:
            before = self._state, len(data)
            data = self._step(data, found, last)
            if (self._state, len(data)) == before:
                self._rest = data
                break
        return found[0] if len(found) == 1 else b"".join(found)

    def _step(self, data: bytes, found: list[bytes], last: bool) -> bytes:
        """One step of the way; returns what is left, all of it where more is needed."""
        if self._state in ("first", "head"):
            return self._head(data, found, last)
        if self._state == "body":
            part, data = data[: self._left], data[self._left :]
            found.append(part)
            self._left -= len(part)
            if not self._left:
                self._state = self._after
            return data
        if self._state == "raw":
            found.append(data)
            return b""
        if self._state == "asked":
            if len(data) > _LONGEST:
                raise _refuse("400 Bad Request")
            return data
        return self._chunked(data, found)

    @property
    def asks(self) -> bool:
        """Whether the last request asked for another protocol, and nobody has answered yet."""
        return self._state == "asked"

    def answered(self, data: bytes) -> None:
        """The first bytes of the answer to that: whether it is another protocol from here on."""
        self._state = "raw" if _AGREED.match(data) else "head"

    def _head(self, data: bytes, found: list[bytes], last: bool) -> bytes:
        if self._state == "first":
            if _REQUEST.match(data) is None:
                if len(data) < _LONGEST_LINE and _PERHAPS.fullmatch(data):
                    return data
                self._state = "raw"
                return data
            self._state = "head"
        if data.startswith(b"\r\n"):
            return data[2:]  # RFC 9112, 2.2
        end = data.find(b"\r\n\r\n")
        head = data[: end + 4] if end >= 0 else data
        if head.count(b"\n") != head.count(b"\r\n"):
            raise _refuse("400 Bad Request")
        if len(head) > _LONGEST:
            raise _refuse("431 Request Header Fields Too Large")
        if end < 0:
            return data
        match = _REQUEST.match(head)
        if match is None or b"\r\n " in head or b"\r\n\t" in head:
            raise _refuse("400 Bad Request")
        lower = head.lower()
        self._frame(lower, asks=match[1] == b"CONNECT" or b"\r\nupgrade:" in lower)
        found.append(self._marked(head, lower, last and self._state != "asked"))
        return data[end + 4 :]

    def _frame(self, head: bytes, *, asks: bool) -> None:
        """How the body ends."""
        lengths, codings = set(_LENGTH.findall(head)), _CODING.findall(head)
        if len(lengths) > 1 or (lengths and codings):
            raise _refuse("400 Bad Request")
        if codings:
            if codings != [b"chunked"]:
                raise _refuse("501 Not Implemented")
            self._state = "chunk"
        elif lengths:
            (length,) = lengths
            if not length.isdigit() or len(length) > 18:
                raise _refuse("400 Bad Request")
            self._left, self._after = int(length), "head"
            self._state = "body" if self._left else "head"
        else:
            self._state = "asked" if asks else "head"

    def _chunked(self, data: bytes, found: list[bytes]) -> bytes:
        end = data.find(b"\n") + 1
        if not end:
            if len(data) > _LONGEST_LINE:
                raise _refuse("400 Bad Request")
            return data
        line, data = data[:end], data[end:]
        if self._state == "trailers":
            if not line.endswith(b"\r\n"):
                raise _refuse("400 Bad Request")
            self._state = "head" if line == b"\r\n" else "trailers"
        else:
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise _refuse("400 Bad Request")
            size = int(match[1], 16)
            if size:
                self._left, self._after, self._state = size + 2, "chunk", "body"
            else:
                self._state = "trailers"
        found.append(line)
        return data

    def _marked(self, head: bytes, lower: bytes, last: bool) -> bytes:
        line = head.index(b"\r\n")
        clients, proto, host = self._client, b"http", b""
        if (own := _HOST.search(head)) is not None:
            host = own[1]
        first, fields = head[:line], head[line:]
        added = []
        if b"\r\nx-forwarded-" in lower:
            if self._trusted:
                clients = b", ".join([*_FORWARDED.findall(fields), self._client])
                fields = _FORWARDED.sub(b"", fields)
            else:
                fields = _OURS.sub(b"", fields)
        added.append(b"\r\nX-Forwarded-For: " + clients)
        kept = fields.lower() if b"\r\nx-forwarded-" in lower else b""
        if b"\r\nx-forwarded-proto" not in kept:
            added.append(b"\r\nX-Forwarded-Proto: " + proto)
        if host and b"\r\nx-forwarded-host" not in kept:
            added.append(b"\r\nX-Forwarded-Host: " + host)
        if self._state != "asked" and b"\r\nupgrade:" in lower:
            # With a body it would be unclear where the other protocol begins.
            fields = _UPGRADE.sub(b"", fields)
        if last:
            fields = _CONNECTION.sub(b"", fields)
            added.append(b"\r\nConnection: close")
        return b"".join((first, *added, fields))
