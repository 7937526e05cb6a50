"""Which library, in which version, wrote a saved model: read from its bytes, never loaded. `saved_models.py` has scikit-learn's; here are
Keras, XGBoost, LightGBM, ONNX, PyTorch, PyTorch Lightning and NumPy.

A file may say anything: what is read here is compared with the lock and told, and decides nothing. Every read is bounded.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from corten.lazy import regex
from corten.project.regular import open_regular
from corten.project.saved_models import ENDINGS, modules_of, unpacked, version_after
from corten.values import dataclass

Kind = Literal[
    "keras",
    "tensorflow",
    "xgboost",
    "xgboost-pickle",
    "lightgbm",
    "onnx-opset",
    "onnx-ir",
    "lightning",
    "numpy",
    "torch",
]

ALWAYS = (*ENDINGS, ".keras", ".h5", ".hdf5", ".ubj", ".xgb", ".bst", ".lgb", ".onnx", ".pt", ".pth", ".ckpt")
_BY_NAME = regex(
    r"(?:.*/)?(?:[^/]*(?:model|xgb|lgb|lightgbm|gbm|booster)[^/]*\.(?:json|txt)|saved_model\.pb)"
)
_HEAD, _TAIL = 16 << 20, 64 << 10
_MOST_FIELDS = 10_000
_MOST_PLACES = 50
_NUMBER = rb"(\d{1,3}\.\d{1,3}(?:\.\d{1,5})?)"
_KERAS = regex(rb'"keras_version":\s*"' + _NUMBER)
_TEXT = regex(_NUMBER)
_XGBOOST_JSON = regex(rb'"version":\s*\[(\d{1,3}),\s*(\d{1,3}),\s*(\d{1,3})\]')
_XGBOOST_BINARY = regex(rb"\x07version\[(?:\$(.))?#L\x00{7}\x03", re.DOTALL)
_LIGHTGBM = regex(rb"tree\nversion=v(\d{1,2})\n")
_DOTTED = regex(r"[A-Za-z_]\w{0,60}(?:\.\w{1,60}){0,4}", re.ASCII)
_OF_TORCH = frozenset(("torch", "collections", "builtins", "__builtin__", "_codecs"))
_INTEGERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q"}


@dataclass(frozen=True, slots=True)
class Trace:
    """The file `path` was written by what `kind` says, in `version`. `torch`: it has whole objects, of the module that `version` names."""

    path: str
    kind: Kind
    version: str


def may_tell(path: str) -> bool:
    """Whether a file of this name may be a model that tells its library."""
    return path.endswith(ALWAYS) or _BY_NAME.fullmatch(path) is not None


def traces(root: str | Path, path: str) -> tuple[Trace, ...]:
    """What the file `path` below `root` tells. Nothing for what leads out of `root`, or cannot be read."""
    full = os.path.realpath(f"{root}/{path}")
    if not full.startswith(os.path.realpath(root) + "/"):
        return ()
    try:
        with open_regular(full) as file:
            return tuple(Trace(path, kind, version) for kind, version in _read(file, path))
    except (OSError, ValueError, OverflowError, struct.error, IndexError):  # it is damaged
        return ()


def _read(file: BinaryIO, path: str) -> Iterator[tuple[Kind, str]]:
    if path.endswith(".onnx"):
        yield from _onnx(file)
        return
    if path.endswith(".pb"):
        yield from _saved_model(file.read(_HEAD))
        return
    head = file.read(_HEAD)
    if path.endswith(".keras"):
        match = _KERAS.search(head, 0, 1 << 16)
        if match:
            yield "keras", match[1].decode()
    elif head.startswith(b"\x89HDF\r\n\x1a\n"):
        version = _hdf5(head)
        if version:
            yield "keras", version
    elif path.endswith((".pt", ".pth", ".ckpt")):
        yield from _torch(head)
    elif path.endswith(ENDINGS):
        yield from _pickle(unpacked(head))
    else:
        if len(head) == _HEAD:
            file.seek(-_TAIL, os.SEEK_END)
            head = head[: 1 << 16] + file.read(_TAIL)
        version = _xgboost(head) if head[:1] == b"{" else None
        if version:
            yield "xgboost", version
        match = _LIGHTGBM.match(head)
        if match:
            yield "lightgbm", match[1].decode()


def _pickle(data: bytes) -> Iterator[tuple[Kind, str]]:
    if b"xgboost" in data and (version := _xgboost(data)):
        yield "xgboost-pickle", version
    if b"lightgbm" in data and (match := _LIGHTGBM.search(data)):
        yield "lightgbm", match[1].decode()
    if b"numpy._core" in data:
        yield "numpy", "2.0"
    if data[:1] == b"{" and (version := _xgboost(data)):  # `.model` is a name for XGBoost's JSON, too
        yield "xgboost", version


def _xgboost(data: bytes) -> str | None:
    """XGBoost's version in its JSON or UBJSON, the last that is there."""
    if b"learner" not in data:
        return None
    place = len(data)
    for _ in range(_MOST_PLACES):
        place = data.rfind(b"version", 0, place)
        if place < 1:
            return None
        match = _XGBOOST_JSON.match(data, place - 1)
        if match:
            return ".".join(part.decode() for part in match.groups())
        match = _XGBOOST_BINARY.match(data, place - 1)
        if match and (version := _ubjson(data, match.end(), match[1])):
            return version
    return None


def _ubjson(data: bytes, place: int, kind: bytes | None) -> str | None:
    """Three whole numbers of UBJSON as a version; of one `kind`, or each with its own."""
    numbers = []
    for _ in range(3):
        form = _INTEGERS.get(kind or data[place : place + 1])
        if form is None:
            return None
        place += 0 if kind else 1
        numbers.append(struct.unpack_from(form, data, place)[0])
        place += struct.calcsize(form)
    return ".".join(map(str, numbers)) if all(0 <= number < 1000 for number in numbers) else None


def _hdf5(data: bytes) -> str | None:
    """The attribute `keras_version` of an HDF5 file (HDF5 File Format Specification, IV.A.2.m): a text in its place, or one in a global
    heap."""
    name = b"keras_version\0"
    place = data.find(name)
    for _ in range(_MOST_PLACES):
        if place < 9:
            return None
        # Version 3 has the encoding of the name before it.
        start = place - 9 if data[place - 9] == 3 and data[place - 7] == len(name) else place - 8
        version, size, kind_size, space_size = (data[start], *struct.unpack_from("<3H", data, start + 2))
        if size == len(name) and version in (1, 2, 3):
            if version == 1:  # it pads each part
                size, kind_size, space_size = ((part + 7) // 8 * 8 for part in (size, kind_size, space_size))
            kind = data[place + size] & 15
            value = place + size + kind_size + space_size
            text = data[value : value + 24] if kind == 3 else _of_heap(data, value)
            match = _TEXT.match(text)
            if match:
                return match[1].decode()
        place = data.find(name, place + 1)
    return None


def _of_heap(data: bytes, place: int) -> bytes:
    """The text of variable length to which `place` points."""
    _, address, wanted = struct.unpack_from("<IQI", data, place)
    if data[address : address + 4] != b"GCOL":
        return b""
    place = address + 16
    for _ in range(1000):
        index, _, _, size = struct.unpack_from("<HHIQ", data, place)
        if index == wanted:
            return data[place + 16 : place + 16 + min(size, 24)]
        if index == 0:
            break
        place += 16 + (size + 7) // 8 * 8
    return b""


def _torch(data: bytes) -> Iterator[tuple[Kind, str]]:
    """What PyTorch saved: an archive that begins with its pickle, which is not compressed."""
    if data[:4] != b"PK\x03\x04":
        return
    name, extra = struct.unpack_from("<HH", data, 26)
    if not data[30 : 30 + name].endswith(b"/data.pkl"):
        return
    data = data[30 + name + extra :]
    version = version_after(data, b"pytorch-lightning_version")
    if version is not None:
        yield "lightning", version
    modules = tuple(dict.fromkeys(modules_of(data)))
    if any(module.startswith("__torch__") for module in modules):  # TorchScript, which another function loads
        return
    for module in modules:
        if module.partition(".")[0] not in _OF_TORCH or module.startswith("torch.nn.modules"):
            yield "torch", module if _DOTTED.fullmatch(module) else "unknown"
            return


def _onnx(file: BinaryIO) -> Iterator[tuple[Kind, str]]:
    """The versions of the form and of the operators (onnx.proto: ModelProto). The graph is passed over."""
    first = True
    for field, value in _fields(file):
        if first and field != 1:
            return
        first = False
        if field == 1 and isinstance(value, int):
            yield "onnx-ir", str(value)
        elif field == 8 and isinstance(value, bytes):
            inside = dict(_inside(value))
            if not inside.get(1) and isinstance(inside.get(2), int):
                yield "onnx-opset", str(inside[2])


def _saved_model(data: bytes) -> Iterator[tuple[Kind, str]]:
    """TensorFlow's version (saved_model.proto, meta_graph.proto)."""
    for wanted in (2, 1, 5):
        value = next((value for field, value in _inside(data) if field == wanted), None)
        if not isinstance(value, bytes):
            return
        data = value
    match = _TEXT.match(data)
    if match:
        yield "tensorflow", match[1].decode()


def _fields(file: BinaryIO) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message in a file; of long ones nothing is read."""
    for _ in range(_MOST_FIELDS):
        key = _varint(file)
        if key is None:
            return
        if key & 7 == 0:
            value = _varint(file)
            if value is None:
                return
            yield key >> 3, value
        elif key & 7 == 2:
            size = _varint(file)
            if size is None:
                return
            if size <= 4096:
                yield key >> 3, file.read(size)
            else:
                file.seek(size, os.SEEK_CUR)
        elif key & 7 in (1, 5):
            file.seek(8 if key & 7 == 1 else 4, os.SEEK_CUR)
        else:
            return


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value if value < 1 << 62 else None
    return None


def _inside(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in `data`, whole."""
    place = 0
    for _ in range(_MOST_FIELDS):
        key, place = _number(data, place)
        if key & 7 == 0:
            value, place = _number(data, place)
            yield key >> 3, value
        elif key & 7 == 2:
            size, place = _number(data, place)
            yield key >> 3, data[place : place + size]
            place += size
        elif key & 7 in (1, 5):
            place += 8 if key & 7 == 1 else 4
        else:
            return
        if place >= len(data):
            return


def _number(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError
