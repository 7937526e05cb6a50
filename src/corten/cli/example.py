"""An example request made from an OpenAPI document: pure, and the same for the same document."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from corten.lazy import regex

_DEEPEST = 6
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
"""A PNG of one pixel."""
_HANDLER = "/2015-03-31/functions/function/invocations"
"""The path that the server of a handler of Lambda has, whose other paths are the handler's own."""
_SPOKEN = regex(
    r"(?:\be\.?g\.?|\bfor example|\bsuch as|\blike|\bexample)[\s,:]+(?P<quote>['\"`])(?P<text>[^'\"`]{1,80})(?P=quote)"
    r"|(?:\be\.?g\.?|\bfor example|\bsuch as|\bexample)[\s,:]+(?P<number>-?[0-9]+(?:\.[0-9]+)?)\b",
    re.IGNORECASE,
)
_FORMATS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:30:00",
    "uuid": "12345678-1234-5678-1234-567812345678",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "decimal": "1.50",
}
_NAMES = (
    (("url", "uri", "link"), "https://example.com/"),
    (("email", "mail"), "ada@example.com"),
    (
        ("text", "sentence", "prompt", "query", "question", "message", "review", "comment"),
        "A fine day to ship steel.",
    ),
    (("language", "lang"), "en"),
    (("country",), "NL"),
    (("city",), "Utrecht"),
    (("name", "title"), "Ada"),
)


def example_path(document: Mapping[str, Any]) -> str:
    """`/predict`, or the first model's where there are several: `/cats/predict`. It is safe in a shell, whatever the document."""
    paths = [
        path for path in _at(document, "paths") if re.fullmatch(r"/(?:[a-z0-9-]{1,63}/)?predict", str(path))
    ]
    return "/predict" if "/predict" in paths or not paths else paths[0]


def example_request(document: Mapping[str, Any], path: str = "/predict") -> Any:
    """A plausible body for `POST path`: required fields, or the first few where none is. None when it takes none."""
    schemas = _at(document, "components", "schemas")
    schema = _at(document, "paths", path, "post", "requestBody", "content", "application/json", "schema")
    return _value(schema, schemas, "", 0) if schema else None


def curl(url: str, body: Any, path: str = "/predict") -> str:
    """A command for a shell that sends `body` as JSON."""
    text = json.dumps(body, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(body)  # The document is the project's; a terminal shows it and must not obey it.
    return f"curl {url}{path} -H 'content-type: application/json' -d {shlex.quote(text)}"


def command(url: str, document: Mapping[str, Any]) -> str:
    """A command for a shell that asks the server at `url` something plausible: in the protocol of the tool that the project was written
    for, or in Corten's own."""
    path = example_path(document)
    paths = _at(document, "paths")
    if _HANDLER in paths and path not in paths:
        return f"curl {url}/"
    body = example_request(document, path) or {}
    if "/predictions" in paths and "Input" in _at(document, "components", "schemas"):
        return curl(url, {"input": body}, "/predictions")
    return curl(url, body, path)


def _at(document: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}


def _value(schema: Any, schemas: Mapping[str, Any], name: str, depth: int) -> Any:
    if not isinstance(schema, Mapping):
        return None
    for key in ("examples", "enum"):
        listed = schema.get(key)
        if isinstance(listed, list) and listed:
            return listed[0]
    for key in ("example", "default", "const"):
        if schema.get(key) is not None:
            return schema[key]
    spoken = _spoken(schema)
    if spoken is not None:
        return spoken
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return (
            _value(schemas.get(reference.rpartition("/")[2]), schemas, name, depth + 1)
            if depth < _DEEPEST
            else {}
        )
    for key in ("anyOf", "oneOf", "allOf"):
        options = schema.get(key)
        if isinstance(options, list) and options:
            chosen = [option for option in options if option != {"type": "null"}] or options
            return _value(chosen[0], schemas, name, depth + 1) if depth < _DEEPEST else None
    return _of_type(_type(schema), schema, schemas, name, depth)


def _type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "string"


def _of_type(kind: str, schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str, depth: int) -> Any:
    if kind == "object":
        return _object(schema, schemas, depth)
    if kind == "array":
        return _array(schema, schemas, name, depth)
    if kind in ("number", "integer"):
        return _number(schema, whole=kind == "integer")
    if kind == "boolean":
        return True
    return None if kind == "null" else _string(schema, name)


def _object(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = _at(schema, "properties")
    required = schema.get("required")
    names = [name for name in properties if isinstance(required, list) and name in required]
    if not names and depth <= 1:
        names = list(properties)[:3]
    if depth >= _DEEPEST:
        return {}
    values = {name: _value(properties[name], schemas, name, depth + 1) for name in names}
    extra = schema.get("additionalProperties")
    if not properties and isinstance(extra, Mapping):
        values["key"] = _value(extra, schemas, "", depth + 1)
    return values


def _array(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str, depth: int) -> list[Any]:
    if depth >= _DEEPEST:
        return []
    places = schema.get("prefixItems")
    if isinstance(places, list):
        return [_value(place, schemas, name, depth + 1) for place in places]
    items = schema.get("items")
    if not items:
        return []
    item = _value(items, schemas, name.removesuffix("s"), depth + 1)
    least = schema.get("minItems")
    count = min(least, 10) if isinstance(least, int) and least > 0 else 1
    if count == 1 and isinstance(item, (int, float)) and not isinstance(item, bool):
        # One number looks like a mistake where a list is meant.
        return (
            [item, item + 1]
            if schema.get("maxItems") != 1 and "maximum" not in _at(schema, "items")
            else [item]
        )
    return [item] * count


def _number(schema: Mapping[str, Any], whole: bool) -> float | int:
    low = _bound(schema, "minimum", "exclusiveMinimum", 1)
    high = _bound(schema, "maximum", "exclusiveMaximum", -1)
    value: float = 1 if whole else 1.5
    if low is not None and value < low:
        value = low
    if high is not None and value > high:
        value = high if low is None else (low + high) / 2
    return int(value) if whole else float(value)


def _bound(schema: Mapping[str, Any], closed: str, open_: str, inward: int) -> float | None:
    limit = schema.get(closed)
    if isinstance(limit, (int, float)):
        return limit
    limit = schema.get(open_)
    if not isinstance(limit, (int, float)) or isinstance(limit, bool):
        return None
    return limit + inward if schema.get("type") == "integer" else limit + inward * 0.5


def _string(schema: Mapping[str, Any], name: str) -> str:
    if schema.get("contentEncoding") == "base64":
        return _PIXEL if str(schema.get("contentMediaType")).startswith("image/") else "aGVsbG8="
    formatted = _FORMATS.get(str(schema.get("format")))
    if formatted is not None:
        return formatted
    words = set(re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))
    found = next((value for keys, value in _NAMES if words & set(keys)), name.replace("_", " ") or "text")
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int) and len(found) < least <= 1000:
        found = (found * (least // len(found) + 1))[:least]
    return found[:most] if isinstance(most, int) and most >= 0 else found


def _spoken(schema: Mapping[str, Any]) -> Any:
    """The example that a description gives in words: "such as 5.1", "e.g. 'red'"."""
    description = schema.get("description")
    match = _SPOKEN.search(description) if isinstance(description, str) else None
    kind = _type(schema)
    if match is None:
        return None
    if match["number"] is not None and kind in ("number", "integer"):
        number = float(match["number"])
        return int(number) if kind == "integer" else number
    return match["text"] if kind == "string" else None
