"""What a line of the log looks like: text for a person, or a JSON object for a machine (`CORTEN_LOG_FORMAT`)."""

from __future__ import annotations

import json
import time
from functools import lru_cache
from typing import Any, NamedTuple

Request = tuple[float, str, str, int, float, str, str, bool, str]
"""Time of day, method, path, status, seconds, the client's address and port, the request's id, whether the client gave it,
and the model (empty for what the server answers itself)."""
_LEVELS = ("error", "warning")
_encoded = json.JSONEncoder(separators=(",", ":")).encode


class Said(NamedTuple):
    """A line about the server itself."""

    at: float
    message: str
    hint: str | None
    about: dict[str, Any]


def as_text(line: Request | Said) -> str:
    """A line of text, two with a hint."""
    if isinstance(line, Said):
        return f"{line.message}\n" + (f"hint: {line.hint}\n" if line.hint else "")
    _, method, path, status, seconds, client, identity, given, _ = line
    if not path.isprintable():
        path = ascii(path)
    tail = f" {identity}\n" if given else "\n"
    return f"{method} {path} {status} {seconds * 1000:.1f}ms {client.rpartition(':')[0]}{tail}"


def as_json(line: Request | Said) -> str:
    """One object on one line."""
    return (said(line) if isinstance(line, Said) else _requested(line)) + "\n"


def said(line: Said) -> str:
    """The object of a line about the server; what it begins with is its level."""
    level, colon, rest = line.message.partition(": ")
    if not colon or level not in _LEVELS:
        level, rest = "info", line.message
    fields = {"time": rfc3339(line.at), "level": level, "message": rest.rstrip("\n")}
    if line.hint:
        fields["hint"] = line.hint
    return _encoded({**fields, **line.about})


def _requested(line: Request) -> str:
    at, method, path, status, seconds, client, identity, _, model = line
    level = "info" if status < 400 else "warning" if status < 500 else "error"
    fields: dict[str, Any] = {
        "time": rfc3339(at),
        "level": level,
        "message": f"{method} {path} {status}",
        "request_id": identity,
        "method": method,
        "path": path,
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
        "client": client.rpartition(":")[0],
    }
    if model:
        fields["model"] = model
    return _encoded(fields)


def rfc3339(at: float) -> str:
    """A time of day as RFC 3339 writes it, in UTC, with milliseconds."""
    whole = int(at)
    return f"{_second(whole)}.{int((at - whole) * 1000):03d}Z"


@lru_cache(maxsize=4)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
