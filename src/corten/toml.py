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
_OPAQUE = regex(
    r'"""(?:.*?)""""{0,2}' + r"|'''(?:.*?)''''{0,2}"
    r"""|(?!\"{3}|'{3})(?:"[^"\n]*"|'[^'\n]*')|#[^\n]*|["'].*""",
    re.DOTALL,
)
"""Strings and comments. A string that does not end takes the rest: `tomllib` gets no further."""
_BETWEEN_KEYS = regex(r"[^A-Za-z0-9_. \t-]+")


class _KeyTooLong(tomllib.TOMLDecodeError):
    def __init__(self, line: int) -> None:
        ValueError.__init__(self, f"Key of more than {_MOST_DOTS} parts (at line {line})")


def parse(text: str) -> dict[str, Any]:
    """As `tomllib.loads`, in a time that is bounded by the length. Raises tomllib.TOMLDecodeError, and RecursionError for a
    document that is nested too deeply."""
    # A key is in one line, and hardly any line has as many dots: strings are looked for in few documents.
    if any(line.count(".") >= _MOST_DOTS for line in text.split("\n")):
        _refuse_long_keys(text)
    return tomllib.loads(text)


def _refuse_long_keys(text: str) -> None:
    """Raises _KeyTooLong where a line has that many dots outside strings and comments with nothing but parts of keys between them."""
    text = text.replace("\\\\", "__").replace('\\"', "__")
    plain = _OPAQUE.sub(lambda found: "s" + "\n" * found[0].count("\n"), text)
    for number, line in enumerate(plain.split("\n"), 1):
        if line.count(".") >= _MOST_DOTS and any(
            part.count(".") >= _MOST_DOTS for part in _BETWEEN_KEYS.split(line)
        ):
            raise _KeyTooLong(number)
