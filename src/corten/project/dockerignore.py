"""The rules of `.dockerignore`, as docker reads them (moby/patternmatcher, moby/patternmatcher/ignorefile).

They differ from git's: a pattern is anchored to the project's folder unless it begins with `**`, spaces around it do not count,
and a pattern with `!` brings back a file of a folder that is left out. The tests have docker's own cases.
"""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache

from corten.errors import ProjectError

NAME = ".dockerignore"
Seen = tuple[bool, ...]
"""Which patterns match a folder: what is in it is matched by the same ones."""
_STAR, _ANYTHING, _FOLDERS = "[^/]*", ".*", "(?:.*/)?"
_MOST_STARS = 3
"""With more of them a regular expression could take for ever, and another way of matching is used."""


class DockerRules:
    """The patterns of one file, in their order: the last that matches decides."""

    __slots__ = ("_patterns", "_plain")

    def __init__(self, text: str) -> None:
        """Raises ProjectError, with the line, for what docker refuses."""
        self._patterns = [
            _Pattern(pattern, number) for number, line in _lines(text) if (pattern := _cleaned(line))
        ]
        exceptions = [pattern for pattern in self._patterns if pattern.exception]
        self._plain = all(pattern.is_prefix for pattern in exceptions)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def verdict(self, path: str, folder: Seen) -> tuple[bool, Seen]:
        """Whether `path`, relative to the project's folder, stays out, and what to give for the paths in it; `folder` is what the
        folder that it is in gave, empty for the outermost one (`MatchesUsingParentResults`)."""
        matched = False
        seen = []
        for index, pattern in enumerate(self._patterns):
            match = bool(folder) and folder[index]
            # A pattern that could change nothing is not tried.
            if not match and pattern.exception == matched:
                match = pattern.matches(path)
            seen.append(match)
            if match:
                matched = not pattern.exception
        return matched, tuple(seen)

    def may_keep_within(self, folder: str) -> bool:
        """Whether a pattern with `!` may bring back something in `folder`, which is left out itself."""
        exceptions = [pattern for pattern in self._patterns if pattern.exception]
        if not self._plain:
            return True
        return any(f"{pattern.prefix}/".startswith(f"{folder}/") for pattern in exceptions)


def _lines(text: str) -> list[tuple[int, str]]:
    """The patterns of a file with the numbers of their lines (`ignorefile.ReadAll`)."""
    found = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.startswith("#"):
            continue
        pattern = line.strip()
        exception = pattern.startswith("!")
        pattern = pattern[exception:].strip()
        if pattern:
            pattern = _clean(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        if pattern or exception:
            found.append((number, "!" * exception + pattern))
    return found


def _cleaned(pattern: str) -> str:
    """The same once more, as `patternmatcher.New` does it."""
    pattern = pattern.strip()
    return _clean(pattern) if pattern else ""


def _clean(path: str) -> str:
    """Go's `path.Clean`."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


class _Pattern:
    __slots__ = ("_exact", "_expression", "_start", "_suffix", "_tokens", "exception", "is_prefix", "prefix")

    def __init__(self, pattern: str, line: int) -> None:
        self.exception = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        self._exact: str | None = None
        self._start: str | None = None
        self._suffix: str | None = None
        self._expression: re.Pattern[str] | None = None
        self._tokens: list[str] = []
        if not pattern:
            raise _refused("!", line)
        self.prefix = pattern.removesuffix("/**").removesuffix("/*")
        self.is_prefix = not re.search(r"[*?\[\\]", self.prefix)
        try:
            self._compile(pattern)
        except (ValueError, re.error):
            raise _refused(pattern, line) from None

    def matches(self, path: str) -> bool:
        if self._exact is not None:
            return path == self._exact
        if self._start is not None:
            return path.startswith(self._start)
        if self._suffix is not None:
            # `**/name` matches `name` as well.
            suffix = self._suffix
            return path.endswith(suffix) or (suffix.startswith("/") and path == suffix[1:])
        if self._expression is not None:
            return self._expression.fullmatch(path) is not None
        return _matches(self._tokens, path)

    def _compile(self, pattern: str) -> None:
        """How the pattern is matched. Raises ValueError for one that `filepath.Match` refuses."""
        expression: list[str] = []
        kind = "exact"
        position = 0
        first = True
        while position < len(pattern):
            character = pattern[position]
            position += 1
            if character == "*" and pattern.startswith("*", position):
                position += 1
                position += pattern.startswith("/", position)
                if position == len(pattern):
                    kind = "start" if kind == "exact" else "expression"
                    expression.append(_ANYTHING)
                else:
                    kind = "expression"
                    expression.append(_FOLDERS)
                if first:
                    kind = "suffix"
            elif character == "*":
                expression.append(_STAR)
                kind = "expression"
            elif character == "?":
                expression.append("[^/]")
                kind = "expression"
            elif character == "\\":
                if position == len(pattern):
                    raise ValueError(pattern)
                expression.append(re.escape(pattern[position]))
                position += 1
                kind = "expression"
            elif character == "[":
                bracket, position = _bracket(pattern, position)
                expression.append(bracket)
                kind = "expression"
            else:
                expression.append(re.escape(character))
                kind = "expression" if character == "]" else kind
            first = False
        if kind == "exact":
            self._exact = pattern
        elif kind == "start":
            self._start = pattern[:-2]
        elif kind == "suffix":
            self._suffix = pattern[2:]
        else:
            self._tokens = expression
            if sum(token in (_STAR, _ANYTHING, _FOLDERS) for token in expression) <= _MOST_STARS:
                self._expression = re.compile("".join(expression), re.DOTALL)


def _matches(tokens: list[str], path: str) -> bool:
    """What the regular expression of all `tokens` would say, in a time that grows with their number and the path's length."""
    slashes = [index for index, character in enumerate(path) if character == "/"]
    places = {0}
    for token in tokens:
        if not places:
            return False
        first = min(places)
        if token == _ANYTHING:
            places = set(range(first, len(path) + 1))
        elif token == _FOLDERS:
            places |= {slash + 1 for slash in slashes if slash >= first}
        elif token == _STAR:
            reached: set[int] = set()
            end = -1
            for place in sorted(places):
                if place > end:
                    end = path.find("/", place)
                    end = len(path) if end < 0 else end
                    reached.update(range(place, end + 1))
            places = reached
        else:
            single = _compiled(token)
            places = {place + 1 for place in places if place < len(path) and single.match(path, place)}
    return len(path) in places


@lru_cache(maxsize=1024)
def _compiled(token: str) -> re.Pattern[str]:
    return re.compile(token, re.DOTALL)


def _bracket(pattern: str, position: int) -> tuple[str, int]:
    """A bracket expression after its `[` → (regular expression, position behind it). Raises ValueError (`filepath.Match`)."""
    negated = pattern.startswith("^", position)
    position += negated
    items: list[str] = []
    while not (items and pattern.startswith("]", position)):
        low, position = _member(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _member(pattern, position + 1)
        if low > high:
            raise ValueError(pattern)
        items.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"[{'^' * negated}{''.join(items)}]", position + 1


def _member(pattern: str, position: int) -> tuple[str, int]:
    """One character of a bracket expression. Raises ValueError where there is none."""
    if position >= len(pattern) or pattern[position] in "-]":
        raise ValueError(pattern)
    if pattern[position] == "\\":
        position += 1
        if position >= len(pattern):
            raise ValueError(pattern)
    if position + 1 >= len(pattern):
        raise ValueError(pattern)  # the bracket is not closed
    return pattern[position], position + 1


def _refused(pattern: str, line: int) -> ProjectError:
    return ProjectError(
        f"line {line} of '{NAME}' is not a pattern: '{pattern[:80]}'",
        hint="docker refuses it too; a special character that stands for itself has a backslash before it",
    )
