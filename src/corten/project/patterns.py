"""Patterns of paths: globs of `[tool.corten]`, and ignore rules in git's language (gitignore(5), wildmatch).

Written here because every build matches every file of the project, and a library's import alone (10 ms) takes a
noticeable part of a build in which nothing has changed. The tests compare it with git itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from corten.lazy import regex

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_NEVER = "(?!)"
_MAGIC = regex(r"[*?\[\\]")


def is_glob(pattern: str) -> bool:
    """Whether the pattern can match anything but itself."""
    return _MAGIC.search(pattern) is not None


@lru_cache(maxsize=512)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """The whole-path regular expression of a glob with `*`, `?`, `[…]`, `**` and backslash. Matching never backtracks
    exponentially: within a name each star is an atomic group, as in `fnmatch.translate`. `?` is a character, where git's is
    a byte."""
    segments = _split(pattern)
    expression: list[str] = []
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "**":
            # `**` at the end is everything below; elsewhere it is any number of folders, none included.
            expression.append(".+" if last else "(?:.*/)?")
        else:
            expression.append(_segment(segment) + ("" if last else "/"))
    return re.compile("".join(expression), re.DOTALL)


def _split(pattern: str) -> list[str]:
    """The names of a glob. A slash in brackets separates nothing (and is matched by nothing)."""
    if "[" not in pattern:
        return pattern.split("/")
    segments = [""]
    position = 0
    while position < len(pattern):
        character = pattern[position]
        length = 1
        if character == "[":
            length = _bracket(pattern, position + 1)[1] - position
        elif character == "\\":
            length = 2
        if character == "/":
            segments.append("")
        else:
            segments[-1] += pattern[position : position + length]
        position += length
    return segments


def _segment(segment: str) -> str:
    """One name of a glob. Runs of stars are one star; a star never matches a slash."""
    parts: list[str] = []
    literal: list[str] = []
    starred = False
    position = 0

    def flush() -> None:
        nonlocal literal
        body = "".join(literal)
        # After the first star, the earliest match of what follows is as good as any other.
        parts.append(f"(?>[^/]*?{body})" if starred else body)
        literal = []

    while position < len(segment):
        character = segment[position]
        position += 1
        if character == "*":
            if not starred or literal:
                flush()
            starred = True
        elif character == "?":
            literal.append("[^/]")
        elif character == "[":
            bracket, position = _bracket(segment, position)
            literal.append(bracket)
        elif character == "\\":
            if position == len(segment):
                return _NEVER  # git: a pattern that ends in a backslash matches nothing
            literal.append(re.escape(segment[position]))
            position += 1
        else:
            literal.append(re.escape(character))
    body = "".join(literal)
    parts.append(f"[^/]*{body}" if starred else body)
    return "".join(parts)


def _bracket(segment: str, position: int) -> tuple[str, int]:
    """A bracket expression after its `[` → (regular expression, position behind it)."""
    negated = segment[position : position + 1] in ("!", "^")
    position += negated
    items: list[str] = []
    first = True
    while position < len(segment):
        character = segment[position]
        if character == "]" and not first:
            if not items:
                return ("[^/]" if negated else _NEVER), position + 1
            return f"(?!/)[{'^' if negated else ''}{''.join(items)}]", position + 1
        first = False
        if character == "[" and segment[position + 1 : position + 2] == ":":
            end = segment.find(":]", position + 2)
            if end >= 0:
                name = segment[position + 2 : end]
                if name not in _CLASSES:
                    return _NEVER, len(segment)
                items.append(_CLASSES[name])
                position = end + 2
                continue
        low, position = _member(segment, position)
        if segment[position : position + 1] == "-" and segment[position + 1 : position + 2] not in ("", "]"):
            high, position = _member(segment, position + 1)
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    return _NEVER, len(segment)  # never closed: git matches nothing


def _member(segment: str, position: int) -> tuple[str, int]:
    """One character of a bracket expression, with its backslash undone."""
    if segment[position] == "\\" and position + 1 < len(segment):
        position += 1
    return segment[position], position + 1


class Rules:
    """The rules of one ignore file. The last rule that matches decides, as in gitignore(5).

    Plain names and `*.ending`, which most rules are, are looked up; only the rest becomes regular expressions."""

    __slots__ = ("_endings", "_names", "_negated", "_paths", "_regexes")

    def __init__(self, lines: Iterable[str]) -> None:
        self._negated: list[bool] = []
        # Each maps what a rule matches to [number of the last rule for anything, … for folders only].
        self._names: dict[str, list[int]] = {}
        self._endings: dict[str, list[int]] = {}
        self._paths: dict[str, list[int]] = {}
        self._regexes: list[tuple[int, bool, bool, str]] = []
        for line in lines:
            self._add(line)
        self._regexes.reverse()

    def _add(self, line: str) -> None:
        rule = _without_trailing_spaces(line.rstrip("\r\n"))
        if not rule or rule.startswith("#"):
            return
        negated = rule.startswith("!")
        rule = rule[negated:]
        folders_only = rule.endswith("/")
        rule = rule.removesuffix("/")
        anchored = "/" in rule
        rule = rule.removeprefix("/")
        if not rule or rule.endswith("/"):
            return
        number = len(self._negated)
        self._negated.append(negated)
        if anchored:
            table, key = self._paths, rule
        else:
            table, key = self._names, rule
            if rule.startswith("*.") and not is_glob(rule[1:]):
                table, key = self._endings, rule[1:]
        if table is not self._endings and is_glob(key):
            self._regexes.append((number, folders_only, anchored, key))
            return
        table.setdefault(key, [-1, -1])[folders_only] = number

    def __bool__(self) -> bool:
        return bool(self._negated)

    def verdict(self, name: str, path: str, folder: bool) -> bool | None:
        """True: ignored. False: a negated rule keeps it. None: no rule speaks of it.

        `name` is the last part of `path`, which is relative to the folder that the rules belong to."""
        best = -1
        found = self._names.get(name)
        if found:
            best = max(found) if folder else found[0]
        if self._paths:
            found = self._paths.get(path)
            if found:
                best = max(best, *found) if folder else max(best, found[0])
        if self._endings:
            dot = name.find(".")
            while dot >= 0:
                found = self._endings.get(name[dot:])
                if found:
                    best = max(best, *found) if folder else max(best, found[0])
                dot = name.find(".", dot + 1)
        for number, folders_only, anchored, glob in self._regexes:
            if number < best:
                break
            if (folder or not folders_only) and compile_glob(glob).fullmatch(path if anchored else name):
                best = number
                break
        return None if best < 0 else not self._negated[best]


def _without_trailing_spaces(rule: str) -> str:
    """gitignore(5): trailing spaces are ignored unless quoted with a backslash."""
    while rule.endswith(" "):
        stripped = rule[:-1]
        backslashes = len(stripped) - len(stripped.rstrip("\\"))
        if backslashes % 2:
            break
        rule = stripped
    return rule
