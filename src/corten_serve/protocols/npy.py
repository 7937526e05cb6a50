"""NumPy's file format (numpy.lib.format): read without pickle and without trust in its header, written for results."""

from __future__ import annotations

import ast
import io
import re
import struct
import sys
from typing import Any

from corten_serve.protocols.interface import BadRequest, ResultError
from corten_serve.protocols.tensors import Tensor, check_shape

NPY = "application/x-npy"
TYPES = (NPY, "application/npy", "application/x-numpy")
"""The names that the format goes by; none is registered."""
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000
"""Bytes; NumPy's own limit for headers that it does not trust."""
_DESCRIPTION = re.compile(r"([<>|=]?)([biuf])([1248])")
_NAMES = {
    "b1": "BOOL", "i1": "INT8", "i2": "INT16", "i4": "INT32", "i8": "INT64",
    "u1": "UINT8", "u2": "UINT16", "u4": "UINT32", "u8": "UINT64", "f2": "FP16", "f4": "FP32", "f8": "FP64",
}  # fmt: skip


def load(body: Any, field: str = "") -> Tensor:
    """The array in `body`. Raises BadRequest for `field`: for what is no file of this format, for objects, text, complex
    numbers and records, for big endian, and for bytes that are not exactly as many as the header says."""
    try:
        header, start = _header(memoryview(body))
        if set(header) != {"descr", "fortran_order", "shape"}:
            raise ValueError("its header has other fields than 'descr', 'fortran_order' and 'shape'")
        description, shape, fortran = header["descr"], header["shape"], header["fortran_order"]
        found = _DESCRIPTION.fullmatch(description) if isinstance(description, str) else None
        name = _NAMES.get(found.group(2) + found.group(3)) if found else None
        if found is None or name is None:
            raise ValueError("its elements are not numbers or booleans")
        if found.group(1) == ">" and name[-1:] != "8":
            raise ValueError("its elements are big endian")
        if not isinstance(shape, tuple) or not isinstance(fortran, bool):
            raise ValueError("its header has a shape that is no tuple, or an order that is no boolean")
        return Tensor.from_bytes(name, check_shape(shape), memoryview(body)[start:], fortran)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, struct.error) as error:
        reason = str(error) if type(error) is ValueError else "its header cannot be read"
        raise BadRequest([(field, f"not an array in NumPy's format: {reason}")]) from error


def _header(view: memoryview) -> tuple[dict[str, Any], int]:
    if bytes(view[:6]) != _MAGIC or len(view) < 12:
        raise ValueError("it does not begin as one")
    if view[6] == 1:
        length, start = struct.unpack_from("<H", view, 8)[0], 10
    elif view[6] in (2, 3):
        length, start = struct.unpack_from("<I", view, 8)[0], 12
    else:
        raise ValueError(f"its version {view[6]} is not known")
    if length > _LONGEST_HEADER:
        raise ValueError("its header is too long")
    header = ast.literal_eval(bytes(view[start : start + length]).decode("utf-8").strip())
    if not isinstance(header, dict):
        raise ValueError("its header is no dictionary")
    return header, start + length


def dump(value: Any) -> bytes:
    """`value`, an array or nested lists of numbers, as a file. Raises ResultError for what is no array of numbers."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise ResultError("the result is no array, so it cannot be sent in NumPy's format")
    try:
        array = numpy.asarray(value)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"elements of the type '{array.dtype}'")
        file = io.BytesIO()
        numpy.lib.format.write_array(file, array, allow_pickle=False)
        return file.getvalue()
    except (ValueError, TypeError) as error:
        raise ResultError(
            f"the result is no array of numbers, so it cannot be sent in NumPy's format: {error}"[:300]
        ) from error
