"""Results → tensors of the Open Inference Protocol.

The fields of an object, dataclass or model are outputs by their names; anything else is the output named `output`. The
results of n rows are stacked: n comes before the shape of each. What is no tensor of equal elements (rows of unequal
length, mixed types, objects inside) is `BYTES` with an element of JSON for each row.
"""

from __future__ import annotations

import base64
import dataclasses
import struct
import sys
from collections.abc import Sequence
from typing import Any

from corten_serve.protocols.codec import class_fields, encode, load
from corten_serve.protocols.interface import ResultError
from corten_serve.protocols.tensors import BYTES, CODES, Tensor, strings
from corten_serve.schema import dataframes

OUTPUT = "output"
_BY_DTYPE = {
    "b1": "BOOL", "i1": "INT8", "i2": "INT16", "i4": "INT32", "i8": "INT64",
    "u1": "UINT8", "u2": "UINT16", "u4": "UINT32", "u8": "UINT64", "f2": "FP16", "f4": "FP32", "f8": "FP64",
}  # fmt: skip


def outputs(results: Sequence[Any], whole: bool) -> dict[str, Tensor]:
    """The outputs by name, in their order; with `whole`, of the one result as it is. Raises ResultError."""
    objects = [_fields(result) for result in results]
    if not results or any(fields is None for fields in objects):
        return {OUTPUT: _tensor(results[0]) if whole and results else _stacked(results)}
    named: dict[str, list[Any]] = {}
    for fields in objects:
        for name in fields or ():
            named.setdefault(name, [])
    for name, column in named.items():
        column += [(fields or {}).get(name) for fields in objects]
    return {name: _tensor(column[0]) if whole else _stacked(column) for name, column in named.items()}


def plain(tensor: Tensor) -> list[Any]:
    """The elements for JSON. Byte strings that were bytes are base64, as everywhere in Corten's JSON."""
    if tensor.datatype != BYTES:
        return tensor.flat()
    return [
        base64.b64encode(value).decode() if isinstance(value, bytes) else value for value in tensor.values
    ]


def packed(tensor: Tensor) -> bytes:
    """The elements as the binary extension has them."""
    if tensor.datatype == BYTES:
        return strings([value if isinstance(value, bytes) else _utf8(value) for value in tensor.values])
    code = CODES[tensor.datatype]
    if isinstance(tensor.values, list):
        return struct.pack(f"<{len(tensor.values)}{code}", *tensor.values)
    array = tensor.values
    return bytes(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def _fields(result: Any) -> dict[str, Any] | None:
    """The fields of a result that is an object, else None."""
    if isinstance(result, dict):
        return result if result and all(isinstance(name, str) for name in result) else None
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    fields = class_fields(result)
    return fields if isinstance(fields, dict) else None


def _tensor(value: Any) -> Tensor:
    """One value as it is; one that has no dimension is of the shape [1]."""
    array = _array(value)
    if array is not None:
        return _of_array(array.reshape(1) if array.ndim == 0 else array)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Tensor(BYTES, (1,), [bytes(value)])
    value = _json(value)
    found = _regular(value if isinstance(value, list) else [value])
    return found or Tensor(BYTES, (1,), [encode(value).decode()])


def _stacked(values: Sequence[Any]) -> Tensor:
    """One value for each row."""
    if values and all(isinstance(value, (bytes, bytearray, memoryview)) for value in values):
        return Tensor(BYTES, (len(values),), [bytes(value) for value in values])
    arrays = [_array(value) for value in values]
    if _alike(arrays):
        return _of_array(sys.modules["numpy"].stack(arrays))
    plain: list[Any] = _json(list(values))
    return _regular(plain) or Tensor(BYTES, (len(plain),), [encode(value).decode() for value in plain])


def _alike(arrays: Sequence[Any]) -> bool:
    """Whether all of them are arrays of one shape and type."""
    if not arrays or any(array is None for array in arrays):
        return False
    return len({(array.shape, array.dtype.str) for array in arrays}) == 1


def _array(value: Any) -> Any:
    """`value` as a NumPy array of numbers or booleans if it is one, or a NumPy scalar, else None."""
    numpy = sys.modules.get("numpy")
    if dataframes.is_column(type(value)):
        value = value.to_numpy()  # A tensor has no labels.
    if numpy is None or not isinstance(value, (numpy.ndarray, numpy.generic)):
        return None
    array = numpy.asarray(value)
    return array if array.dtype.kind in "biuf" and array.dtype.str[1:] in _BY_DTYPE else None


def _of_array(array: Any) -> Tensor:
    return Tensor(_BY_DTYPE[array.dtype.str[1:]], tuple(array.shape), array)


def _json(value: Any) -> Any:
    """`value` as JSON has it, by way of its text only where it holds something that JSON does not know."""
    kind = type(value)
    if kind in (bool, int, str, float) or (kind is list and set(map(type, value)) <= {bool, int, str, float}):
        return value
    return load(encode(value))


def _regular(values: list[Any]) -> Tensor | None:
    """Nested lists of equal lengths with elements of one type as a tensor, else None."""
    shape, flat = [len(values)], values
    while flat and isinstance(flat[0], list):
        width = len(flat[0])
        if len(shape) == 32 or not all(isinstance(row, list) and len(row) == width for row in flat):
            return None
        shape.append(width)
        flat = [item for row in flat for item in row]
    types = set(map(type, flat))
    if types <= {int} and types:
        low, high = min(flat), max(flat)
        if low < -(1 << 63) or high >= 1 << 64 or (low < 0 and high >= 1 << 63):
            return None
        return Tensor("UINT64" if high >= 1 << 63 else "INT64", tuple(shape), flat)
    # What JSON has as null was no number; a tensor has a word for it.
    if float in types and types <= {int, float, type(None)}:
        return Tensor("FP64", tuple(shape), [float("nan") if item is None else float(item) for item in flat])
    if not flat:
        return Tensor("FP64", tuple(shape), [])
    if types == {bool}:
        return Tensor("BOOL", tuple(shape), flat)
    return Tensor(BYTES, tuple(shape), flat) if types == {str} else None


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ResultError("a string of the result has a surrogate without its other half") from error
