"""What a model server can be asked, from its OpenAPI document, and a request's body from words: pure."""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from corten.errors import UsageError
from corten.values import dataclass

_JSON = "application/json"
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Operation:
    """A prediction: where it is posted, the JSON schema of its body, and the schemas that this one refers to."""

    path: str
    schema: Mapping[str, Any]
    schemas: Mapping[str, Any]

    @property
    def fields(self) -> Mapping[str, Any]:
        """The schema of each field by its name; empty where it takes none, or any."""
        found = self.resolved(self.schema).get("properties")
        return found if isinstance(found, Mapping) else {}

    @property
    def open(self) -> bool:
        """Whether fields are taken that are not named."""
        return bool(self.resolved(self.schema).get("additionalProperties", not self.fields))

    def resolved(self, schema: Any) -> Mapping[str, Any]:
        """`schema`, or what it refers to."""
        for _ in range(_DEEPEST):
            if not isinstance(schema, Mapping):
                return {}
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema
            schema = self.schemas.get(reference.rpartition("/")[2])
        return {}


def operations(document: Any) -> dict[str, Operation]:
    """The predictions that an OpenAPI document has, by path: what is posted as JSON, is tagged `predict`, or, in documents
    without tags, everything posted. The document is not trusted to be one."""
    paths = document.get("paths") if isinstance(document, Mapping) else None
    schemas = _at(document, "components", "schemas")
    found: dict[str, tuple[Operation, Any]] = {}
    for path, item in paths.items() if isinstance(paths, Mapping) else ():
        post = item.get("post") if isinstance(item, Mapping) else None
        schema = _at(post, "requestBody", "content", _JSON, "schema")
        # What does not begin so could change the host that is asked.
        if schema and isinstance(path, str) and path.startswith("/"):
            found[path] = (Operation(path, schema, schemas), _tags(post))
    tagged = {path: operation for path, (operation, tags) in found.items() if "predict" in tags}
    return tagged or {path: operation for path, (operation, _) in found.items()}


def chosen(document: Any, endpoint: str | None) -> Operation:
    """The operation called `endpoint` (`/rank`, or `rank`), by default `/predict` or the only one. Raises UsageError."""
    found = operations(document)
    if endpoint is None and len(found) == 1:
        return next(iter(found.values()))
    wanted = "/" + (endpoint or "predict").strip("/")
    for path in (wanted, f"{wanted}/predict"):
        if path in found:
            return found[path]
    listed = ", ".join(sorted(found)) or "nothing that takes JSON"
    if endpoint is None:
        raise UsageError("the server has several predictions", hint=f"choose one with --endpoint: {listed}")
    raise UsageError(f"the server has no prediction '{wanted}'", hint=f"it has {listed}")


def body_of(words: Iterable[str], operation: Operation, read: Callable[[str], bytes]) -> Any:
    """The request that `words` spell. Each is `FIELD=VALUE`, read as the field's type asks for, so that a text of digits stays
    a text; `FIELD=@FILE`, the file's content (base64 where the field holds bytes); `FIELD:=JSON`; or `@FILE`, a JSON document
    that is the request, or the fields that are not written. `read` gives a file's content. Raises UsageError."""
    body: Any = {}
    for word in words:
        if word.startswith("@"):
            document = parsed(read(word[1:]), f"'{word[1:]}'")
            if not isinstance(document, dict):
                if body:
                    raise UsageError(f"'{word[1:]}' is no JSON object, so it cannot have more fields")
                body = document
                continue
            body = {**document, **body} if isinstance(body, dict) else document
            continue
        name, mark, value = word.partition("=")
        if not mark or not name:
            raise UsageError(f"'{word[:60]}' is neither FIELD=VALUE nor @FILE", hint="as in: text=hello")
        if not isinstance(body, dict):
            raise UsageError(
                "a request that is no JSON object has no fields", hint="write all of it in the file"
            )
        raw = name.endswith(":")
        name = name.removesuffix(":")
        schema = _field(name, operation)
        body[name] = (
            parsed(value.encode(), f"'{name}'") if raw else _value(name, value, schema, operation, read)
        )
    return body


def parsed(data: bytes, what: str) -> Any:
    """The JSON document in `data`. Raises UsageError."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not JSON: {str(error)[:100]}") from error


def typed(text: str, schema: Any, operation: Operation) -> Any:
    """`text` as the value that `schema` asks for; itself where it is a text, or fits nothing: the server says what is wrong."""
    for kind, option in _kinds(schema, operation):
        if kind == "null" and text in ("", "null"):
            return None
        if kind == "boolean" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind in ("integer", "number"):
            try:
                return int(text) if kind == "integer" or text.lstrip("+-").isdigit() else float(text)
            except ValueError:
                continue
        if kind in ("array", "object") and text.lstrip()[:1] in ("[", "{"):
            try:
                return json.loads(text)
            except ValueError:
                continue
        if kind == "array" and text:
            items = operation.resolved(option.get("items"))
            return [typed(item.strip(), items, operation) for item in text.split(",")]
        if kind == "any":
            try:
                return json.loads(text)
            except ValueError:
                return text
    return text


def _value(name: str, text: str, schema: Any, operation: Operation, read: Callable[[str], bytes]) -> Any:
    if not text.startswith("@"):
        if _is_binary(schema, operation):
            return base64.b64encode(text.encode()).decode()
        return typed(text, schema, operation)
    data = read(text[1:])
    if _is_binary(schema, operation):
        return base64.b64encode(data).decode()
    if any(kind == "string" for kind, _ in _kinds(schema, operation)):
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"'{text[1:]}' is not UTF-8, and '{name}' is a text") from error
    return parsed(data, f"'{text[1:]}'")


def _field(name: str, operation: Operation) -> Any:
    fields = operation.fields
    if name in fields:
        return fields[name]
    if operation.open:
        return {}
    close = difflib.get_close_matches(name, list(fields), 1)
    listed = ", ".join(fields) if fields else "none at all"
    hint = f"did you mean '{close[0]}'?" if close else f"the fields are: {listed}"
    raise UsageError(f"there is no field '{name}'", hint=hint)


def _kinds(schema: Any, operation: Operation, depth: int = 0) -> list[tuple[str, Mapping[str, Any]]]:
    """The types that `schema` allows, numbers before texts, each with its own schema."""
    schema = operation.resolved(schema)
    if depth > _DEEPEST:
        return []
    found: list[tuple[str, Mapping[str, Any]]] = []
    for key in ("anyOf", "oneOf", "allOf"):
        options = schema.get(key)
        for option in options if isinstance(options, list) else ():
            found += _kinds(option, operation, depth + 1)
    kind = schema.get("type")
    found += [
        (item, schema) for item in (kind if isinstance(kind, list) else [kind]) if isinstance(item, str)
    ]
    if not found and isinstance(schema.get("enum"), list):
        found = [("any" if any(not isinstance(item, str) for item in schema["enum"]) else "string", schema)]
    if not found and "const" in schema:
        found = [("string" if isinstance(schema["const"], str) else "any", schema)]
    order = ("null", "boolean", "integer", "number", "array", "object", "any", "string")
    return sorted(
        found or [("any", schema)], key=lambda item: order.index(item[0]) if item[0] in order else 9
    )


def _is_binary(schema: Any, operation: Operation) -> bool:
    return any(option.get("contentEncoding") == "base64" for _, option in _kinds(schema, operation))


def _at(document: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}


def _tags(post: Any) -> list[str]:
    tags = post.get("tags") if isinstance(post, Mapping) else None
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
