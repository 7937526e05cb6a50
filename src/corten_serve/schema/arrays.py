"""NumPy arrays and scalars, where the project has NumPy. It is imported only when a type hint already has done so."""

from __future__ import annotations

import math
import sys
from typing import Any

from corten_serve.schema.kinds import Integer, Kind, Number, Path, Problems, Schema, preview

_WORDS = {
    "b": "true or false",
    "i": "integers",
    "u": "integers of zero and above",
    "f": "numbers",
    "U": "strings",
}
_WANTED: dict[str, set[Any]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}, "U": {str}}
_MOST_TEXT = 256 << 20
"""Bytes of an array of strings: each takes the room of the longest, 4 bytes a character, so a few long ones among many short
ones would take any amount of memory."""
_DEEPEST = 32
"""NumPy before 2.0 has at most 32 dimensions."""


def _numpy() -> Any:
    return sys.modules.get("numpy")


def is_array(hint: Any) -> bool:
    """Whether `hint` is `numpy.ndarray` (also as the origin of `NDArray[…]`)."""
    numpy = _numpy()
    return numpy is not None and isinstance(hint, type) and issubclass(hint, getattr(numpy, "ndarray", ()))


def is_scalar(hint: Any) -> bool:
    """Whether `hint` is a NumPy number such as `numpy.float32`."""
    numpy = _numpy()
    return numpy is not None and isinstance(hint, type) and issubclass(hint, getattr(numpy, "number", ()))


class Scalar(Kind):
    """A NumPy number, range checked."""

    forms = frozenset({"number"})

    def __init__(self, cls: Any) -> None:
        numpy = _numpy()
        self._cls = cls
        self._whole = issubclass(cls, numpy.integer)
        self._inner: Kind = Integer() if self._whole else Number()
        self._limits = _limits(numpy.dtype(cls)) if cls not in _abstract(numpy) else None
        if self._limits is None:
            self._cls = numpy.int64 if self._whole else numpy.float64
            self._limits = _limits(numpy.dtype(self._cls))
        self.words = self._inner.words

    def schema(self) -> Schema:
        low, high = self._limits or (None, None)
        return {**self._inner.schema(), **({"minimum": low, "maximum": high} if self._whole else {})}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        number = self._inner.read(value, path, problems)
        if len(problems.found) > before:
            return None
        low, high = self._limits or (-math.inf, math.inf)
        if not low <= number <= high:
            problems.add(path, f"expected {self.words} from {low} to {high}, got {preview(value)}")
            return None
        return self._cls(number)


class Array(Kind):
    """Nested JSON arrays of equal lengths become an array of the hinted element type (float64 without one)."""

    words = "an array of numbers"
    forms = frozenset({"array"})

    def __init__(self, args: tuple[Any, ...]) -> None:
        numpy = _numpy()
        self._dtype = _dtype(numpy, args)
        self._letter = self._dtype.kind
        if self._letter not in _WORDS:
            self._dtype, self._letter = numpy.dtype("float64"), "f"
        self._limits = None if self._letter in "bU" else _limits(self._dtype)
        self.words = f"an array of {_WORDS[self._letter]}"

    def schema(self) -> Schema:
        names = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "U": "string"}
        scalar: Schema = {"type": names[self._letter]}
        if self._letter in "iu" and self._limits is not None:
            scalar.update(minimum=self._limits[0], maximum=self._limits[1])
        # Any depth of nesting that NumPy has; a schema cannot say that the rows have to be of equal length.
        return {
            "type": "array",
            "items": {"anyOf": [scalar, {"type": "array"}]},
            "format": f"ndarray-{self._dtype.name}",
        }

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not list:
            problems.expected(path, self.words, value)
            return None
        shape = self._shape(value, path, problems)
        if shape is None:
            return None
        flat = value
        for _ in shape[1:]:
            flat = [item for row in flat for item in row]
        if not self._elements(flat, shape, path, problems):
            return None
        if self._letter == "U" and 4 * len(flat) * max(map(len, flat), default=0) > _MOST_TEXT:
            problems.add(path, f"strings of such lengths take more than {_MOST_TEXT >> 20} MiB as an array")
            return None
        return _numpy().array(flat, dtype=self._dtype).reshape(shape)

    def read_array(self, array: Any, path: Path, problems: Problems) -> Any:
        """The array that came as one: of the hinted element type, if that holds every element. NaN and infinities pass,
        which JSON has no words for."""
        dtype = self._dtype
        if array.dtype == dtype:
            return array
        if array.dtype.kind not in ("iu" if self._letter in "iu" else "iuf" if self._letter == "f" else ""):
            problems.add(path, f"expected {self.words}, got elements of the type '{array.dtype.name}'")
            return None
        if array.size and (self._letter != "f" or array.dtype.itemsize > dtype.itemsize):
            numpy = _numpy()
            low, high = self._limits or (-math.inf, math.inf)
            finite = array[numpy.isfinite(array)] if array.dtype.kind == "f" else array
            if finite.size and not (low <= finite.min() and finite.max() <= high):
                problems.add(path, f"expected numbers from {low} to {high}")
                return None
        return array.astype(dtype)

    def _shape(self, value: list[Any], path: Path, problems: Problems) -> tuple[int, ...] | None:
        """The common shape of nested lists, or None with a problem that names the first row that differs."""
        shape = [len(value)]
        level: list[Any] = [(value, path)]
        while level and any(isinstance(item, list) for row, _ in level for item in row):
            if len(shape) == _DEEPEST:
                problems.add(path, f"an array has at most {_DEEPEST} dimensions")
                return None
            inner: list[Any] = []
            width: int | None = None
            for row, place in level:
                for index, item in enumerate(row):
                    here = (place, index)
                    if not isinstance(item, list):
                        problems.expected(here, "an array like its neighbours", item)
                        return None
                    if width is None:
                        width = len(item)
                    if len(item) != width:
                        problems.add(here, f"expected {width} items like its neighbours, got {len(item)}")
                        return None
                    inner.append((item, here))
            shape.append(width or 0)
            level = inner
        return tuple(shape)

    def _elements(self, flat: list[Any], shape: tuple[int, ...], path: Path, problems: Problems) -> bool:
        wanted = _WANTED[self._letter]
        if set(map(type, flat)) <= wanted:
            if self._limits is None or not flat:
                return True
            low, high = self._limits
            if low <= min(flat) and max(flat) <= high:
                return True
        before = len(problems.found)
        for position, item in enumerate(flat):
            if isinstance(item, float) and item.is_integer() and self._letter in "iu":
                flat[position] = item = int(item)
            self._element(item, wanted, lambda at=position: _place(at, shape, path), problems)
        return len(problems.found) == before

    def _element(self, item: Any, wanted: set[Any], place: Any, problems: Problems) -> None:
        if type(item) not in wanted:
            problems.expected(place(), "one of " + _WORDS[self._letter], item)
        elif self._limits is not None and not self._limits[0] <= item <= self._limits[1]:
            low, high = self._limits
            problems.add(place(), f"expected a number from {low} to {high}, got {preview(item)}")


def _place(position: int, shape: tuple[int, ...], path: Path) -> Path:
    indices = []
    for size in reversed(shape):
        position, index = divmod(position, size)
        indices.append(index)
    for index in reversed(indices):
        path = (path, index)
    return path


def _dtype(numpy: Any, args: tuple[Any, ...]) -> Any:
    """The element type of `numpy.ndarray[shape, numpy.dtype[X]]`; float64 where it is not said."""
    if len(args) == 2:
        inner: tuple[Any, ...] = getattr(args[1], "__args__", ())
        if len(inner) == 1 and isinstance(inner[0], type) and inner[0] not in _abstract(numpy):
            return numpy.dtype(inner[0])
        if len(inner) == 1 and inner[0] in (numpy.integer, numpy.signedinteger):
            return numpy.dtype("int64")
    return numpy.dtype("float64")


def _abstract(numpy: Any) -> tuple[Any, ...]:
    names = ("generic", "number", "integer", "signedinteger", "unsignedinteger", "inexact", "floating")
    return tuple(getattr(numpy, name) for name in names)


def _limits(dtype: Any) -> tuple[Any, Any]:
    numpy = _numpy()
    if dtype.kind in "iu":
        info = numpy.iinfo(dtype)
        return int(info.min), int(info.max)
    largest = min(float(numpy.finfo(dtype).max), sys.float_info.max)
    return -largest, largest
