"""What a fault proxy can do to an exchange, and when."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_PIECE = 1 << 16


class Cut(Exception):
    """Raised by an action among the pieces of a body: hang up here, on both sides."""


class Action:
    """What is done to one exchange: by default, nothing. Both methods are given the pieces of a body."""

    def request(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """From the client to the registry."""
        return pieces

    def response(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """From the registry to the client."""
        return pieces


@dataclass(frozen=True)
class CutRequest(Action):
    """Hang up when `after` bytes of the request's body have reached the registry."""

    after: int

    def request(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield from _first(pieces, self.after)
        raise Cut


@dataclass(frozen=True)
class CutResponse(Action):
    """Hang up when `after` bytes of the response's body have reached the client."""

    after: int

    def response(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield from _first(pieces, self.after)
        raise Cut


@dataclass(frozen=True)
class Corrupt(Action):
    """Turn over every bit of the byte `at` of the response's body; with `sent`, of the request's."""

    at: int
    sent: bool = False

    def request(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        return self._damaged(pieces) if self.sent else pieces

    def response(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        return pieces if self.sent else self._damaged(pieces)

    def _damaged(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        seen = 0
        for piece in pieces:
            data = bytearray(piece)
            if 0 <= self.at - seen < len(data):
                data[self.at - seen] ^= 0xFF
            seen += len(data)
            yield bytes(data)


@dataclass(frozen=True)
class Delay(Action):
    """Wait before the request is passed on."""

    seconds: float


@dataclass(frozen=True)
class Stall(Action):
    """Wait when `after` bytes of the response's body have reached the client."""

    after: int
    seconds: float

    def response(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        left = self.after
        for piece in pieces:
            if 0 <= left < len(piece):
                yield piece[:left]
                time.sleep(self.seconds)
                yield piece[left:]
            else:
                yield piece
            left -= len(piece)


@dataclass(frozen=True)
class Throttle(Action):
    """Pass bodies at this rate, in bytes per second, in both directions."""

    rate: float

    def request(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        return self._slowly(pieces)

    def response(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        return self._slowly(pieces)

    def _slowly(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        step = max(1, min(_PIECE, int(self.rate / 20)))
        for piece in pieces:
            for start in range(0, len(piece), step):
                part = piece[start : start + step]
                time.sleep(len(part) / self.rate)
                yield part


@dataclass(frozen=True)
class Answer(Action):
    """Answer in place of the registry, which sees nothing. A header of several values comes as often. The request's body is read first, unless `early`: then the
    answer comes at once and the connection is closed, as servers do that do not want the body."""

    status: int
    headers: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    body: bytes = b""
    early: bool = False


@dataclass(frozen=True)
class Redirect(Action):
    """Lead to the same path at `address` (`HOST:PORT`); the registry sees nothing."""

    status: int
    address: str


@dataclass(frozen=True)
class Drop(Action):
    """Hang up in place of an answer; the registry sees nothing."""


@dataclass(frozen=True)
class Lose(Action):
    """Let the registry do what it was asked, and hang up in place of its answer."""


@dataclass(frozen=True)
class Garbage(Action):
    """Answer something that is no HTTP; the registry sees nothing."""

    data: bytes = b"\x16\x03\x01 this is no HTTP\r\n\r\n\x00\xff"


@dataclass
class Exchange:
    """One request as it went. `path` has its query. `sent` and `received` are bytes of the bodies that came from and went to
    the client; `status` is 0 until something was answered. `headers` are the request's, names in lower case."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    action: Action | None = None
    status: int = 0
    sent: int = 0
    received: int = 0


@dataclass
class Rule:
    """Applies `action` to the matching requests number `nth` (from 1) to `nth + times - 1`; without `times`, to all later
    ones. `method` and `path` are regular expressions: of the whole method (`*`: any), and to be found in path and query."""

    method: str
    path: str
    action: Action
    nth: int = 1
    times: int | None = 1
    matched: int = 0

    def applies(self, method: str, path: str) -> bool:
        """Whether it is this request's turn. Counts it."""
        if not matches(self.method, self.path, method, path):
            return False
        self.matched += 1
        return self.nth <= self.matched and (self.times is None or self.matched < self.nth + self.times)


def matches(method_pattern: str, path_pattern: str, method: str, path: str) -> bool:
    known = method_pattern == "*" or re.fullmatch(method_pattern, method) is not None
    return known and re.search(path_pattern, path) is not None


def _first(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """The first `count` bytes; less when there are less."""
    for piece in pieces:
        if count <= 0:
            return
        yield piece[:count]
        count -= len(piece)
        if count <= 0:
            return
