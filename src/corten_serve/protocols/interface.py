"""What every protocol reads and writes. A protocol turns the bytes of one request into a predictor's arguments, and
results into the bytes of one answer; it reads no socket and calls no predictor.

The worker does `work = protocol.read(call)`, predicts each of `work.items`, and `protocol.write(work, results)`. Where
`work.stream` is set and a result yields items, it writes each with `work.stream.part` instead; where it is not set, it
collects them into a list first. BadRequest and ResultError are all that comes out of `read` and `write`; both become an
answer by `write_error`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from corten_serve.schema.signature import Signature

if TYPE_CHECKING:
    from typing import TypeAlias

Problem: TypeAlias = "tuple[str, str]"
"""A field (empty for the whole request) and what is wrong with it."""
JSON = "application/json"
MOST_ITEMS = 1_000_000
"""How many items one request may have. In some formats an item takes a byte, and in memory several hundred."""


class BadRequest(Exception):
    """The request cannot be used. `problems` holds (field, message) pairs; the field of the whole body is empty.
    `status` is the one of HTTP that says so: 422 for what does not fit the types, else 400, 404, 406, 413 or 415."""

    def __init__(self, problems: list[Problem], status: int = 422) -> None:
        super().__init__(problems)
        self.problems = problems
        self.status = status


def check_count(count: int, field: str = "") -> None:
    """Raise BadRequest for a request with more than `MOST_ITEMS` items."""
    if count > MOST_ITEMS:
        raise BadRequest([(field, f"a request has at most {MOST_ITEMS} items")], 413)


class ResultError(Exception):
    """The predictor returned something that the protocol cannot express."""


class Call(NamedTuple):
    """One request: `route` names what it is for, `headers` are the values of those that the route asked for, in its
    order, empty where absent. `body` is not to be changed."""

    route: str
    request_id: str
    headers: tuple[str, ...]
    body: bytes


class Answer(NamedTuple):
    """One whole answer. `headers` are those beside the content type."""

    status: int
    body: bytes
    type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def meta(self) -> bytes:
        """Content type and headers as frames carry them: nothing for plain JSON, else fields with NUL between them."""
        if self.type == JSON and not self.headers:
            return b""
        return meta(self.type, self.headers)


class Stream(Protocol):
    """How the items of one streamed answer are written, after a head of status 200 with `type` and `headers`."""

    type: str
    headers: tuple[tuple[str, str], ...]

    def part(self, item: Any) -> bytes:
        """The bytes of one item. Raises ResultError."""
        ...

    def error(self, message: str) -> bytes:
        """What tells a client inside the stream that it ends here, and why."""
        ...

    def end(self) -> bytes:
        """What tells a client that the stream is complete; may be empty."""
        ...


class Work(NamedTuple):
    """What is to be predicted: `items` are (positional, keyword) arguments for the endpoint named `endpoint`, in order.
    `note` is the protocol's own, for `write`. `stream` says that results may be written as they come."""

    endpoint: str
    items: list[tuple[list[Any], dict[str, Any]]]
    call: Call
    note: Any = None
    stream: Stream | None = None


class Route(NamedTuple):
    """What the server has to know of one operation: the request line, the name under which the worker wants it, the
    names of the headers it wants with it (lower case), and whether its calls may be gathered into batches."""

    method: str
    path: str
    route: str
    headers: tuple[str, ...] = ()
    batch: bool = False


class Document(NamedTuple):
    """An answer to GET that never changes. With `ready`, it stands for 200 only while the model is ready."""

    path: str
    body: bytes
    type: str = JSON
    ready: bool = False


class Described(NamedTuple):
    """A protocol's part of the OpenAPI document: path → method → operation, and shared schemas by name."""

    paths: dict[str, Any]
    schemas: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """One callable of a predictor. `path` starts with a slash and is what stands after the model's prefix."""

    name: str
    signature: Signature
    description: str = ""
    batch: bool = False
    path: str = ""

    @property
    def place(self) -> str:
        """The path, which is the name where nothing else was said."""
        return self.path or f"/{self.name}"


@dataclasses.dataclass(frozen=True)
class Model:
    """What a worker serves: the endpoint `predict` first, then further ones. `prefix` is empty, or `/NAME` where a
    server has several models, whose names are then all in `names`. `first` is the model that unnamed routes belong to. `cog` is set
    (`protocols.cog.Facts`) for a predictor that was written for Cog. `protocol` makes a protocol of the predictor's own, which with
    `alone` is the only one."""

    name: str
    version: str
    endpoints: tuple[Endpoint, ...]
    description: str = ""
    prefix: str = ""
    names: tuple[str, ...] = ()
    first: bool = True
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cog: Any = None
    protocol: Any = None
    alone: bool = False


class WireProtocol(Protocol):
    """One protocol of one model."""

    def routes(self) -> list[Route]:
        """What the server has to send here. Names of routes are the protocol's own and start with its name."""
        ...

    def read(self, call: Call) -> Work:
        """The work that `call` asks for. Raises BadRequest, and nothing else, whatever the bytes are."""
        ...

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The answer for the results of `work.items`, in their order. Raises ResultError."""
        ...

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """The answer to a call that failed, in the protocol's own form."""
        ...

    def openapi(self) -> Described:
        """What the OpenAPI document says of it."""
        ...


def meta(content_type: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """A content type and further headers as frames carry them. What no header may hold becomes a question mark."""
    fields = [content_type]
    for name, value in headers:
        fields += [name, "".join(sign if " " <= sign <= "~" or sign == "\t" else "?" for sign in value)]
    return "\0".join(fields).encode("latin-1", "replace")
