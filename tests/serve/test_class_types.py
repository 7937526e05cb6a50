"""Hints of other libraries and of classes: attrs, msgspec, pydantic 1 and 2, generic and recursive types, dates, addresses."""

# ruff: noqa: UP007, UP045 (both spellings of a union are what is tried here)
from __future__ import annotations

import dataclasses
import datetime
import decimal
import ipaddress
import json
import pathlib
import typing
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypedDict, TypeVar, Union

import attrs
import jsonschema
import numpy
import numpy.typing
import pandas
import PIL.Image
import pydantic
import pytest
import typing_extensions

from corten_serve import Field
from corten_serve.errors import PredictorError
from corten_serve.protocols.codec import bind, encode
from corten_serve.protocols.interface import BadRequest
from corten_serve.schema.signature import Signature
from support.desk import Served

msgspec: Any = pytest.importorskip("msgspec")
old: Any = pytest.importorskip("pydantic.v1")

T = TypeVar("T")
U = TypeVar("U")


def signature_of(hint: Any) -> Signature:
    def call(x): ...

    call.__annotations__ = {"x": hint}
    return Signature(call)


def read(hint: Any, value: Any) -> Any:
    """The argument for `value`, which the schema of the hint has to allow."""
    signature = signature_of(hint)
    document = {**signature.request.definition(), "components": {"schemas": signature.definitions()}}
    jsonschema.Draft202012Validator(document).validate({"x": value})
    _, keywords, problems = signature.bind({"x": value})
    assert problems.found == []
    return keywords["x"]


def problems(hint: Any, value: Any) -> list[tuple[str, str]]:
    _, _, found = signature_of(hint).bind({"x": value})
    assert found.found
    return found.found


def written(value: Any) -> Any:
    return json.loads(encode(value))


DAY = datetime.timedelta(days=1)


class TestPlainValues:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("P1DT2H", datetime.timedelta(days=1, hours=2)),
            ("PT0.5S", datetime.timedelta(seconds=0.5)),
            ("-P2W", -14 * DAY),
            ("1 day, 2:03:04.5", datetime.timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
            ("0:00:01", datetime.timedelta(seconds=1)),
            (90, datetime.timedelta(seconds=90)),
            (-0.25, datetime.timedelta(seconds=-0.25)),
        ],
    )
    def test_a_timedelta_is_read_from_iso_8601_python_or_seconds(self, text, expected):
        assert read(datetime.timedelta, text) == expected

    @pytest.mark.parametrize(
        "value", ["P", "PT", "1", "P1Y", "soon", "P٣D", True, None, 1e300, "P999999999D" * 2]
    )
    def test_what_is_no_duration_is_refused(self, value):
        ((field, message),) = problems(datetime.timedelta, value)
        assert field == "x"
        assert message.startswith("expected a duration")

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (datetime.timedelta(), "PT0S"),
            (datetime.timedelta(days=1, hours=2, microseconds=500), "P1DT2H0.0005S"),
            (datetime.timedelta(seconds=-1), "-PT1S"),
            (datetime.timedelta(days=-1, minutes=1), "-PT23H59M"),
        ],
    )
    def test_a_timedelta_is_written_as_iso_8601_and_read_back(self, value, text):
        assert written({"x": value}) == {"x": text}
        assert read(datetime.timedelta, text) == value

    def test_bounds_of_a_timedelta_hold_for_seconds_too(self):
        hint = Annotated[datetime.timedelta, Field(le=DAY)]
        assert read(hint, 60) == datetime.timedelta(minutes=1)
        assert problems(hint, 90_000)
        assert problems(hint, "P2D")

    @pytest.mark.parametrize(
        ("value", "expected"), [(0.1, "0.1"), (3, "3"), (10**30, "1" + "0" * 30), ("1.50", "1.50")]
    )
    def test_a_decimal_is_read_from_a_number_as_it_is_written(self, value, expected):
        result = read(decimal.Decimal, value)
        assert type(result) is decimal.Decimal
        assert str(result) == expected

    def test_a_decimal_keeps_its_digits_where_text_stands_for_it(self):
        def predict(x: Optional[decimal.Decimal] = None) -> str:
            return str(x)

        form = "application/x-www-form-urlencoded"
        answer = Served(predict).answer("json:predict", b"x=0.10000000000000000001", form)
        assert json.loads(answer.body) == "0.10000000000000000001"

    def test_a_number_is_a_float_where_a_union_has_both(self):
        assert type(read(Union[decimal.Decimal, float], 0.5)) is float
        assert type(read(Union[decimal.Decimal, float], "0.5")) is decimal.Decimal
        assert type(read(Union[int, decimal.Decimal], 5)) is int

    @pytest.mark.parametrize(
        ("cls", "text"),
        [
            (ipaddress.IPv4Address, "192.0.2.1"),
            (ipaddress.IPv6Address, "2001:db8::1"),
            (ipaddress.IPv4Network, "192.0.2.0/24"),
            (ipaddress.IPv6Network, "2001:db8::/32"),
            (ipaddress.IPv4Interface, "192.0.2.1/24"),
            (ipaddress.IPv6Interface, "2001:db8::1/32"),
        ],
    )
    def test_addresses_are_read_and_written(self, cls, text):
        assert read(cls, text) == cls(text)
        assert written([cls(text)]) == [text]
        assert problems(cls, "1.2.3")[0][0] == "x"
        assert problems(cls, 1)

    def test_an_address_of_either_version(self):
        hint = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
        assert read(hint, "::1") == ipaddress.IPv6Address("::1")
        assert read(dict[ipaddress.IPv4Address, int], {"192.0.2.1": 1}) == {
            ipaddress.IPv4Address("192.0.2.1"): 1
        }


class TestNumPyAndPandas:
    def test_numpy_booleans_strings_and_dates(self):
        assert type(read(numpy.bool_, True)) is numpy.bool_
        assert problems(numpy.bool_, 1) == [("x", "expected true or false, got number 1")]
        assert read(list[numpy.bool_], [True, False]) == [True, False]
        assert type(read(numpy.str_, "a")) is numpy.str_
        assert read(numpy.datetime64, "2026-01-31T12:00:00.123456789") == numpy.datetime64(
            "2026-01-31T12:00:00.123456789"
        )
        assert problems(numpy.datetime64, "now")

    def test_a_timestamp_and_a_timedelta_of_pandas(self):
        assert read(pandas.Timestamp, "2026-01-31T12:00:00.123456789Z").nanosecond == 789
        assert read(pandas.Timestamp, "2026-01-31") == pandas.Timestamp("2026-01-31")
        assert read(pandas.Timedelta, "PT1H") == pandas.Timedelta(hours=1)
        assert type(read(pandas.Timedelta, 60)) is pandas.Timedelta
        assert written(pandas.Timedelta(hours=1)) == "PT1H"
        for text in ("now", "today", "5", "2026-13-01", "NaT"):
            assert problems(pandas.Timestamp, text)[0][1].startswith("expected a date and time")

    def test_a_series_keeps_its_labels(self):
        assert written(pandas.Series([1, 2])) == [1, 2]
        assert written(pandas.Series({"a": 1, "b": 2})) == {"a": 1, "b": 2}
        assert written(pandas.Series([0.5], index=[101])) == {"101": 0.5}
        assert written({"s": pandas.Series([1], index=pandas.to_datetime(["2026-01-31"]))}) == {
            "s": {"2026-01-31T00:00:00": 1}
        }
        twice = written(pandas.Series([1, 2], index=["a", "a"]))
        assert twice == {"index": ["a", "a"], "data": [1, 2]}
        assert read(pandas.Series, twice).equals(pandas.Series([1, 2], index=["a", "a"]))
        assert read(pandas.Series, {"a": 1}).to_dict() == {"a": 1}
        assert problems(pandas.Series, {"index": ["a"], "data": [1, 2]})[0][0] == "x.index"

    def test_the_schema_of_a_series_says_all_its_forms(self):
        def predict() -> pandas.Series: ...

        schema = Signature(predict).result
        for value in (pandas.Series([1]), pandas.Series({"a": 1}), pandas.Series([1, 2], index=["a", "a"])):
            jsonschema.validate(written(value), schema)

    def test_a_series_is_a_tensor_without_labels(self):
        def predict() -> pandas.Series:
            return pandas.Series({"a": 1.5, "b": 2.5})

        answer = Served(predict).json("v2:infer", {"inputs": []})
        assert answer["outputs"][0]["datatype"] == "FP64"
        assert answer["outputs"][0]["data"] == [1.5, 2.5]

    def test_a_frame_keeps_labels_that_say_something(self):
        frame = pandas.DataFrame({"kind": ["a", "a", "b"], "x": [1, 2, 3]})
        assert written(frame[frame.x > 2]) == [{"kind": "b", "x": 3}]
        assert written(frame.groupby("kind").sum()) == [{"kind": "a", "x": 3}, {"kind": "b", "x": 3}]
        assert written(frame.set_index("kind", drop=False)) == written(frame)
        assert written(frame[["x"]].set_axis(["p", "q", "r"])) == [
            {"index": "p", "x": 1},
            {"index": "q", "x": 2},
            {"index": "r", "x": 3},
        ]

    def test_structured_arrays_keep_their_names(self):
        point = numpy.dtype([("x", "i4"), ("at", [("y", "f8"), ("z", "f8", (2,))])])
        array = numpy.array([(1, (2.5, (3, 4)))], dtype=point)
        assert written(array) == [{"x": 1, "at": {"y": 2.5, "z": [3.0, 4.0]}}]
        assert written(array[0]) == {"x": 1, "at": {"y": 2.5, "z": [3.0, 4.0]}}
        assert written({"rows": array.reshape(1, 1)})["rows"][0][0]["x"] == 1
        assert written(array.view(numpy.recarray))[0]["x"] == 1
        assert written(numpy.zeros((0,), point)) == []

    def test_dates_in_arrays_are_no_bare_numbers(self):
        dates = numpy.array(["2026-01-31T12:00:00.000000001", "NaT"], dtype="datetime64[ns]")
        assert written(dates) == ["2026-01-31T12:00:00.000000001", None]
        assert written(numpy.array([90], dtype="timedelta64[s]")) == ["PT1M30S"]
        assert written(numpy.array([90_000_000_000], dtype="timedelta64[ns]")) == ["PT1M30S"]


@attrs.define
class Point:
    """Where it is."""

    x: int
    _y: float = 0.5
    tags: list[str] = attrs.field(factory=list)
    twice: int = attrs.field(init=False, default=2)


@attrs.define
class Checked:
    age: int = attrs.field(validator=[attrs.validators.instance_of(int), attrs.validators.ge(0)])
    size: float = attrs.field(converter=float, default=1.0)


@attrs.define
class Nested(Generic[T]):
    point: Point
    value: T
    next: Optional[Nested[T]] = None


class TestAttrs:
    def test_a_class_of_attrs_is_an_object_of_its_fields(self):
        assert read(Point, {"x": 1}) == Point(1)
        assert read(Point, {"x": 1, "y": 2, "tags": ["a"]}) == Point(1, 2.0, ["a"])
        assert problems(Point, {"y": 1}) == [("x.x", "missing; expected an integer")]
        assert problems(Point, {"x": 1, "twice": 3})[0][0] == "x.twice"
        assert signature_of(Point).definitions()["Point"]["description"] == "Where it is."
        assert written(Point(1)) == {"x": 1, "y": 0.5, "tags": [], "twice": 2}

    def test_validators_and_converters_of_attrs_run(self):
        assert read(Checked, {"age": 1, "size": "2.5"}) == Checked(1, 2.5)
        assert "must be >= 0" in problems(Checked, {"age": -1})[0][1]

    def test_generic_and_nested_classes_of_attrs(self):
        value = {"point": {"x": 1}, "value": "a", "next": {"point": {"x": 2}, "value": "b"}}
        assert read(Nested[str], value).next.value == "b"
        assert problems(Nested[int], value)[0][0] in ("x.value", "x.next.value")


class Leaf(msgspec.Struct):  # type: ignore[misc]
    value: int
    name: str = "leaf"


class Cat(msgspec.Struct, tag="cat", tag_field="kind"):  # type: ignore[misc,call-arg]
    lives: Annotated[int, msgspec.Meta(le=9)]


class Dog(msgspec.Struct, tag="dog", tag_field="kind", rename="camel"):  # type: ignore[misc,call-arg]
    loud_bark: bool


class Tensors(msgspec.Struct):  # type: ignore[misc]
    rows: numpy.ndarray
    when: datetime.datetime
    leaves: list[Leaf] = msgspec.field(default_factory=list)


class TestMsgspec:
    def test_a_struct_reads_and_writes_itself(self):
        assert read(Leaf, {"value": 1}) == Leaf(1)
        assert read(list[Leaf], [{"value": 1, "name": "a"}]) == [Leaf(1, "a")]
        assert problems(Leaf, {"value": "a"}) == [("x.value", "expected 'int', got 'str'")]
        assert problems(list[Leaf], [{"value": 1}, {}])[0][0] == "x[1]"
        assert written({"leaf": Leaf(1)}) == {"leaf": {"value": 1, "name": "leaf"}}
        assert written([Dog(True)]) == [{"kind": "dog", "loudBark": True}]

    def test_tags_of_structs_choose_among_a_union(self):
        hint = Union[Cat, Dog]
        assert read(hint, {"kind": "dog", "loudBark": True}) == Dog(True)
        assert problems(hint, {"kind": "cat", "lives": 10})[0][0] == "x.lives"
        assert problems(hint, {"kind": "cow"}) == [
            ("x.kind", "expected one of 'cat', 'dog', got string 'cow'")
        ]

    def test_a_struct_may_hold_arrays(self):
        value = {"rows": [[1, 2]], "when": "2026-01-31T12:00:00Z", "leaves": [{"value": 3}]}
        result = read(Tensors, value)
        assert result.rows.shape == (1, 2)
        assert result.leaves == [Leaf(3)]
        assert problems(Tensors, {**value, "rows": [[1], "a"]})[0][0] == "x.rows"
        assert written(result)["rows"] == [[1.0, 2.0]]


@dataclasses.dataclass
class Box(Generic[T]):
    item: T
    more: list[T] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Labelled(Box[int], Generic[T]):
    label: Optional[T] = None


class Keyed(TypedDict, Generic[T]):
    key: T
    often: int


class Span(NamedTuple):
    start: int
    end: int = 9
    name: str = "all"


Json = Union[None, bool, int, float, str, list["Json"], dict[str, "Json"]]
Tree = typing_extensions.TypeAliasType("Tree", "dict[str, Union[int, Tree]]")
Pair = typing_extensions.TypeAliasType("Pair", tuple[T, T], type_params=(T,))
Endless = typing_extensions.TypeAliasType("Endless", "Union[int, Endless]")


class TestGenericAndRecursive:
    def test_generic_dataclasses_know_their_arguments(self):
        assert read(Box[int], {"item": 1, "more": [2]}) == Box(1, [2])
        assert read(Box[Box[str]], {"item": {"item": "a"}}) == Box(Box("a"))
        assert problems(Box[int], {"item": "a"}) == [("x.item", "expected an integer, got string 'a'")]
        assert read(Box, {"item": "anything"}) == Box("anything")
        assert set(signature_of(Box[int]).definitions()) == {"Box_int_"}

    def test_two_arguments_of_one_class_are_two_schemas(self):
        def predict(a: Box[int], b: Box[str]): ...

        definitions = Signature(predict).definitions()
        assert definitions["Box_int_"]["properties"]["item"] == {"type": "integer"}
        assert definitions["Box_str_"]["properties"]["item"] == {"type": "string"}

    def test_a_type_variable_means_what_each_class_says(self):
        assert read(Labelled[str], {"item": 1, "label": "a"}) == Labelled(1, [], "a")
        assert problems(Labelled[str], {"item": "a"})[0][0] == "x.item"
        assert read(Keyed[str], {"key": "a", "often": 1}) == {"key": "a", "often": 1}
        assert problems(Keyed[int], {"key": "a", "often": 1})[0][0] == "x.key"

    def test_recursive_aliases(self):
        value = {"a": [1, "b", {"c": None}]}
        assert read(Json, value) == value
        assert read(Tree, {"a": {"b": 1}}) == {"a": {"b": 1}}
        assert problems(Tree, {"a": {"b": "c"}})[0][0].startswith("x.a")
        assert read(Pair[int], [1, 2]) == (1, 2)
        assert problems(Pair[int], [1, "a"])[0][0] == "x[1]"
        assert problems(list[Tree], 1)

    def test_an_alias_of_nothing_but_itself_is_refused_at_start(self):
        with pytest.raises(PredictorError, match="nothing but itself"):
            signature_of(Endless)

    def test_an_endless_value_of_a_recursive_type_is_refused(self):
        deep: Any = 1
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(BadRequest, match="nested too deeply"):
            bind(signature_of(Json), {"x": deep})

    def test_defaults_of_named_tuples(self):
        assert read(Span, [1]) == Span(1, 9, "all")
        assert read(Span, [1, 2]) == Span(1, 2, "all")
        assert read(Span, [1, 2, "a"]) == Span(1, 2, "a")
        assert problems(Span, []) == [("x", "expected an array of 1 to 3 items, got an empty array")]
        assert problems(Span, [1, 2, "a", 4])
        assert problems(Span, [1, "a"])[0][0] == "x[1]"


@dataclasses.dataclass
class Circle:
    kind: Literal["circle"]
    radius: float


@dataclasses.dataclass
class Square:
    kind: Literal["square"]
    side: float
    colour: str = "red"


class Wide(pydantic.BaseModel):
    kind: Literal["wide"] = "wide"
    width: float


class Tall(pydantic.BaseModel):
    kind: Literal["tall"]
    height: float
    a: int
    b: int


class TestDiscriminatedUnions:
    @pytest.mark.parametrize(
        "hint", [Union[Circle, Square], Union[Square, Circle], Annotated[Union[Circle, Square], "a shape"]]
    )
    def test_the_variant_that_is_named_is_blamed(self, hint):
        assert read(hint, {"kind": "square", "side": 1}) == Square("square", 1.0)
        assert problems(hint, {"kind": "square", "side": "a", "colour": 3, "radius": 1}) == [
            ("x.side", "expected a number, got string 'a'"),
            ("x.colour", "expected a string, got number 3"),
            ("x.radius", "unknown field; expected kind, side, colour"),
        ]
        ((field, message),) = problems(hint, {"kind": "oval", "radius": 1})
        assert field == "x.kind"
        assert "'circle'" in message
        assert "'square'" in message
        assert "got string 'oval'" in message
        assert problems(hint, {"radius": 1}) == [("x.kind", "missing; expected one of 'circle'")]

    def test_models_of_pydantic_are_told_apart_too(self):
        hint = Annotated[Union[Wide, Tall], pydantic.Field(discriminator="kind")]
        assert read(hint, {"kind": "tall", "height": 1, "a": 1, "b": 2}).height == 1
        assert [field for field, _ in problems(hint, {"kind": "tall"})] == ["x.height", "x.a", "x.b"]
        assert problems(hint, {"width": 1.5, "kind": "low"})[0][0] == "x.kind"
        assert problems(hint, {"height": 1})[0] == ("x.kind", "missing; expected one of 'wide', 'tall'")

    def test_alternatives_without_a_tag_are_tried_as_before(self):
        hint = Union[Circle, dict[str, int]]
        assert read(hint, {"a": 1}) == {"a": 1}
        assert problems(hint, {"a": "b"})


class Measured(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    rows: numpy.typing.NDArray[numpy.float32] = pydantic.Field(description="What was measured.")
    mask: Optional[numpy.ndarray] = None
    several: list[numpy.ndarray] = []
    table: Optional[pandas.DataFrame] = pydantic.Field(None, alias="frame")
    picture: Optional[PIL.Image.Image] = None
    name: str = "m"


class Holder(pydantic.BaseModel):
    measured: list[Measured]
    count: int = 1


class Parsed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    rows: numpy.ndarray

    @pydantic.field_validator("rows", mode="before")
    @classmethod
    def split(cls, value: Any) -> Any:
        return numpy.array([float(each) for each in value.split(",")]) if isinstance(value, str) else value


class TestModelsWithArrays:
    def test_arrays_frames_and_images_are_fields_of_models(self):
        result = read(Measured, {"rows": [[1, 2]], "several": [[1], [2, 3]], "frame": [{"a": 1}]})
        assert result.rows.dtype == numpy.float32
        assert [each.shape for each in result.several] == [(1,), (2,)]
        assert result.table.a[0] == 1
        assert problems(Measured, {"rows": [[1], [2, 3]]})[0][0] == "x.rows[1]"
        assert problems(Measured, {"rows": [1], "name": 3})[0][0] == "x.name"
        schema = signature_of(Measured).definitions()["Measured"]["properties"]
        assert schema["rows"]["format"] == "ndarray-float32"
        assert schema["rows"]["description"] == "What was measured."

    def test_models_within_models_have_arrays_too(self):
        result = read(Holder, {"measured": [{"rows": [1]}]})
        assert result.measured[0].rows.tolist() == [1.0]
        assert problems(Holder, {"measured": [{"rows": ["a"]}]})[0][0] == "x.measured[0].rows[0]"

    def test_results_with_arrays_are_written(self):
        model = Measured(rows=numpy.array([1.5], dtype="float32"), frame=pandas.DataFrame({"a": [1]}))
        assert written(model)["rows"] == [1.5]
        assert written([model])[0]["frame"] == [{"a": 1}]

    def test_a_validator_of_the_model_reads_its_field_alone(self):
        assert read(Parsed, {"rows": "1,2"}).rows.tolist() == [1.0, 2.0]


class Old(old.BaseModel):  # type: ignore[misc]
    class Config:
        arbitrary_types_allowed = True
        allow_population_by_field_name = True

    name: str
    age: int = old.Field(0, ge=0, alias="years")
    pair: Optional[tuple[int, str]] = None

    @old.validator("name")
    def upper(cls, value: str) -> str:
        if not value:
            raise ValueError("the name is empty")
        return value.upper()


class OldFamily(old.BaseModel):  # type: ignore[misc]
    members: list[Old]


class OldArrays(old.BaseModel):  # type: ignore[misc]
    class Config:
        arbitrary_types_allowed = True

    rows: numpy.ndarray
    label: str = "a"
    kind: Literal["arrays"] = "arrays"


class OldOther(old.BaseModel):  # type: ignore[misc]
    kind: Literal["other"]
    size: int


class TestPydantic1:
    def test_a_model_of_pydantic_1_validates_itself(self):
        result = read(Old, {"name": "ada", "years": 36})
        assert (result.name, result.age) == ("ADA", 36)
        assert problems(Old, {"name": "", "years": -1}) == [
            ("x.name", "the name is empty"),
            ("x.years", "ensure this value is greater than or equal to 0"),
        ]
        assert problems(Old, 3)[0][0] == "x"
        assert written(result) == {"name": "ADA", "years": 36, "pair": None}

    def test_models_of_pydantic_1_have_schemas(self):
        definitions = signature_of(OldFamily).definitions()
        assert set(definitions) == {"Old", "OldFamily"}
        assert definitions["OldFamily"]["properties"]["members"]["items"]["$ref"].endswith("/Old")
        assert read(OldFamily, {"members": [{"name": "a", "pair": [1, "b"]}]}).members[0].pair == (1, "b")
        assert problems(OldFamily, {"members": [{}]})[0][0] == "x.members[0].name"

    def test_models_of_pydantic_1_hold_arrays(self):
        result = read(OldArrays, {"rows": [[1, 2]]})
        assert result.rows.shape == (1, 2)
        assert written(result) == {"rows": [[1.0, 2.0]], "label": "a", "kind": "arrays"}
        schema = signature_of(OldArrays).definitions()["OldArrays"]
        assert schema["required"] == ["rows"]
        assert schema["properties"]["rows"]["format"] == "ndarray-float64"
        assert schema["properties"]["label"]["type"] == "string"
        union = Union[OldArrays, OldOther]
        assert problems(union, {"kind": "other"}) == [("x.size", "field required")]
        assert problems(union, {"kind": "none"})[0][0] == "x.kind"
        assert problems(OldArrays, {"rows": "a"})[0][0] == "x.rows"

    def test_fields_of_pydantic_1_are_constraints(self):
        assert problems(Annotated[int, old.Field(ge=3)], 2)
        assert problems(Annotated[str, old.Field(regex="a+$")], "ba")
        assert read(Annotated[str, old.Field(regex="a+$")], "aa") == "aa"


class TestPathResults:
    def served(self, path: pathlib.Path) -> Served:
        def predict(nested: bool = False):
            return {"path": path} if nested else path

        return Served(predict)

    def test_a_path_without_a_hint_is_the_file(self, tmp_path: pathlib.Path):
        file = tmp_path / "chart.png"
        file.write_bytes(b"\x89PNG")
        served = self.served(file)
        answer = served.answer("json:predict", {}, "application/json", "*/*")
        assert (answer.type, answer.body) == ("image/png", b"\x89PNG")
        assert served.json("json:predict", {}, "application/json", "application/json") == "iVBORw=="
        assert served.json("json:predict", {"nested": True}) == {"path": str(file)}


def test_attributes_of_typing_are_no_scope():
    def predict(x: typing.Union[int, list[int]]): ...

    assert Signature(predict).bind({"x": [1]})[1] == {"x": [1]}
