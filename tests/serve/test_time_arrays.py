"""Arrays and scalars of NumPy that are no numbers: dates and durations are read, what JSON has no form for is refused at start."""

from __future__ import annotations

import json
from typing import Any

import numpy
import pytest
from numpy.typing import NDArray

from corten_serve.schema.kinds import UnknownHint
from corten_serve.schema.signature import Signature
from support.desk import Served

PREDICT = "json:predict"


def dates(x: NDArray[numpy.datetime64]) -> Any:
    return {"dtype": x.dtype.name, "shape": x.shape, "x": x}


def durations(x: NDArray[numpy.timedelta64]) -> Any:
    return {"dtype": x.dtype.name, "shape": x.shape, "x": x}


def duration(x: numpy.timedelta64) -> Any:
    return [type(x).__name__, x]


def date(x: numpy.datetime64) -> Any:
    return x


def answered(predict: Any, x: Any) -> Any:
    answer = Served(predict).answer(PREDICT, {"x": x})
    document = json.loads(answer.body)
    return document if answer.status == 200 else document["error"]


def test_dates_come_back_as_they_were_to_their_last_digit():
    for unit, x in (
        ("datetime64[D]", ["2026-01-31", None]),
        ("datetime64[m]", ["2026-01-31T12:30"]),
        ("datetime64[ns]", [["2026-01-31T12:30:00.123456789"], ["1700-01-01T00:00:00.000000001"]]),
    ):
        found = answered(dates, x)
        assert found["dtype"] == unit
        assert found["shape"] == list(numpy.shape(x))
        assert json.dumps(found["x"]).replace(':00"', '"') == json.dumps(x).replace(':00"', '"')
    assert answered(dates, [])["shape"] == [0]


def test_durations_are_strings_or_seconds():
    found = answered(durations, [["PT1H30M", 1.5], [None, "-P1D"]])
    assert found == {
        "dtype": "timedelta64[us]",
        "shape": [2, 2],
        "x": [["PT1H30M", "PT1.5S"], [None, "-P1D"]],
    }
    assert answered(duration, 90) == ["timedelta64", "PT1M30S"]


@pytest.mark.parametrize(
    ("predict", "x", "said"),
    [
        (dates, ["2026-02-30"], "x[0]: expected a date and time without a zone"),
        (dates, [["2026-01-01"], [5]], "x[1][0]: expected a date and time without a zone"),
        (dates, "2026-01-01", "x: expected an array of dates, or dates and times without a zone"),
        (dates, [["2026-01-01"], []], "x[1]: expected 1 items like its neighbours"),
        (dates, ["0001-01-01", "2026-01-01T00:00:00.123456789"], "x: expected dates from 1678 to 2261"),
        (date, "2300-01-01T00:00:00.000000001", "x: expected a date and time without a zone"),
        (durations, ["one"], "x[0]: expected a duration such as 'PT1H30M'"),
        (durations, [True], "x[0]: expected a duration such as 'PT1H30M'"),
        (durations, ["P300000000D"], "x[0]: expected a duration of at most 106751991 days"),
        (duration, "P300000000D", "x: expected a duration of at most 106751991 days"),
    ],
)
def test_what_numpy_cannot_hold_is_refused_with_its_place(predict, x, said):
    assert answered(predict, x).startswith(said)


def test_the_schema_says_what_is_read():
    (field,) = Signature(dates).request.fields
    (day, null, deeper) = field.kind.schema()["items"]["anyOf"]
    assert (day["type"], null, deeper) == ("string", {"type": "null"}, {"type": "array"})
    assert field.kind.schema()["format"] == "ndarray-datetime64"


@pytest.mark.parametrize(
    "hint",
    [
        NDArray[numpy.object_],
        NDArray[numpy.complex64],
        NDArray[numpy.complexfloating],
        NDArray[numpy.bytes_],
        NDArray[numpy.void],
        NDArray[numpy.character],
        numpy.ndarray[Any, numpy.dtypes.Complex128DType],
        numpy.ndarray[Any, numpy.dtypes.ObjectDType],
        numpy.complex64,
        numpy.complexfloating,
        numpy.bytes_,
        numpy.void,
        numpy.object_,
        complex,
        list[NDArray[numpy.complex128]],
    ],
)
def test_what_json_has_no_form_for_is_refused_at_start_with_a_sentence(hint):
    def predict(x):
        return x

    predict.__annotations__["x"] = hint
    with pytest.raises(UnknownHint, match=r"cannot be read from JSON \(of parameter 'x'") as caught:
        Signature(predict)
    assert caught.value.hint


def test_a_result_of_any_element_type_is_no_error_at_start():
    def predict(x: int) -> NDArray[numpy.void]:
        return numpy.array([(x, 2.0)], dtype=[("a", "i4"), ("b", "f8")])

    assert json.loads(Served(predict).answer(PREDICT, {"x": 1}).body) == [{"a": 1, "b": 2.0}]


def test_a_class_of_dtypes_names_the_element_type_too():
    def predict(x: numpy.ndarray[Any, numpy.dtypes.Int8DType]) -> Any:
        return x.dtype.name

    assert answered(predict, [1, 2]) == "int8"
    assert "expected a number from -128 to 127" in answered(predict, [300])


def test_tensors_of_text_are_dates_and_numbers_are_refused():
    served = Served(dates)
    tensor = {"name": "x", "datatype": "BYTES", "shape": [2], "data": ["2026-01-31", "2026-02-01"]}
    answer = json.loads(served.answer("v2:infer", {"inputs": [tensor]}).body)
    assert answer["outputs"][0]["data"] == ["datetime64[D]"]
    tensor = {"name": "x", "datatype": "FP64", "shape": [1], "data": [1.0]}
    refused = json.loads(served.answer("v2:infer", {"inputs": [tensor]}).body)
    assert "got elements of the type 'float64'" in refused["error"]
