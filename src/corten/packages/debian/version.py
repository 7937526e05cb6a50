"""Debian version numbers and their order (Debian Policy 5.6.12)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from corten.errors import FormatError
from corten.lazy import regex

_FORM = regex(r"(?:([0-9]{1,9}):)?([A-Za-z0-9.+~-]{1,200}?)(?:-([A-Za-z0-9.+~]{1,200}))?")
_PIECE = regex(r"([^0-9]*)([0-9]*)")

Key = tuple[Any, ...]
"""Comparable with other keys, and equal where versions are."""


@lru_cache(maxsize=4096)
def key(version: str) -> Key:
    """A value whose order is that of versions; equal for versions that dpkg holds equal (`1` and `1-0`).
    Raises FormatError for what is no version."""
    match = _FORM.fullmatch(version)
    if match is None:
        raise FormatError(f"'{version[:100]}' is not a Debian version")
    epoch, upstream, revision = match.groups()
    return (int(epoch or 0), _part(upstream), _part(revision or ""))


def upstream(version: str) -> str:
    """The upstream part: `3.11.2` of `3.11.2-6+deb12u6`, `5.1.6` of `7:5.1.6-0+deb12u1`."""
    match = _FORM.fullmatch(version)
    if match is None:
        raise FormatError(f"'{version[:100]}' is not a Debian version")
    return match.group(2)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is older than, equal to or newer than `right`."""
    a, b = key(left), key(right)
    return (a > b) - (a < b)


def satisfies(version: str, operator: str, bound: str) -> bool:
    """Whether `version` OPERATOR `bound` holds, for `<<`, `<=`, `=`, `>=` and `>>`."""
    order = compare(version, bound)
    return {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}[operator]


def _part(text: str) -> Key:
    """Runs of non-digits and digits in turn. A run of non-digits ends with 0, and `~` is -1: so it sorts before the end
    of the text, letters come after it, and everything else after letters."""
    pieces: list[Any] = []
    position = 0
    while not pieces or position < len(text):
        match = _PIECE.match(text, position)
        assert match is not None  # both runs may be empty
        words, digits = match.groups()
        # No int() of unbounded length: that takes quadratic time and is refused beyond 4300 digits.
        number = digits.lstrip("0")
        pieces += ((*map(_weight, words), 0), (len(number), number))
        position = match.end()
    return (*pieces, (0,))


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
