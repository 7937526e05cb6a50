"""Tensors: numbers, booleans or byte strings in a shape, as NumPy's files and the Open Inference Protocol carry them.

Where the project has NumPy they are arrays; where it has not, flat lists. Data in bytes is little endian and in C order.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

_DEEPEST = 32
_MOST_LISTS = 4_000_000
_MOST_EMPTY = 1_000_000
"""How many empty rows a tensor without elements may have: a shape costs its sender nothing."""
CODES = {
    "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
"""Datatypes of the Open Inference Protocol, with their codes in `struct` (and NumPy: `?bhiqBHIQefd`)."""
BYTES = "BYTES"


class Tensor(NamedTuple):
    """`values` is a flat list of Python values in C order, or a NumPy array of this shape."""

    datatype: str
    shape: tuple[int, ...]
    values: Any

    @classmethod
    def from_bytes(cls, datatype: str, shape: tuple[int, ...], data: Any, fortran: bool = False) -> Tensor:
        """A tensor from its bytes. Raises ValueError where they are more or fewer than the shape takes."""
        count = math.prod(shape)
        if datatype == BYTES:
            values = _strings(memoryview(data))
            if len(values) != count:
                raise ValueError(f"expected {count} elements for the shape {list(shape)}, got {len(values)}")
            return cls(datatype, shape, values)
        code = CODES[datatype]
        size = struct.calcsize("<" + code) * count
        if len(data) != size:
            raise ValueError(f"expected {size} bytes for the shape {list(shape)}, got {len(data)}")
        numpy = sys.modules.get("numpy")
        if datatype == "BOOL" and bytes(data).strip(b"\0\1"):
            raise ValueError("a boolean is a byte of 0 or 1")
        if numpy is not None:
            flat = numpy.frombuffer(data, numpy.dtype(code).newbyteorder("<"))
            # A copy: predictors may write into their arguments, and the bytes are the request's.
            return cls(datatype, shape, flat.reshape(shape, order="F" if fortran else "C").copy())
        if fortran and sum(size > 1 for size in shape) > 1:
            raise ValueError("its order is Fortran's, which needs NumPy")
        return cls(datatype, shape, list(struct.unpack(f"<{count}{code}", data)))

    def flat(self) -> list[Any]:
        """The elements as Python values."""
        values: list[Any] = self.values if isinstance(self.values, list) else self.values.reshape(-1).tolist()
        return values

    def is_too_nested(self) -> bool:
        """Whether it would take many times its own memory as nested lists: a dimension of one costs its sender nothing, and
        here a list for each element."""
        size = 4 if self.datatype == BYTES else struct.calcsize(CODES[self.datatype])
        lists = sum(math.prod(self.shape[:depth]) for depth in range(len(self.shape)))
        return lists > _MOST_LISTS + size * math.prod(self.shape) // 4

    def nested(self) -> Any:
        """The elements as nested lists, one for each dimension; the element itself where there is none."""
        if not isinstance(self.values, list):
            return self.values.tolist()
        if not self.shape:
            return self.values[0]
        values: list[Any] = self.values
        if 0 in self.shape:
            return empty(self.shape)
        for size in reversed(self.shape[1:]):
            values = [values[start : start + size] for start in range(0, len(values), size)]
        return values

    def rows(self) -> list[Tensor]:
        """The tensors along the first dimension, of which there has to be at least one."""
        shape = self.shape[1:]
        if not isinstance(self.values, list):
            return [Tensor(self.datatype, shape, values) for values in self.values]
        size = math.prod(shape)
        starts = range(0, size * self.shape[0], size) if size else [0] * self.shape[0]
        return [Tensor(self.datatype, shape, self.values[start : start + size]) for start in starts]

    def array(self) -> Any:
        """A NumPy array, or None where there is no NumPy or the elements are byte strings."""
        numpy = sys.modules.get("numpy")
        if numpy is None or self.datatype == BYTES:
            return None
        if isinstance(self.values, list):
            return numpy.array(self.values, dtype=CODES[self.datatype]).reshape(self.shape)
        return self.values


def check_shape(shape: Sequence[Any]) -> tuple[int, ...]:
    """`shape` if it is one that a tensor may have. Raises ValueError."""
    if len(shape) > _DEEPEST:
        raise ValueError(f"a shape has at most {_DEEPEST} dimensions")
    if any(type(size) is not int or not 0 <= size < 1 << 40 for size in shape):
        raise ValueError("a shape is an array of whole numbers that are not negative")
    if 0 in shape and math.prod(size for size in shape if size) > _MOST_EMPTY:
        raise ValueError("a tensor without elements cannot have such a shape")
    return tuple(shape)


def empty(shape: Sequence[int]) -> list[Any]:
    """Nested lists of a shape that holds no element."""
    return [] if shape[0] == 0 else [empty(shape[1:]) for _ in range(shape[0])]


def strings(values: Sequence[bytes]) -> bytes:
    """Byte strings as the binary extension writes them: each after its length, 4 bytes."""
    return b"".join(part for value in values for part in (struct.pack("<I", len(value)), value))


def _strings(view: memoryview) -> list[bytes]:
    values, position, end = [], 0, len(view)
    while position < end:
        if end - position < 4:
            raise ValueError("a byte string's length is cut off")
        (length,) = struct.unpack_from("<I", view, position)
        position += 4
        if length > end - position:
            raise ValueError("a byte string is cut off")
        values.append(bytes(view[position : position + length]))
        position += length
    return values
