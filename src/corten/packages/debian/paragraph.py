"""Paragraphs of `Field: value` lines (Debian Policy 5.1), as in Packages, Release, control and .sources files."""

from __future__ import annotations

import re

from corten.errors import FormatError
from corten.lazy import regex

_FIELD = regex(r"([!-9;-~]+):[ \t]*(.*)")


def parse(text: str, what: str) -> dict[str, str]:
    """The fields of one paragraph by lower-case name; continuation lines are joined with newlines, without their first
    character. Lines that begin with `#` are comments. Raises FormatError naming `what`."""
    fields: dict[str, str] = {}
    current = ""
    for raw in text.split("\n"):
        line = raw.rstrip("\r")
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t":
            if not current:
                raise FormatError(f"{what} begins with a continuation line")
            fields[current] += "\n" + line[1:]
            continue
        match = _FIELD.fullmatch(line)
        if match is None:
            raise FormatError(f"{what} has a line that is no field: '{line[:60]}'")
        current = match.group(1).lower()
        fields[current] = match.group(2).rstrip()
    return fields


def split(text: str) -> list[str]:
    """The paragraphs of a file: what stands between blank lines."""
    return [
        part for part in re.split(r"\n(?:[ \t]*\n)+", text.replace("\r\n", "\n").strip("\n")) if part.strip()
    ]
