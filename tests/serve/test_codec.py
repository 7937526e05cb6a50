"""What the schema allows is read, anything else is a 422, and nothing is ever a 500: tried against an independent
validator of JSON schema, with hints and values made by hypothesis."""

# ruff: noqa: UP007, UP045 (both spellings of a union are what is tried here)
from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import typing
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, Union

import jsonschema
import numpy
import numpy.typing
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten_serve.protocols.codec import decode, encode
from corten_serve.protocols.desk import Desk
from corten_serve.protocols.interface import BadRequest, Endpoint, Model, ResultError
from corten_serve.schema.signature import Signature
from corten_serve.worker.answering import Answering
from corten_serve.worker.predictor import PredictorError
from support.properties import thorough


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Odd(enum.Enum):
    PAIR = (1, 2)
    NOTHING = None


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    label: str | None = None


@dataclasses.dataclass
class Tree:
    """A tree of numbers."""

    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Positive:
    value: int

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise ValueError("value must be positive")


class Movie(TypedDict):
    title: str
    year: typing.NotRequired[int]


class Pair(NamedTuple):
    first: int
    second: str = "b"


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1)
    age: int = pydantic.Field(ge=0)
    friends: list[Person] = []


Celsius = NewType("Celsius", float)

SCALARS: list[Any] = [int, float, str, bool, None, Any, Celsius, Colour, Level, Literal["a", 1, True, None]]
RECORDS: list[Any] = [Point, Tree, Movie, Pair]
hints = st.recursive(
    st.sampled_from(SCALARS + RECORDS),
    lambda inner: st.one_of(
        inner.map(lambda hint: list[hint]),
        inner.map(lambda hint: dict[str, hint]),
        inner.map(lambda hint: Optional[hint]),
        inner.map(lambda hint: Annotated[hint, "some words"]),
        inner.map(lambda hint: tuple[hint, ...]),
        st.tuples(inner, inner).map(lambda pair: Union[pair]),
        st.tuples(inner, inner).map(lambda pair: tuple[pair]),
    ),
    max_leaves=3,
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["a", "red", "blue", "", "x", "1", 1.0, 2.0]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["a", "x", "y", "value", "children", "title", "year"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


def matching(hint: Any) -> st.SearchStrategy[Any]:
    """JSON values that `hint` probably allows."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    simple: dict[Any, Any] = {
        int: st.integers(),
        float: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
        str: st.text(max_size=3),
        bool: st.booleans(),
        None: st.none(),
        type(None): st.none(),
        Any: values,
        Celsius: st.floats(-9, 9),
        Colour: st.sampled_from(["red", "blue"]),
        Level: st.sampled_from([1, 2]),
        Point: st.fixed_dictionaries(
            {"x": st.integers(-9, 9)}, optional={"y": st.floats(-9, 9), "label": st.none()}
        ),
        Tree: st.recursive(
            st.fixed_dictionaries({"value": st.integers()}),
            lambda t: st.fixed_dictionaries({"value": st.integers(), "children": st.lists(t, max_size=2)}),
            max_leaves=3,
        ),
        Movie: st.fixed_dictionaries({"title": st.text(max_size=3)}, optional={"year": st.integers()}),
        Pair: st.tuples(st.integers(), st.text(max_size=2)).map(list),
    }
    if origin is None:
        return typing.cast(st.SearchStrategy[Any], simple[hint])
    if origin is Annotated:
        return matching(args[0])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is Union:
        return st.one_of(*map(matching, args))
    if origin is list or (origin is tuple and args[-1] is Ellipsis):
        return st.lists(matching(args[0]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(matching, args)).map(list)
    assert origin is dict
    return st.dictionaries(st.text(max_size=2), matching(args[1]), max_size=3)


def signature_of(*parameters: Any, **hints: Any) -> Signature:
    def predict(**kwargs: Any) -> Any: ...

    def call(x): ...

    call.__annotations__ = hints or {"x": parameters[0]}
    return Signature(call)


def accepts(signature: Signature, value: Any) -> bool:
    problems = problems_with(signature, json.dumps({"x": value}).encode())
    assert problems is None or (problems and all(message for _, message in problems))
    return problems is None


def problems_with(signature: Signature, body: bytes) -> list[tuple[str, str]] | None:
    try:
        decode(signature, body)
    except BadRequest as error:
        return error.problems
    return None


def allows(signature: Signature, value: Any) -> bool:
    schema = {**signature.request.definition(), "components": {"schemas": signature.definitions()}}
    jsonschema.Draft202012Validator.check_schema(schema)
    return bool(jsonschema.Draft202012Validator(schema).is_valid({"x": value}))


@st.composite
def nearly(draw: Any, hint: Any) -> Any:
    """A value that matches `hint` but in one place."""
    return spoiled(draw, draw(matching(hint)))


def spoiled(draw: Any, value: Any) -> Any:
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], spoiled(draw, value[place]), *value[place + 1 :]]
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        how = draw(st.integers(0, 4))
        if how == 0:
            return {name: item for name, item in value.items() if name != key}
        return {**value, "surplus": 1} if how == 1 else {**value, key: spoiled(draw, value[key])}
    return draw(scalars | st.just([]) | st.just({}) | st.just([1]))


@thorough(400)
@given(st.data())
def test_reading_and_schema_agree_on_every_value(data):
    hint = data.draw(hints)
    signature = signature_of(hint)
    for value in (data.draw(values), data.draw(matching(hint)), data.draw(nearly(hint))):
        assert accepts(signature, value) == allows(signature, value)


@settings(max_examples=100, deadline=None)
@given(hints.flatmap(lambda hint: st.tuples(st.just(hint), matching(hint))))
def test_what_matches_a_hint_is_read(pair):
    hint, value = pair
    assert accepts(signature_of(hint), value)


@thorough(200)
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_answered_without_a_failure(body):
    def predict(x: int = 0, **more: Any) -> int:
        return x

    assert problems_with(Signature(predict), body) != []


def read(hint: Any, value: Any) -> Any:
    return decode(signature_of(hint), json.dumps({"x": value}).encode())[1]["x"]


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, 3.0, 3),
        (float, 3, 3.0),
        (Union[float, int], 3, 3),
        (bytes, "aGk=", b"hi"),
        (datetime.datetime, "2026-01-31T12:00:00Z", datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)),
        (datetime.date, "2026-01-31", datetime.date(2026, 1, 31)),
        (datetime.time, "12:30:00", datetime.time(12, 30)),
        (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678123456781234567812345678")),
        (decimal.Decimal, "1.50", decimal.Decimal("1.50")),
        (Colour, "red", Colour.RED),
        (Level, 2, Level.HIGH),
        (Odd, "PAIR", Odd.PAIR),
        (Point, {"x": 1}, Point(1.0, 0.0, None)),
        (Tree, {"value": 1, "children": [{"value": 2}]}, Tree(1, [Tree(2)])),
        (Movie, {"title": "M"}, {"title": "M"}),
        (Pair, [1, "z"], Pair(1, "z")),
        (tuple[int, str], [1, "a"], (1, "a")),
        (set[int], [1, 1, 2], {1, 2}),
        (frozenset[str], ["a"], frozenset("a")),
        (deque[int], [1], deque([1])),
        (Sequence[int], [1], [1]),
        (Mapping[str, int], {"a": 1}, {"a": 1}),
        (dict[int, str], {"7": "a"}, {7: "a"}),
        (dict[Colour, int], {"red": 1}, {Colour.RED: 1}),
        (list, [1, "a"], [1, "a"]),
        (dict, {"a": 1}, {"a": 1}),
        (tuple, [1], (1,)),
        (Optional[Point], None, None),
        (numpy.float32, 1.5, numpy.float32(1.5)),
        (numpy.uint8, 255, numpy.uint8(255)),
        (Person, {"name": "A", "age": 1}, Person(name="A", age=1)),
    ],
)  # fmt: skip
def test_values_arrive_as_what_the_hint_says(hint, value, expected):
    result = read(hint, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "field", "message"),
    [
        (float, "x", "x", "expected a number, got string 'x'"),
        (int, 1.5, "x", "expected an integer, got number 1.5"),
        (int, True, "x", "expected an integer, got true"),
        (str, None, "x", "expected a string, got null"),
        (Optional[int], "a", "x", "expected an integer or null, got string 'a'"),
        (Literal["a", "b"], "c", "x", "expected one of 'a', 'b', got string 'c'"),
        (Colour, 1, "x", "expected one of 'red', 'blue', got number 1"),
        (list[int], [1, "a"], "x[1]", "expected an integer, got string 'a'"),
        (list[Point], [{"x": 1}, {"x": "b"}], "x[1].x", "expected a number, got string 'b'"),
        (Optional[Point], {"x": []}, "x.x", "expected a number, got an empty array"),
        (Point, {}, "x.x", "missing; expected a number"),
        (Point, {"x": 1, "z": 1}, "x.z", "unknown field; expected x, y, label"),
        (Positive, {"value": 0}, "x", "value must be positive"),
        (dict[str, int], {"k": "v"}, "x.k", "expected an integer, got string 'v'"),
        (dict[int, int], {"k": 1}, "x.k", "expected a whole number in a string, got string 'k'"),
        (tuple[int, int], [1], "x", "expected an array of 2 items, got an array of 1"),
        (tuple[int, int], [1, 2, 3], "x", "expected an array of 2 items, got an array of 3"),
        (list[float], [1.0, True], "x[1]", "expected a number, got true"),
        (list[int], [1, True], "x[1]", "expected an integer, got true"),
        (list[str], ["a", 1], "x[1]", "expected a string, got number 1"),
        (bytes, "€", "x", "expected a string of base64, got string '€'"),
        (datetime.date, "31.1.2026", "x", "expected a date such as '2026-01-31', got string '31.1.2026'"),
        (uuid.UUID, "{}", "x", "expected a UUID, got string '{}'"),
        (set[Any], [[1]], "x", "its items have to be plain values, to be put into a set"),
        (numpy.uint8, 256, "x", "expected an integer from 0 to 255, got number 256"),
        (Person, {"name": "", "age": -1}, "x.name", "string should have at least 1 character"),
    ],
)
def test_a_problem_names_the_field_and_what_was_expected(hint, value, field, message):
    with pytest.raises(BadRequest) as error:
        read(hint, value)
    assert error.value.problems[0] == (field, message)


def test_all_problems_are_reported_at_once_and_only_so_many():
    with pytest.raises(BadRequest) as error:
        read(list[int], ["a"] * 1000)
    assert error.value.problems[1] == ("x[1]", "expected an integer, got string 'a'")
    assert 2 < len(error.value.problems) < 30


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON: "),
        (b"\xff\xfe{", "not JSON"),
        (b'{"x": "\xff"}', "not JSON: byte 7 is not UTF-8"),
        (b'{"x": NaN}', "not JSON: NaN is not a JSON number"),
        (b'{"x": -Infinity}', "not JSON: -Infinity is not a JSON number"),
        (b'{"x": ' + b"9" * 5000 + b"}", "not JSON: "),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "expected an object, got an array"),
        (b'"x"', "expected an object, got string 'x'"),
    ],
)
def test_bodies_that_are_no_json_objects(body, message):
    with pytest.raises(BadRequest) as error:
        decode(signature_of(Any), body)
    ((field, text),) = error.value.problems
    assert field == ""
    assert text.startswith(message)


def test_numbers_that_no_double_holds_are_refused():
    for text in (b"1e999", b"-1e999", b"1" * 400):
        with pytest.raises(BadRequest, match="too large"):
            decode(signature_of(float), b'{"x": %s}' % text)


def test_keyword_and_positional_parameters():
    def predict(a: int, b: int = 2, /, c: int = 3, *, d: int = 4, **rest: float) -> None: ...

    signature = Signature(predict)
    assert decode(signature, b'{"a": 1, "d": 5, "z": 1}') == ([1, 2], {"d": 5, "z": 1.0})
    assert signature.request.definition()["additionalProperties"] == {"type": "number"}


def test_an_empty_body_is_an_empty_object():
    def predict(x: int = 1) -> None: ...

    assert decode(Signature(predict), b" ") == ([], {})


class TestArrays:
    @given(st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=1, max_size=4))
    def test_rectangles_are_read(self, rows):
        array = read(numpy.typing.NDArray[numpy.float64], rows)
        assert array.shape == (len(rows), 3)
        assert array.tolist() == rows

    @settings(deadline=None)
    @given(values, st.sampled_from([numpy.float32, numpy.int8, numpy.bool_, numpy.str_]))
    def test_nothing_else_is_a_failure(self, value, kind):
        accepts(signature_of(numpy.typing.NDArray[kind]), value)

    @pytest.mark.parametrize(
        ("kind", "value", "field", "message"),
        [
            (numpy.float64, [[1, 2], [3]], "x[1]", "expected 2 items like its neighbours, got 1"),
            (numpy.float64, [[1], 2], "x[1]", "expected an array like its neighbours, got number 2"),
            (numpy.float64, [[1], ["a"]], "x[1][0]", "expected one of numbers, got string 'a'"),
            (numpy.uint8, [1, 256], "x[1]", "expected a number from 0 to 255, got number 256"),
            (numpy.int64, [1.5], "x[0]", "expected one of integers, got number 1.5"),
        ],
    )
    def test_problems_name_the_element(self, kind, value, field, message):
        with pytest.raises(BadRequest) as error:
            read(numpy.typing.NDArray[kind], value)
        assert error.value.problems == [(field, message)]

    def test_plain_arrays_and_empty_ones(self):
        assert read(numpy.ndarray, [[1, 2]]).dtype == numpy.float64
        assert read(numpy.typing.NDArray[numpy.int16], [1.0, 2]).tolist() == [1, 2]
        assert read(numpy.ndarray, []).shape == (0,)
        assert read(numpy.ndarray, [[], []]).shape == (2, 0)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (1.5, "1.5"),
        ("ü", '"ü"'),
        ("\ud800", '"\\ud800"'),
        (float("nan"), "null"),
        ([1.0, math.inf], "[1.0,null]"),
        (numpy.float32(0.5), "0.5"),
        (numpy.int64(3), "3"),
        (numpy.array([[1, 2]]), "[[1,2]]"),
        (numpy.array([1.0, numpy.nan]), "[1.0,null]"),
        ({numpy.int64(1): "a", Colour.RED: 2}, '{"1":"a","red":2}'),
        (Point(1.0), '{"x":1.0,"y":0.0,"label":null}'),
        (Colour.BLUE, '"blue"'),
        (Odd.PAIR, '"PAIR"'),
        (Level.HIGH, "2"),
        (Pair(1), '[1,"b"]'),
        (b"hi", '"aGk="'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        ({1}, "[1]"),
        (Person(name="A", age=1), '{"name":"A","age":1,"friends":[]}'),
        ({"a": [Point(math.nan)]}, '{"a":[{"x":null,"y":0.0,"label":null}]}'),
    ],
)
def test_results(result, text):
    assert encode(result) == text.encode()


def test_results_without_a_form_in_json_are_told():
    with pytest.raises(ResultError, match=r"'model' in the result is of the type 'builtins\.object'"):
        encode({"model": object()})
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ResultError, match="contains itself"):
        encode(circle)


@given(values)
def test_results_that_are_json_are_passed_on(value):
    assert json.loads(encode(value)) == value


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (complex, "the type 'complex' cannot be read from JSON (of parameter 'x')"),
        (list[complex], "the type 'complex'"),
        (dict[tuple[int, int], int], "an object's keys cannot be of the type"),
        ("Undefined", "a type hint of 'signature_of.<locals>.call' cannot be resolved"),
    ],
)
def test_hints_without_a_form_in_json_are_errors_at_start(hint, message):
    with pytest.raises(PredictorError) as error:
        signature_of(hint)
    assert message in error.value.message
    assert error.value.hint


def test_star_arguments_are_an_error_at_start():
    def predict(*values: int) -> int: ...

    with pytest.raises(PredictorError, match=r"'\*values'"):
        Signature(predict)


def described(predict: Any, description: str) -> dict[str, Any]:
    endpoint = Endpoint("predict", Signature(predict), description)
    return Desk(Model("trees", "1", (endpoint,), description)).openapi()


def test_the_document_is_whole():
    def predict(tree: Tree, person: Person, when: Annotated[datetime.date, "the day"]) -> list[Point]:
        """Grow.

        And say why."""

    text = described(predict, "Grow.\n\nAnd say why.")
    schemas = text["components"]["schemas"]
    assert {"PredictRequest", "Tree", "Person", "Point", "Error"} <= set(schemas)
    assert schemas["PredictRequest"]["required"] == ["tree", "person", "when"]
    assert schemas["PredictRequest"]["properties"]["when"] == {
        "type": "string",
        "format": "date",
        "description": "the day",
    }
    assert schemas["Tree"]["description"] == "A tree of numbers."
    assert text["paths"]["/predict"]["post"]["summary"] == "Grow."
    names = {ref.rpartition("/")[2] for ref in _references(text)}
    assert names <= set(schemas)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [str(item) if key == "$ref" else ref for key, item in value.items() for ref in ([item] if key == "$ref" else _references(item))]  # fmt: skip
    return [ref for item in value for ref in _references(item)] if isinstance(value, list) else []


def test_invalid_input_is_the_clients_fault():
    from corten_serve import InvalidInput, Predictor
    from corten_serve.protocols.interface import Call
    from corten_serve.worker.handlers import handlers_of
    from corten_serve.worker.output import Output
    from corten_serve.worker.predictor import Loaded

    class Picky(Predictor):
        def predict(self, x: int) -> int:
            raise InvalidInput("x is not to my taste")

    picky = Picky()
    loaded = Loaded("m:Picky", picky, handlers_of(picky, "m:Picky"))
    answering = Answering(loaded, Output(), name="picky", version="0")
    answer = answering.failure(Call("json:predict", "", (), b""), InvalidInput("x is not to my taste"))
    assert (answer.status, json.loads(answer.body)["error"]) == (422, "x is not to my taste")
