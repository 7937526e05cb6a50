"""Validators and constraints of pydantic's in `Annotated`: each is run, or refused at start; none is passed over."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
from typing import Annotated, Any, Optional, Union

import annotated_types
import numpy
import pydantic
import pytest

from corten_serve import Field
from corten_serve.errors import PredictorError
from corten_serve.protocols.codec import decode
from corten_serve.protocols.interface import BadRequest
from corten_serve.schema.signature import Signature
from support.desk import Served


def even(value: int) -> int:
    if value % 2:
        raise ValueError("expected an even number")
    return value


def doubled(value: int) -> int:
    return value * 2


def short(data: bytes) -> bytes:
    if len(data) > 3:
        raise ValueError("too long")
    return data


def kilograms(value: Any) -> Any:
    return int(value.removesuffix("kg")) if isinstance(value, str) else value


def lenient(value: Any, handler: Any) -> int:
    try:
        return handler(value)
    except ValueError:
        return -1


def strict(value: Any, handler: Any) -> int:
    return handler(value) + 100


def informed(value: int, info: pydantic.ValidationInfo) -> str:
    return f"{info.mode} {value}"


def read(hint: Any, value: Any) -> Any:
    def predict(x): ...

    predict.__annotations__["x"] = hint
    import json

    return decode(Signature(predict), json.dumps({"x": value}).encode())[1]["x"]


def problem(hint: Any, value: Any) -> tuple[str, str]:
    with pytest.raises(BadRequest) as error:
        read(hint, value)
    return error.value.problems[0]


After, Before = pydantic.AfterValidator, pydantic.BeforeValidator
Plain, Wrap = pydantic.PlainValidator, pydantic.WrapValidator


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (Annotated[int, After(doubled)], 4, 8),
        (Annotated[int, Before(kilograms)], "5kg", 5),
        (Annotated[int, Plain(kilograms)], "5kg", 5),
        (Annotated[int, Wrap(lenient)], "no", -1),
        (Annotated[int, Wrap(strict)], 1, 101),
        (Annotated[int, After(informed)], 1, "python 1"),
        # In their order: each sees what the one before it made.
        (Annotated[int, After(doubled), After(even)], 3, 6),
        (Annotated[int, After(doubled), Field(ge=10)], 5, 10),
        (Annotated[str, pydantic.StringConstraints(strip_whitespace=True, to_upper=True)], " a ", "A"),
        (Annotated[list[Annotated[int, After(doubled)]], After(sum)], [1, 2], 6),
        (Optional[Annotated[int, Before(kilograms)]], "5kg", 5),  # noqa: UP045
        (Union[Annotated[int, After(even)], str], "a", "a"),  # noqa: UP007
        (Annotated[Optional[int], After(lambda value: value or 7)], None, 7),  # noqa: UP045
        (dict[str, Annotated[int, After(doubled)]], {"a": 1}, {"a": 2}),
        (pydantic.Base64Bytes, "aGk=", b"hi"),
        (
            Annotated[decimal.Decimal, pydantic.Field(max_digits=3, decimal_places=1)],
            "1.5",
            decimal.Decimal("1.5"),
        ),
        (Annotated[int, pydantic.Field(strict=True)], 1, 1),
    ],
)
def test_validators_are_run(hint, value, expected):
    assert read(hint, value) == expected


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (Annotated[int, After(even)], 3, ("x", "expected an even number")),
        (Annotated[int, After(even)], "a", ("x", "expected an integer, got string 'a'")),
        (Annotated[int, Wrap(strict)], "a", ("x", "expected an integer, got string 'a'")),
        (list[Annotated[int, After(even)]], [2, 3], ("x[1]", "expected an even number")),
        (Annotated[list[int], After(sum)], [2, "a"], ("x[1]", "expected an integer, got string 'a'")),
        (Annotated[int, After(doubled), Field(le=9)], 5, ("x", "expected an integer of at most 9, got number 5")),
        (
            Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1)],
            "  ",
            ("x", "expected a string of at least 1 character, got string '  '"),
        ),
        (
            Annotated[decimal.Decimal, pydantic.Field(max_digits=3)],
            "12345",
            ("x", "decimal input should have no more than 3 digits in total"),
        ),
        (Annotated[decimal.Decimal, pydantic.Field(multiple_of=5)], "7", ("x", None)),
        (Annotated[datetime.datetime, annotated_types.Timezone(...)], "2026-01-01T00:00:00", ("x", None)),
        (Annotated[datetime.datetime, annotated_types.Timezone(None)], "2026-01-01T00:00:00Z", ("x", None)),
    ],
)  # fmt: skip
def test_what_a_validator_refuses_is_a_problem_of_the_request(hint, value, expected):
    field, text = problem(hint, value)
    assert field == expected[0]
    assert expected[1] in (None, text)


def test_zones_that_fit_pass():
    any_zone = Annotated[datetime.datetime, annotated_types.Timezone(...)]
    assert read(any_zone, "2026-01-01T00:00:00Z").tzinfo is not None
    utc = Annotated[datetime.datetime, annotated_types.Timezone(datetime.UTC)]
    assert read(utc, "2026-01-01T00:00:00Z").tzinfo is not None
    assert problem(utc, "2026-01-01T00:00:00+01:00")[0] == "x"


def test_they_are_run_on_files_and_arrays_in_every_protocol():
    def predict(data: Annotated[bytes, After(short)]) -> int:
        return len(data)

    served = Served(predict)
    assert served.json("json:predict", b"abc", "application/octet-stream") == 3
    assert served.refused("json:predict", b"abcd", "application/octet-stream") == (422, "data: too long")
    assert served.refused("json:predict", {"data": "YWJjZA=="}) == (422, "data: too long")

    def total(x: Annotated[numpy.ndarray, After(numpy.sum)]) -> float:
        return float(x)

    tensor = {"name": "x", "datatype": "FP32", "shape": [3], "data": [1, 2, 3]}
    assert Served(total).json("v2:infer", {"inputs": [tensor]})["outputs"][0]["data"] == [6.0]
    assert Served(total).json("json:predict", {"x": [1, 2, 3]}) == 6.0


def test_they_are_run_in_fields_of_dataclasses():
    @dataclasses.dataclass
    class Item:
        size: Annotated[int, After(even)]

    globals()["Item"] = Item
    assert problem(Item, {"size": 3}) == ("x.size", "expected an even number")


def test_a_type_that_holds_itself():
    assert read(Nested, {"value": 1, "inner": {"value": 2}}) == Nested(2, Nested(4))
    assert problem(Nested, {"value": 1, "inner": {"value": "a"}})[0] == "x.inner.value"


@dataclasses.dataclass
class Nested:
    value: Annotated[int, After(doubled)]
    inner: Annotated[Optional[Nested], After(lambda inner: inner)] = None  # noqa: UP045


def test_errors_of_the_project_are_not_the_clients():
    with pytest.raises(KeyError):
        read(Annotated[int, After(lambda value: {}[value])], 1)


@pytest.mark.parametrize(
    "field", [pydantic.Field(alias="y"), pydantic.Field(default=3), pydantic.Field(default_factory=int)]
)
def test_what_cannot_be_kept_is_refused_at_start(field):
    def predict(x): ...

    predict.__annotations__["x"] = Annotated[int, field]
    with pytest.raises(PredictorError, match="is not kept"):
        Signature(predict)


def test_the_schema_is_that_of_the_type():
    def predict(x): ...

    predict.__annotations__["x"] = Annotated[int, After(even), pydantic.Field(description="how many", ge=0)]
    assert Signature(predict).request.definition()["properties"]["x"] == {
        "type": "integer",
        "minimum": 0,
        "description": "how many",
    }
