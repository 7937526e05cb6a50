"""ONNX models of one or two nodes, written byte by byte: protocol buffers by the numbers in onnx.proto3."""

from __future__ import annotations

from collections.abc import Sequence

FLOAT, INT64, STRING = 1, 7, 8
"""TensorProto.DataType."""


def model(
    nodes: Sequence[tuple[str, Sequence[str], Sequence[str]]],
    inputs: Sequence[tuple[str, int, Sequence[int | str]]],
    outputs: Sequence[tuple[str, int, Sequence[int | str]]],
    doc: str = "",
) -> bytes:
    """A ModelProto of operator set 13. `nodes` are (operator, inputs, outputs); values are (name, element type, shape)."""
    graph = b"".join(_message(1, _node(*node)) for node in nodes) + _text(2, "tiny")
    graph += b"".join(_message(11, _value(*value)) for value in inputs)
    graph += b"".join(_message(12, _value(*value)) for value in outputs)
    opset = _number(2, 13)
    return _number(1, 7) + _text(6, doc) + _message(7, graph) + _message(8, opset)


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    return (
        b"".join(_text(1, name) for name in inputs)
        + b"".join(_text(2, name) for name in outputs)
        + _text(4, operator)
    )


def _value(name: str, element: int, shape: Sequence[int | str]) -> bytes:
    sizes = b"".join(
        _message(1, _number(1, size) if isinstance(size, int) else _text(2, size)) for size in shape
    )
    tensor = _number(1, element) + _message(2, sizes)
    return _text(1, name) + _message(2, _message(1, tensor))


def _varint(value: int) -> bytes:
    result = b""
    while value > 127:
        result += bytes([value & 127 | 128])
        value >>= 7
    return result + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())
