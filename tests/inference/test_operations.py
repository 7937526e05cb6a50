"""Requests from words, by what a server's document says. No server is needed."""

from __future__ import annotations

import pytest

from corten.errors import UsageError
from corten.inference.operations import body_of, chosen, operations

SCHEMAS = {
    "PredictRequest": {
        "type": "object",
        "additionalProperties": False,
        "required": ["text"],
        "properties": {
            "text": {"type": "string"},
            "times": {"type": "integer"},
            "scale": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "flag": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "string", "contentEncoding": "base64"},
            "kind": {"$ref": "#/components/schemas/Kind"},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "extra": {},
            "self": {"$ref": "#/components/schemas/Loop"},
        },
    },
    "Kind": {"enum": ["1", "two"]},
    "Loop": {"$ref": "#/components/schemas/Loop"},
}


def document(*paths: str, tags: list[str] | None = None) -> dict[str, object]:
    post = {
        "requestBody": {
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}}}
        }
    }
    if tags:
        post["tags"] = tags
    return {"paths": {path: {"post": post} for path in paths}, "components": {"schemas": SCHEMAS}}


OPERATION = chosen(document("/predict"), None)


def read(path: str) -> bytes:
    return {"a.json": b'{"text": "from a file", "times": 3}', "a.bin": b"\xff\x00", "a.txt": b"hello\n"}[path]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("text=123", {"text": "123"}),
        ("text=a=b", {"text": "a=b"}),
        ("times=12", {"times": 12}),
        ("times=1.5", {"times": "1.5"}),
        ("scale=2", {"scale": 2}),
        ("scale=1e3", {"scale": 1000.0}),
        ("scale=null", {"scale": None}),
        ("flag=True", {"flag": True}),
        ("tags=1,2, 3", {"tags": [1, 2, 3]}),
        ("tags=[1]", {"tags": [1]}),
        ("data=hi", {"data": "aGk="}),
        ("data=@a.bin", {"data": "/wA="}),
        ("text=@a.txt", {"text": "hello\n"}),
        ("kind=1", {"kind": "1"}),
        ("either=5", {"either": 5}),
        ("extra=[1, {}]", {"extra": [1, {}]}),
        ("extra=word", {"extra": "word"}),
        ("text:=5", {"text": 5}),
        ("self=x", {"self": "x"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_word_is_read_as_its_field_asks(word, expected):
    assert body_of([word], OPERATION, read) == expected


def test_a_file_gives_the_fields_that_are_not_written():
    assert body_of(["@a.json", "times=5"], OPERATION, read) == {"text": "from a file", "times": 5}
    assert body_of(["times=5", "@a.json"], OPERATION, read) == {"text": "from a file", "times": 5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["txt=1"], "there is no field 'txt'"),
        (["word"], "'word' is neither FIELD=VALUE nor @FILE"),
        (["text:={"], "'text' is not JSON"),
        (["@a.txt"], "'a.txt' is not JSON"),
        (["text=@a.bin"], "'a.bin' is not UTF-8"),
        (["=x"], "neither FIELD=VALUE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_words(words, message):
    with pytest.raises(UsageError, match=message):
        body_of(words, OPERATION, read)


def test_the_prediction_that_is_meant():
    several = document("/a/predict", "/b/predict", tags=["predict"])
    assert chosen(several, "b").path == "/b/predict"
    assert chosen(several, "/b/predict").path == "/b/predict"
    assert chosen(document("/predict", "/rank"), None).path == "/predict"
    with pytest.raises(UsageError, match="several"):
        chosen(several, None)
    with pytest.raises(UsageError, match="no prediction '/c'"):
        chosen(several, "c")


@pytest.mark.parametrize(
    "odd", [None, 3, [], {"paths": 3}, {"paths": {"/x": {"post": []}}}, {"components": 1}]
)
def test_a_document_that_is_none_has_no_predictions(odd):
    assert operations(odd) == {}
    with pytest.raises(UsageError):
        chosen(odd, None)
