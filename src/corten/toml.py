"""TOML that others wrote: `tomllib`, without what keeps it busy for hours.

`tomllib` takes the square of the number of a dotted key's parts: one key of a mebibyte takes an hour. So a document with a key of
more parts than anybody writes is refused before it is read. Imported where a document is read, not at the start.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from corten.lazy import regex

_MOST_DOTS = 32
_LONG_NUMBER = regex(r"(?<![0-9A-Za-z_])0[xob][0-9A-Fa-f_]{1000}")
"""Python reads it and cannot write it: `str` raises ValueError from 4,300 decimal digits on."""
_OPAQUE = regex(
    r'"""(?:.*?)""""{0,2}' + r"|'''(?:.*?)''''{0,2}"
    r"""|(?!\"{3}|'{3})(?:"[^"\n]*"|'[^'\n]*')|#[^\n]*|["'].*""",
    re.DOTALL,
)
"""Strings and comments. A string that does not end takes the rest: `tomllib` gets no further."""
_BETWEEN_KEYS = regex(r"[^A-Za-z0-9_. \t-]+")


class _Refused(tomllib.TOMLDecodeError):
    def __init__(self, reason: str, line: int) -> None:
        ValueError.__init__(self, f"{reason} (at line {line})")


def parse(text: str) -> dict[str, Any]:
    """As `tomllib.loads`, in a time that is bounded by the length, and with numbers that `str` takes. Raises
    tomllib.TOMLDecodeError, and RecursionError for a document that is nested too deeply."""
    # A key is in one line, and hardly any line has as many dots: strings are looked for in few documents.
    if any(line.count(".") >= _MOST_DOTS for line in text.split("\n")) or _LONG_NUMBER.search(text):
        _check(text)
    return tomllib.loads(text)


def _check(text: str) -> None:
    """Raises _Refused where a line has that many dots outside strings and comments with nothing but parts of keys between them, or a
    number of very many digits."""
    text = text.replace("\\\\", "__").replace('\\"', "__")
    plain = _OPAQUE.sub(lambda found: "s" + "\n" * found[0].count("\n"), text)
    for number, line in enumerate(plain.split("\n"), 1):
        if line.count(".") >= _MOST_DOTS and any(
            part.count(".") >= _MOST_DOTS for part in _BETWEEN_KEYS.split(line)
        ):
            raise _Refused(f"Key of more than {_MOST_DOTS} parts", number)
        if _LONG_NUMBER.search(line):
            raise _Refused("Number of more than 1000 digits", number)
