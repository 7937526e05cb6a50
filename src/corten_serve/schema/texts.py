"""Values that JSON has no type for and that are written as strings (some as numbers too), and the kinds of all plain types."""

from __future__ import annotations

import datetime
import decimal
import io
import pathlib
import re
import typing
import uuid
from typing import Any

from corten_serve.schema.kinds import Anything, Boolean, Integer, Kind, Null, Number, Quantity, String, Text
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


_DURATION = re.compile(
    r"([+-])?P(?=.)(?:(\d{1,9})W)?(?:(\d{1,9})D)?"
    r"(?:T(?=.)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,12}(?:[.,]\d{1,9})?)S)?)?",
    re.IGNORECASE | re.ASCII,
)
"""ISO 8601 without years and months, which are no fixed time."""
_CLOCK = re.compile(
    r"([+-])?(?:(\d{1,9}) days?,? )?(\d{1,9}):([0-5]?\d)(?::([0-5]?\d(?:\.\d{1,9})?))?", re.ASCII
)
"""As Python writes a timedelta."""


def _duration(text: str) -> datetime.timedelta:
    found = _DURATION.fullmatch(text)
    if found is not None:
        sign, weeks, days, hours, minutes, seconds = found.groups()
    else:
        found = _CLOCK.fullmatch(text)
        if found is None:
            raise ValueError(text)
        (sign, days, hours, minutes, seconds), weeks = found.groups(), None
    whole, _, part = (seconds or "0").replace(",", ".").partition(".")
    result = datetime.timedelta(
        weeks=int(weeks or 0),
        days=int(days or 0),
        hours=int(hours or 0),
        minutes=int(minutes or 0),
        seconds=int(whole),
        microseconds=round(int(part.ljust(9, "0")) / 1000) if part else 0,
    )
    return -result if sign == "-" else result


def _seconds(number: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=number)


def duration_text(value: datetime.timedelta) -> str:
    """A duration as ISO 8601 writes it: `P1DT2H`, `-PT0.5S`."""
    sign, value = ("-", -value) if value < datetime.timedelta(0) else ("", value)
    hours, rest = divmod(value.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    part = f"{value.microseconds:06d}".rstrip("0")
    written = f"{seconds}{'.' + part if part else ''}S" if seconds or part else ""
    time = f"{f'{hours}H' if hours else ''}{f'{minutes}M' if minutes else ''}{written}"
    if not value:
        return "PT0S"
    return f"{sign}P{f'{value.days}D' if value.days else ''}{'T' + time if time else ''}"


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
    decimal.Decimal: Quantity(
        "a decimal number", {"format": "decimal"}, _decimal, lambda number: _decimal(repr(number))
    ),
    datetime.timedelta: Quantity(
        "a duration such as 'PT1H30M', or its seconds", {"format": "duration"}, _duration, _seconds
    ),
}

_ADDRESSES = {
    "IPv4Address": ("an IPv4 address", "ipv4"),
    "IPv6Address": ("an IPv6 address", "ipv6"),
    "IPv4Network": ("an IPv4 network such as '10.0.0.0/8'", "ipv4network"),
    "IPv6Network": ("an IPv6 network such as '2001:db8::/32'", "ipv6network"),
    "IPv4Interface": ("an IPv4 address with its network such as '10.0.0.1/8'", "ipv4interface"),
    "IPv6Interface": ("an IPv6 address with its network such as '2001:db8::1/32'", "ipv6interface"),
}


def address(cls: Any) -> Kind | None:
    """The kind of a class of `ipaddress`; None for any other class."""
    if getattr(cls, "__module__", "") != "ipaddress" or cls.__name__ not in _ADDRESSES:
        return None
    words, format_ = _ADDRESSES[cls.__name__]
    return Text(words, {"format": format_}, cls)
