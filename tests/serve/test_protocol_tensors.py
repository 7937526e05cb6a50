"""Tensors that take little in a request and much in memory."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import numpy
import pytest

from corten_serve.protocols.interface import MOST_ITEMS
from corten_serve.protocols.tensors import Tensor
from support.desk import Served

INFER = "v2:infer"


def one(x: int) -> int:
    return x


def many(x: list[float]) -> int:
    return len(x)


def deep(x: list[list[list[int]]]) -> int:
    return len(x)


def words(x: list[str]) -> int:
    return len(x)


def asked(served: Served, datatype: str, shape: list[int], blob: bytes) -> Any:
    entry = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(blob)}}
    head = json.dumps({"inputs": [entry]}).encode()
    answer = served.answer(INFER, head + blob, str(len(head)))
    return json.loads(answer.body).get("error", answer.status)


@pytest.fixture(params=[True, False])
def numpy_or_none(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the project has NumPy."""
    if not request.param:
        monkeypatch.delitem(sys.modules, "numpy")


@pytest.mark.usefixtures("numpy_or_none")
class TestMemory:
    def test_rows_are_counted(self):
        count = MOST_ITEMS + 1
        message = f"x: a request has at most {MOST_ITEMS} items"
        assert asked(Served(one), "UINT8", [count], b"\1" * count) == message
        assert asked(Served(one), "UINT8", [count, 1], b"\1" * count) == message
        assert asked(Served(many), "UINT8", [count, 1], b"\1" * count) == message
        assert asked(Served(one), "UINT8", [3], b"\1" * 3) == 200

    def test_dimensions_of_one_are_no_lists_for_each_element(self):
        count = 200_000
        message = "x: an array of 32 dimensions takes too much memory as lists"
        assert asked(Served(many), "UINT8", [count] + [1] * 31, b"\1" * count) == message
        assert asked(Served(words), "BYTES", [count] + [1] * 31, bytes(4 * count)) == message
        assert asked(Served(many), "UINT8", [count] + [1] * 30 + [0], b"") == message
        assert asked(Served(deep), "UINT8", [count, 1, 1], b"\1" * count) == 200


def test_files_of_numpy_too():
    file = io.BytesIO()
    numpy.save(file, numpy.ones([200_000] + [1] * 31, "u1"))
    assert Served(many).refused("json:predict", file.getvalue(), "application/x-npy") == (
        422,
        "x: an array of 32 dimensions takes too much memory as lists",
    )


@pytest.mark.parametrize(
    "shape", [(8_000_000, 2), (16_000_000,), (16_000_000, 1), (64, 500, 500), (1,) * 32, ()]
)
def test_what_people_send_is_not_too_nested(shape):
    assert not Tensor("FP32", shape, None).is_too_nested()
