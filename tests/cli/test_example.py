from __future__ import annotations

import dataclasses
import enum
import json
import subprocess
from typing import Annotated, Any, Literal

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.cli.example import command, curl, example_path, example_request
from corten_serve import Field
from corten_serve.protocols.codec import decode
from corten_serve.protocols.desk import Desk
from corten_serve.protocols.interface import Endpoint, Model
from corten_serve.schema.signature import Signature
from support.properties import thorough


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclasses.dataclass
class Flower:
    name: str
    petals: int = 5
    parents: list[Flower] = dataclasses.field(default_factory=list)


def made_for(call: Any) -> Any:
    signature = Signature(call)
    described = Desk(Model("x", "0", (Endpoint("predict", signature),))).openapi()
    body = example_request(described)
    decode(signature, json.dumps(body).encode())  # what is shown works
    return body


def test_values_are_plausible():
    def predict(
        sepal_length: Annotated[float, "in cm, such as 5.1"],
        review_text: str,
        colour: Annotated[str, "e.g. 'red'"],
        kind: Literal["setosa", "virginica"],
        size: Size,
        count: int,
        image_url: str | None,
        numbers: list[float],
        flower: Flower,
        pairs: dict[str, tuple[int, str]],
        flag: bool,
        left_out: int = 7,
    ) -> None: ...

    assert made_for(predict) == {
        "sepal_length": 5.1,
        "review_text": "A fine day to ship steel.",
        "colour": "red",
        "kind": "setosa",
        "size": "s",
        "count": 1,
        "image_url": "https://example.com/",
        "numbers": [1.5, 2.5],
        "flower": {"name": "Ada"},
        "pairs": {"key": [1, "text"]},
        "flag": True,
    }


def test_without_required_fields_the_first_ones_are_shown():
    def predict(a: int = 3, b: str = "x", c: float = 0.5, d: int = 1) -> None: ...

    assert made_for(predict) == {"a": 3, "b": "x", "c": 0.5}


def test_nothing_to_send():
    def predict() -> None: ...

    assert made_for(predict) == {}
    assert example_request({}) is None
    assert example_request({"paths": {"/predict": {"post": []}}}) is None


@pytest.mark.parametrize(
    ("schema", "low", "high"),
    [
        ({"type": "integer", "minimum": 18, "maximum": 99}, 18, 99),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.01, 0.99),
        ({"type": "integer", "exclusiveMinimum": 0}, 1, 10**9),
        ({"type": "number", "maximum": -5}, -(10**9), -5),
    ],
)
def test_numbers_stay_within_their_limits(schema, low, high):
    described = _described({"type": "object", "properties": {"x": schema}, "required": ["x"]})
    assert low <= example_request(described)["x"] <= high


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "anyOf",
                    "$ref",
                    "enum",
                    "required",
                    "prefixItems",
                    "minItems",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
)


@thorough(100)
@given(json_values)
def test_any_document_gives_something_or_nothing(schema):
    json.dumps(example_request(_described(schema)))


def test_a_schema_that_refers_to_itself_ends():
    described = _described({"$ref": "#/components/schemas/T"})
    described["components"] = {
        "schemas": {"T": {"properties": {"t": {"$ref": "#/components/schemas/T"}}, "required": ["t"]}}
    }
    assert json.dumps(example_request(described)).count("t") < 20


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20))
def test_the_command_survives_the_shell(text):
    command = curl("http://127.0.0.1:8000", {"text": text}).replace("curl ", "printf '%s\\n' ", 1)
    shown = subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout.decode()
    sent = shown.rstrip("\n").rpartition("\n")[2]
    assert json.loads(sent) == {"text": text}
    assert sent.isprintable(), "nothing that a terminal would obey"


def _described(schema: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"paths": {"/predict": {"post": {"requestBody": {"content": content}}}}}


def test_lengths_are_kept_and_an_image_is_one():
    def predict(
        code: Annotated[str, Field(min_length=9, max_length=10)],
        key: Annotated[str, Field(max_length=2)],
        photo: PIL.Image.Image,
        row: Annotated[list[float], Field(min_length=4, max_length=4)],
    ): ...

    body = made_for(predict)
    assert (len(body["code"]), body["key"], len(body["row"])) == (9, "ke", 4)


def test_the_first_of_several_models_is_shown():
    assert example_path({"paths": {"/cats/predict": {}, "/dogs/predict": {}}}) == "/cats/predict"
    assert example_path({"paths": {"/cats/predict": {}, "/predict": {}}}) == "/predict"
    assert example_path({"paths": {"/$(reboot)/predict": {}, "/\x1b/predict": {}}}) == "/predict"
    assert example_path({}) == "/predict"


def test_the_example_is_in_the_protocol_of_the_tool_that_a_project_was_written_for():
    schemas = {
        "PredictRequest": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        "Input": {"type": "object"},
    }
    predict = {
        "post": {
            "requestBody": {
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}}}
            }
        }
    }
    plain = {"paths": {"/predict": predict}, "components": {"schemas": schemas}}
    number = example_request(plain)["n"]
    assert command("http://h", plain).startswith("curl http://h/predict ")
    cog = {"paths": {"/predict": predict, "/predictions": {}}, "components": {"schemas": schemas}}
    assert command("http://h", cog) == (
        f"""curl http://h/predictions -H 'content-type: application/json' -d '{{"input": {{"n": {number}}}}}'"""
    )
    handler = {"paths": {"/2015-03-31/functions/function/invocations": {}}}
    assert command("http://h", handler) == "curl http://h/"
