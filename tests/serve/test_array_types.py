"""Element types of arrays: the client's own where the hint names none, the hinted one where it does, and nothing is lost."""

from __future__ import annotations

import io
import json
from typing import Annotated, Any, Optional

import numpy
import numpy.typing
import pytest

from corten_serve import Field
from corten_serve.protocols import npy
from support.desk import Served

INFER, PREDICT = "v2:infer", "json:predict"
NAMES = {
    "BOOL": "?", "INT8": "i1", "INT16": "i2", "INT32": "i4", "INT64": "i8", "UINT8": "u1", "UINT16": "u2",
    "UINT32": "u4", "UINT64": "u8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip
LARGE = 2**53 + 1


def plain(x: numpy.ndarray) -> Any:
    return x


def optional(x: Optional[numpy.ndarray] = None) -> Any:  # noqa: UP045
    return x


def open_type(x: numpy.typing.NDArray[Any]) -> Any:
    return x


def limited(x: Annotated[numpy.ndarray, Field(min_length=1, description="rows")]) -> Any:
    return x


def extremes(name: str) -> numpy.ndarray:
    dtype = numpy.dtype(NAMES[name])
    if dtype.kind == "b":
        return numpy.array([True, False])
    info = numpy.iinfo(dtype) if dtype.kind in "iu" else numpy.finfo(dtype)
    return numpy.array([info.min, 1, info.max], dtype)


def saved(array: numpy.ndarray) -> bytes:
    file = io.BytesIO()
    numpy.save(file, array)
    return file.getvalue()


def infer(served: Served, array: numpy.ndarray, datatype: str, binary: bool) -> Any:
    """The output as (datatype, elements), or the error's sentence."""
    entry: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": list(array.shape)}
    if binary:
        data = array.tobytes()
        head = json.dumps({"inputs": [{**entry, "parameters": {"binary_data_size": len(data)}}]}).encode()
        answer = served.answer(INFER, head + data, str(len(head)))
    else:
        answer = served.answer(INFER, {"inputs": [{**entry, "data": array.tolist()}]})
    document = json.loads(answer.body)
    if answer.status != 200:
        return document["error"]
    output = document["outputs"][0]
    return output["datatype"], output["data"]


@pytest.mark.parametrize("predict", [plain, optional, open_type, limited])
@pytest.mark.parametrize("name", NAMES)
def test_a_plain_array_keeps_the_clients_element_type_in_tensors(predict, name):
    array = extremes(name)
    for binary in (True, False):
        assert infer(Served(predict), array, name, binary) == (name, array.tolist())


@pytest.mark.parametrize("predict", [plain, optional, open_type, limited])
@pytest.mark.parametrize("name", NAMES)
def test_a_plain_array_keeps_the_element_type_of_a_file(predict, name):
    array = extremes(name)
    answer = Served(predict).answer(PREDICT, saved(array), npy.NPY, npy.NPY)
    result = numpy.load(io.BytesIO(answer.body))
    assert (result.dtype, result.tolist()) == (array.dtype, array.tolist())


def test_digits_of_a_large_integer_are_not_lost():
    array = numpy.array([LARGE])
    assert infer(Served(plain), array, "INT64", True) == ("INT64", [LARGE])

    def doubles(x: numpy.typing.NDArray[numpy.float64]) -> Any:
        return x

    for binary in (True, False):
        assert "expected numbers that float64 holds exactly" in infer(Served(doubles), array, "INT64", binary)
    assert infer(Served(doubles), numpy.array([2**60]), "INT64", True) == ("FP64", [2.0**60])
    for predict in (plain, doubles):
        status, text = Served(predict).refused(PREDICT, {"x": [[1, LARGE]]})
        assert status == 422
        assert text == f"x[0][1]: expected a number that float64 holds exactly, got number {LARGE}"
        assert Served(predict).json(PREDICT, {"x": [[1, 2**60]]}) == [[1.0, 2.0**60]]


def test_small_floats_refuse_integers_that_they_would_round():
    def halves(x: numpy.typing.NDArray[numpy.float16]) -> Any:
        return x

    assert infer(Served(halves), numpy.array([2048]), "INT64", True) == ("FP16", [2048.0])
    assert "float16 holds exactly" in infer(Served(halves), numpy.array([2049]), "INT64", True)
    assert infer(Served(halves), numpy.array([0.1]), "FP64", True)[0] == "FP16"  # Rounded, as the hint says.


def test_json_makes_doubles_and_booleans():
    seen: list[Any] = []

    def predict(x: numpy.ndarray) -> int:
        seen.append(x.dtype.name)
        return 0

    for hint in (numpy.ndarray, numpy.typing.NDArray[Any]):
        predict.__annotations__["x"] = hint
        served = Served(predict)
        for value in ([1, 2], [1.5, 2], [], [[True, False]]):
            served.json(PREDICT, {"x": value})
        assert seen == ["float64", "float64", "float64", "bool"]
        seen.clear()
        assert served.refused(PREDICT, {"x": [1, True]}) == (422, "x[1]: expected one of numbers, got true")


@pytest.mark.parametrize(
    ("hint", "kept", "made"),
    [
        (numpy.number, {"INT8": "INT8", "FP16": "FP16", "UINT64": "UINT64", "BOOL": None}, "FP64"),
        (numpy.integer, {"INT8": "INT8", "UINT16": "UINT16", "FP32": None}, "INT64"),
        (numpy.signedinteger, {"INT8": "INT8", "UINT16": "INT64"}, "INT64"),
        (numpy.unsignedinteger, {"UINT8": "UINT8", "UINT64": "UINT64"}, "UINT64"),
        (numpy.floating, {"FP16": "FP16", "FP32": "FP32", "INT8": "FP64"}, "FP64"),
    ],
)
def test_a_hint_for_several_element_types_keeps_those(hint, kept, made):
    def predict(x: numpy.typing.NDArray[hint]) -> Any:  # type: ignore[valid-type]
        return x

    predict.__annotations__["x"] = numpy.typing.NDArray[hint]
    served = Served(predict)
    for name, becomes in kept.items():
        outcome = infer(served, numpy.array([1, 0], NAMES[name]), name, True)
        assert outcome[0] == becomes if becomes else "got elements of the type" in outcome
    result = served.json(INFER, {"inputs": [], "parameters": {"x": [1]}})
    assert result["outputs"][0]["datatype"] == made


def test_json_data_that_its_datatype_cannot_hold_is_refused():
    for datatype, value in (("FP16", 65505), ("FP32", 1e39), ("FP64", LARGE), ("FP32", 10**400)):
        request = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1], "data": [value]}]}
        status, text = Served(plain).refused(INFER, request)
        assert status == 400 or status == 422
        assert f"expected elements of {datatype}" in text


def test_rules_hold_for_arrays_that_come_as_ones():
    assert "of at least 1 item" in infer(Served(limited), numpy.zeros((0,), "f4"), "FP32", True)
