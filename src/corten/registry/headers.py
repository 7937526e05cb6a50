"""The headers of the distribution protocol whose syntax takes a parser: WWW-Authenticate, Link, Range, Content-Range."""

from __future__ import annotations

import re

from corten.lazy import regex
from corten.values import dataclass, field

_TOKEN = regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TOKEN68 = regex(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_QUOTED = regex(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SPACE = regex(r"[ \t]*")
_LINK = regex(r"<([^>]*)>")
_LONGEST = 1 << 16
"""Characters of a header that are looked at."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme in lower case and its parameters, names in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(text: str) -> tuple[Challenge, ...]:
    """The challenges of a WWW-Authenticate header (RFC 9110, section 11.6.1), several headers joined by commas. What is
    not understood ends the list: nothing is raised."""
    challenges: list[Challenge] = []
    scanner = _Scanner(text[:_LONGEST])
    while True:
        scanner.skip(", \t")
        word = scanner.take(_TOKEN)
        if word is None:
            return tuple(challenges)
        start = scanner.place
        scanner.take(_SPACE)
        if challenges and scanner.peek() == "=":
            value = _value(scanner)
            if value is None:
                return tuple(challenges)
            challenges[-1].parameters.setdefault(word.lower(), value)
            continue
        challenges.append(Challenge(word.lower()))
        if scanner.place > start:
            scanner.take(_TOKEN68)


def next_link(text: str | None) -> str | None:
    """The address with the relation `next` in a Link header (RFC 8288), as it is written."""
    scanner = _Scanner((text or "")[:_LONGEST])
    while True:
        scanner.skip(", \t")
        target = scanner.take(_LINK)
        if target is None:
            return None
        relations = _relations(scanner)
        if "next" in relations:
            return target


def range_end(text: str | None) -> int | None:
    """How many bytes a registry has of an upload by its `Range: 0-<last>` (distribution-spec, "Pushing a blob in chunks").
    None when it does not say. An upload of nothing is `0-0` with many registries, and so cannot be told from one of a
    single byte: 0 is the safe reading."""
    match = re.fullmatch(r"(?:bytes[= ])?0-(-?[0-9]{1,18})", (text or "").strip())
    if match is None:
        return None
    last = int(match[1])
    return last + 1 if last > 0 else 0


def content_range_start(text: str | None) -> int | None:
    """The first byte's place by `Content-Range: bytes 100-199/200` (RFC 9110, section 14.4)."""
    match = re.match(r"bytes ([0-9]{1,18})-", (text or "").strip())
    return int(match[1]) if match else None


def length(text: str | None) -> int | None:
    """A number of bytes as headers write it."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 18 else None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def skip(self, characters: str) -> None:
        while self.peek() and self.peek() in characters:
            self.place += 1

    def take(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self.text, self.place)
        if match is None:
            return None
        self.place = match.end()
        return match[1] if match.re.groups else match[0]


def _value(scanner: _Scanner) -> str | None:
    """What follows a parameter's name: `=` and a token or a quoted string. None when it is neither."""
    scanner.skip("=")
    scanner.skip(" \t")
    if scanner.peek() == '"':
        quoted = scanner.take(_QUOTED)
        return None if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
    # Some registries write addresses without quotes.
    return scanner.take(re.compile(r"[^\s,\"]+"))


def _relations(scanner: _Scanner) -> set[str]:
    relations: set[str] = set()
    while True:
        scanner.skip(" \t")
        if scanner.peek() != ";":
            return relations
        scanner.skip("; \t")
        name = scanner.take(_TOKEN)
        scanner.skip(" \t")
        if name is None or scanner.peek() != "=":
            continue
        value = _value(scanner)
        if name.lower() == "rel" and value:
            relations |= set(value.lower().rstrip(";").split())
