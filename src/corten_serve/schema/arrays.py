"""NumPy arrays and scalars, where the project has NumPy. It is imported only when a type hint already has done so."""

from __future__ import annotations

import math
import sys
from typing import Any

from corten_serve.schema.kinds import (
    Boolean,
    Integer,
    Kind,
    Number,
    Path,
    Problems,
    Schema,
    String,
    UnknownHint,
    preview,
)

_WORDS = {
    "b": "true or false",
    "i": "integers",
    "u": "integers of zero and above",
    "f": "numbers",
    "U": "strings",
}
_INSTEAD = {
    "c": "take the real and the imaginary parts as two arrays of floats",
    "O": "use a list, such as list[str], whose elements have a type",
    "S": "use list[bytes], which is base64 in JSON, or numpy.str_ for text",
    "V": "use a list of dataclasses, or an array for each field",
}
"""What to write instead of elements that JSON has no form for, by NumPy's letter for them."""
_WANTED: dict[str, set[Any]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}, "U": {str}}
_MOST_TEXT = 256 << 20
"""Bytes of an array of strings: each takes the room of the longest, 4 bytes a character, so a few long ones among many short
ones would take any amount of memory."""
_EXACT = 1 << 53
"""Up to this, a double holds every whole number."""
_DEEPEST = 32
"""NumPy before 2.0 has at most 32 dimensions."""


def _numpy() -> Any:
    return sys.modules.get("numpy")


def is_array(hint: Any) -> bool:
    """Whether `hint` is `numpy.ndarray` (also as the origin of `NDArray[…]`)."""
    numpy = _numpy()
    return numpy is not None and isinstance(hint, type) and issubclass(hint, getattr(numpy, "ndarray", ()))


def is_scalar(hint: Any) -> bool:
    """Whether `hint` is a NumPy number such as `numpy.float32`, or its boolean, string or date."""
    numpy = _numpy()
    if numpy is None or not isinstance(hint, type):
        return False
    names = ("number", "bool_", "str_", "datetime64")
    return any(issubclass(hint, getattr(numpy, name, ())) for name in names)


def scalar(cls: Any) -> Kind:
    """The kind of a NumPy scalar that is no date or duration. Raises UnknownHint for a complex one."""
    numpy = _numpy()
    if issubclass(cls, numpy.complexfloating):
        raise UnknownHint(
            f"the type 'numpy.{cls.__name__}' cannot be read from JSON",
            hint="take the real and the imaginary part as two numbers",
        )
    if issubclass(cls, numpy.number):
        return Scalar(cls)
    return Wrapped(Boolean() if issubclass(cls, numpy.bool_) else String(), cls)


class Wrapped(Kind):
    """A plain value in a class of NumPy's."""

    def __init__(self, inner: Kind, cls: Any) -> None:
        self._inner = inner
        self._cls = cls
        self.words = inner.words
        self.forms = inner.forms

    def schema(self) -> Schema:
        return self._inner.schema()

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        result = self._inner.read(value, path, problems)
        return self._cls(result) if len(problems.found) == before else None


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
    """Nested JSON arrays of equal lengths become an array of the hinted element type. A hint that names none takes numbers as
    float64 and booleans as they are; an array that came as one keeps its element type then."""

    words = "an array of numbers"
    forms = frozenset({"array"})

    def __init__(self, args: tuple[Any, ...]) -> None:
        """By the arguments of `numpy.ndarray[…]`. Raises UnknownHint for elements that JSON has no form for."""
        numpy = _numpy()
        self._dtype, self._kept = _dtype(numpy, args)
        self._letter = self._dtype.kind
        self._limits = None if self._letter in "bU" else _limits(self._dtype)
        self.words = f"an array of {_WORDS[self._letter]}"

    def schema(self) -> Schema:
        names = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "U": "string"}
        scalar: Schema = {"type": names[self._letter]}
        if self._letter in "iu" and self._limits is not None:
            scalar.update(minimum=self._limits[0], maximum=self._limits[1])
        # Any depth of nesting that NumPy has; a schema cannot say that the rows have to be of equal length.
        also: list[Schema] = [{"type": "boolean"}] if "b" in self._kept else []
        return {
            "type": "array",
            "items": {"anyOf": [scalar, *also, {"type": "array"}]},
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
        if "b" in self._kept and flat and set(map(type, flat)) == {bool}:
            return _numpy().array(flat, dtype=bool).reshape(shape)
        if not self._elements(flat, shape, path, problems):
            return None
        if self._letter == "U" and 4 * len(flat) * max(map(len, flat), default=0) > _MOST_TEXT:
            problems.add(path, f"strings of such lengths take more than {_MOST_TEXT >> 20} MiB as an array")
            return None
        return _numpy().array(flat, dtype=self._dtype).reshape(shape)

    def read_array(self, array: Any, path: Path, problems: Problems) -> Any:
        """The array that came as one: of its own element type where the hint leaves that open, else of the hinted one, if that
        holds every element. NaN and infinities pass, which JSON has no words for."""
        dtype = self._dtype
        if array.dtype == dtype or array.dtype.kind in self._kept:
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
        result = array.astype(dtype)
        if self._letter == "f" and array.dtype.kind in "iu":
            wide = _numpy().longdouble  # It holds every integer of 64 bits.
            if not (array.astype(wide) == result.astype(wide)).all():
                problems.add(path, f"expected numbers that {dtype.name} holds exactly")
                return None
        return result

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
            least, most = min(flat), max(flat)
            if low <= least and most <= high and (self._letter != "f" or -_EXACT <= least <= most <= _EXACT):
                return True
        before = len(problems.found)
        for position, item in enumerate(flat):
            if isinstance(item, float) and item.is_integer() and self._letter in "iu":
                flat[position] = item = int(item)
            self._element(item, wanted, lambda at=position: place_of(at, shape, path), problems)
        return len(problems.found) == before

    def _element(self, item: Any, wanted: set[Any], place: Any, problems: Problems) -> None:
        if type(item) not in wanted:
            problems.expected(place(), "one of " + _WORDS[self._letter], item)
        elif self._limits is not None and not self._limits[0] <= item <= self._limits[1]:
            low, high = self._limits
            problems.add(place(), f"expected a number from {low} to {high}, got {preview(item)}")
        elif self._letter == "f" and type(item) is int and int(float(item)) != item:
            problems.add(place(), f"expected a number that float64 holds exactly, got {preview(item)}")


def place_of(position: int, shape: tuple[int, ...], path: Path) -> Path:
    """Where the element is that has this position among all of an array's."""
    indices = []
    for size in reversed(shape):
        position, index = divmod(position, size)
        indices.append(index)
    for index in reversed(indices):
        path = (path, index)
    return path


def _dtype(numpy: Any, args: tuple[Any, ...]) -> tuple[Any, str]:
    """The element type of `numpy.ndarray[shape, numpy.dtype[X]]`, and the kinds of element types that are kept as they are:
    none where the hint names one. Where it names none, or one that stands for several, the first is that of JSON's numbers."""
    named = element_type(args)
    if named not in _abstract(numpy):
        concrete = named not in (numpy.flexible, numpy.character, numpy.complexfloating)
        letter = (
            "c" if issubclass(named, numpy.complexfloating) else numpy.dtype(named).kind if concrete else ""
        )
        if letter not in _WORDS:
            raise UnknownHint(
                f"an array of 'numpy.{named.__name__}' cannot be read from JSON",
                hint=_INSTEAD.get(
                    letter, "use numbers, booleans, numpy.str_, numpy.datetime64 or numpy.timedelta64"
                ),
            )
        return numpy.dtype(named), ""
    if named in (numpy.integer, numpy.signedinteger):
        return numpy.dtype("int64"), "iu" if named is numpy.integer else "i"
    if named is numpy.unsignedinteger:
        return numpy.dtype("uint64"), "u"
    if named in (numpy.inexact, numpy.floating):
        return numpy.dtype("float64"), "f"
    return numpy.dtype("float64"), "iuf" if named is numpy.number else "biuf"


def element_type(args: tuple[Any, ...]) -> Any:
    """The class of elements that `numpy.ndarray[shape, numpy.dtype[X]]` names, or `numpy.ndarray[shape, numpy.dtypes.XDType]`;
    `numpy.generic` where it leaves them open. Raises UnknownHint for elements that are none of NumPy's scalars."""
    numpy = _numpy()
    if len(args) != 2:
        return numpy.generic
    inner: tuple[Any, ...] = getattr(args[1], "__args__", ())
    named = inner[0] if len(inner) == 1 else None
    if isinstance(args[1], type) and issubclass(args[1], numpy.dtype) and args[1] is not numpy.dtype:
        cls: Any = args[1]
        named = cls.type
        if not issubclass(named, numpy.generic):
            raise UnknownHint(
                f"an array of the type '{args[1].__name__}' cannot be read from JSON",
                hint="use numpy.str_ for text",
            )
    # `Any` is a class since Python 3.11.
    return named if isinstance(named, type) and issubclass(named, numpy.generic) else numpy.generic


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


def plain(array: Any) -> Any:
    """An array or scalar of NumPy's as nested lists of plain values: the fields of a structured one are objects by name, and
    dates finer than Python's are text."""
    dtype = array.dtype
    if dtype.names is not None:
        columns = {name: plain(array[name]) for name in dtype.names}
        return _zipped(columns, array.ndim)
    values = array.tolist()
    if dtype.kind == "M" and dtype.itemsize and _numpy().datetime_data(dtype)[0] in ("ns", "ps", "fs", "as"):
        texts = _numpy().datetime_as_string(array).tolist()
        return _each(texts, lambda text: None if text == "NaT" else text)
    if dtype.kind == "m" and _numpy().datetime_data(dtype)[0] in ("ns", "ps", "fs", "as"):
        return array.astype("timedelta64[us]").tolist()
    return values


def _zipped(columns: dict[str, Any], depth: int) -> Any:
    """Columns of nested lists as nested lists of objects."""
    if depth == 0:
        return columns
    rows = zip(*columns.values())  # noqa: B905
    return [_zipped(dict(zip(columns, row)), depth - 1) for row in rows]  # noqa: B905 (no `strict` in Python 3.9)


def _each(values: Any, change: Any) -> Any:
    return [_each(each, change) for each in values] if isinstance(values, list) else change(values)
