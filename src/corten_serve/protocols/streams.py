"""How the items of a streamed answer are written: lines of JSON, server-sent events (html.spec.whatwg.org, 9.2), text."""

from __future__ import annotations

from typing import Any

from corten_serve.protocols.codec import encode, error_body
from corten_serve.protocols.interface import ResultError

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
TEXT = "text/plain"
_HEADERS: tuple[tuple[str, str], ...] = (("cache-control", "no-store"), ("x-accel-buffering", "no"))
"""The second is what nginx, and others that learnt it from there, need to hear before they pass parts on as they come."""


class Lines:
    """One line of JSON for each item. An error is a last line with the one field `error`. The end has no mark of its own:
    the answer ends as HTTP says, and a broken one does not."""

    type = NDJSON
    headers = _HEADERS

    def part(self, item: Any) -> bytes:
        """The item's line. Raises ResultError."""
        return encode(item) + b"\n"

    def error(self, message: str) -> bytes:
        """A line that says what went wrong."""
        return error_body(message) + b"\n"

    def end(self) -> bytes:
        """Nothing."""
        return b""


class Events:
    """One event for each item, its data JSON. `event: error` and `event: end` say how it ends, for a browser's EventSource
    would ask again otherwise."""

    type = EVENTS
    headers = _HEADERS

    def part(self, item: Any) -> bytes:
        """The item's event. JSON as it is written here has no line break. Raises ResultError."""
        return b"data: " + encode(item) + b"\n\n"

    def error(self, message: str) -> bytes:
        """The event `error`."""
        return b"event: error\ndata: " + error_body(message) + b"\n\n"

    def end(self) -> bytes:
        """The event `end`."""
        return b"event: end\ndata: null\n\n"


class PlainText:
    """The items as they are, one after the other, where they are strings."""

    type = f"{TEXT}; charset=utf-8"
    headers = _HEADERS

    def part(self, item: Any) -> bytes:
        """The string. Raises ResultError for an item that is none."""
        if not isinstance(item, str):
            raise ResultError(f"an item of a streamed text is of the type '{type(item).__qualname__}'")
        return item.encode(errors="replace")

    def error(self, message: str) -> bytes:
        """The message on a line of its own."""
        return f"\nerror: {message}\n".encode(errors="replace")

    def end(self) -> bytes:
        """Nothing."""
        return b""
