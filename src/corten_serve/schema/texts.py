"""Values that JSON has no type for and that are written as strings, and the kinds of all plain types."""

from __future__ import annotations

import datetime
import decimal
import io
import pathlib
import re
import typing
import uuid
from typing import Any

from corten_serve.schema.kinds import Anything, Boolean, Integer, Kind, Null, Number, String, Text
from corten_serve.schema.media import FilePath, Octets, Stream


def whole(text: str) -> int:
    """An integer as an object's key spells it. Raises ValueError."""
    if not re.fullmatch("-?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def _datetime(text: str) -> datetime.datetime:
    # Python before 3.11 does not know the `Z` of RFC 3339.
    return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "zZ" and text else text)


def _time(text: str) -> datetime.time:
    return datetime.time.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "zZ" and text else text)


def _decimal(text: str) -> decimal.Decimal:
    if len(text) > 1000 or not (number := decimal.Decimal(text)).is_finite():
        raise ValueError(text)
    return number


def _uuid(text: str) -> uuid.UUID:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        raise ValueError(text)
    return uuid.UUID(text)


PLAIN: dict[Any, Kind] = {
    Any: Anything(),
    object: Anything(),
    type(None): Null(),
    None: Null(),
    bool: Boolean(),
    int: Integer(),
    float: Number(),
    str: String(),
    bytes: Octets(bytes),
    bytearray: Octets(bytearray),
    typing.BinaryIO: Stream(),
    typing.IO[bytes]: Stream(),
    io.BytesIO: Stream(),
    pathlib.Path: FilePath(),
    datetime.datetime: Text(
        "a date and time such as '2026-01-31T12:00:00Z'", {"format": "date-time"}, _datetime
    ),
    datetime.date: Text("a date such as '2026-01-31'", {"format": "date"}, datetime.date.fromisoformat),
    datetime.time: Text("a time such as '12:30:00'", {"format": "time"}, _time),
    uuid.UUID: Text("a UUID", {"format": "uuid"}, _uuid),
    decimal.Decimal: Text("a decimal number in a string", {"format": "decimal"}, _decimal),
}
