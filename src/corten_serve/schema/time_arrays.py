"""NumPy's dates and durations, and arrays of them. JSON has them as strings, durations as seconds, too; NaT is null in an array."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Sequence
from typing import Any

from corten_serve.schema.arrays import Array, Wrapped, element_type, place_of
from corten_serve.schema.kinds import Kind, Path, Problems, Schema, Text
from corten_serve.schema.texts import PLAIN

_LARGEST = datetime.timedelta(microseconds=(1 << 63) - 1)
"""NumPy counts microseconds in 64 bits."""


def scalar(cls: Any) -> Kind | None:
    """The kind of NumPy's date or duration; None for another class."""
    numpy: Any = sys.modules["numpy"]
    if issubclass(cls, numpy.datetime64):
        return Moment(cls)
    return Wrapped(Duration(), cls) if issubclass(cls, numpy.timedelta64) else None


def array(args: tuple[Any, ...]) -> Kind | None:
    """The kind of an array of them, by the arguments of `numpy.ndarray[…]`; None for other elements."""
    numpy: Any = sys.modules["numpy"]
    named = element_type(args)
    if issubclass(named, numpy.datetime64):
        return Moments()
    return Durations() if issubclass(named, numpy.timedelta64) else None


class Moment(Text):
    """A date, or a date and time without a zone, which NumPy's has none of; to the nanosecond."""

    _FORM = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?", re.ASCII)

    def __init__(self, cls: Any) -> None:
        def parse(text: str) -> Any:
            if not self._FORM.fullmatch(text) or not _fits([text]):
                raise ValueError(text)
            return cls(text)

        words = "a date and time without a zone, such as '2026-01-31T12:00:00'"
        super().__init__(words, {"pattern": f"^{self._FORM.pattern}$"}, parse)


class Duration(Kind):
    """A duration that NumPy can count, as a `timedelta`."""

    forms = frozenset({"string", "number"})
    textual = True

    def __init__(self) -> None:
        self._inner = PLAIN[datetime.timedelta]
        self.words = self._inner.words

    def schema(self) -> Schema:
        return self._inner.schema()

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        result = self._inner.read(value, path, problems)
        if len(problems.found) == before and abs(result) > _LARGEST:
            problems.add(path, f"expected a duration of at most {_LARGEST.days} days")
        return result


class _Times(Array):
    """Nested lists of equal lengths of what `_element` reads, or null."""

    _name = ""

    def __init__(self, element: Kind, words: str) -> None:
        self._inner = element
        self.words = f"an array of {words}"

    def schema(self) -> Schema:
        items = [self._inner.schema(), {"type": "null"}, {"type": "array"}]
        return {"type": "array", "items": {"anyOf": items}, "format": f"ndarray-{self._name}"}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not list:
            problems.expected(path, self.words, value)
            return None
        before = len(problems.found)
        shape = self._shape(value, path, problems)
        if shape is None:
            return None
        flat = value
        for _ in shape[1:]:
            flat = [item for row in flat for item in row]
        found = []
        for position, item in enumerate(flat):
            place = (path, position) if len(shape) == 1 else place_of(position, shape, path)
            found.append(None if item is None else self._inner.read(item, place, problems))
        if len(problems.found) > before:
            return None
        result = self._made(flat, found, path, problems)
        return None if result is None else result.reshape(shape)

    def read_array(self, array: Any, path: Path, problems: Problems) -> Any:
        problems.add(path, f"expected {self.words}, got elements of the type '{array.dtype.name}'")

    def _made(self, texts: list[Any], values: list[Any], path: Path, problems: Problems) -> Any:
        raise NotImplementedError


class Moments(_Times):
    """An array of `datetime64`, as fine as the finest of its elements."""

    _name = "datetime64"

    def __init__(self) -> None:
        numpy: Any = sys.modules["numpy"]
        super().__init__(Moment(numpy.datetime64), "dates, or dates and times without a zone")

    def _made(self, texts: list[Any], values: list[Any], path: Path, problems: Problems) -> Any:
        if not _fits([text for text in texts if text is not None]):
            problems.add(path, "expected dates from 1678 to 2261 beside one with nanoseconds")
            return None
        return sys.modules["numpy"].array(texts, dtype="datetime64" if any(texts) else "datetime64[s]")


class Durations(_Times):
    """An array of `timedelta64`, in microseconds."""

    _name = "timedelta64"

    def __init__(self) -> None:
        super().__init__(Duration(), "durations such as 'PT1H30M', or their seconds")

    def _made(self, texts: list[Any], values: list[Any], path: Path, problems: Problems) -> Any:
        return sys.modules["numpy"].array(values, dtype="timedelta64[us]")


def _fits(texts: Sequence[str]) -> bool:
    """Whether one array can hold these dates: NumPy counts in 64 bits the finest unit of them, and does not say when that is too
    little for nanoseconds."""
    nanoseconds = any(len(text.partition(".")[2]) > 6 for text in texts)
    return not nanoseconds or all("1678" <= text[:4] <= "2261" for text in texts)
