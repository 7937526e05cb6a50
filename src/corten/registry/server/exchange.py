"""A request and its answer, as values between the connection and the endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import BinaryIO

from corten.registry.server.routes import Route
from corten.registry.server.wire import Body
from corten.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """What an endpoint is asked. `method` is never HEAD: the connection leaves the body of such an answer out."""

    method: str
    route: Route
    headers: Mapping[str, str]
    body: Body


@dataclass(frozen=True, slots=True)
class Part:
    """`size` bytes of an open file from `start`; whoever sends it closes the file."""

    file: BinaryIO
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers but for Content-Length, and the body."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Part = b""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.size


def document(value: object, headers: dict[str, str] | None = None, kind: str = "application/json") -> Answer:
    """200 with a JSON document."""
    return Answer(200, {"Content-Type": kind, **(headers or {})}, json.dumps(value).encode())
