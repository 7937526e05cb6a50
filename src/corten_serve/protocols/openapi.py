"""The OpenAPI 3.1 document of a model (spec.openapis.org/oas/v3.1.0): from the same kinds that read its requests, and from
what each protocol says of its paths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from corten_serve.protocols.interface import JSON, Model
from corten_serve.schema.kinds import Schema

if TYPE_CHECKING:
    from typing import TypeAlias

Document: TypeAlias = "dict[str, Any]"
_REFERENCE = "#/components/schemas/"
BINARY: Schema = {"type": "string", "format": "binary"}
ERROR: Schema = {
    "type": "object",
    "description": "Why a request was not answered: one sentence, and every problem with its field where there are any.",
    "properties": {
        "error": {"type": "string"},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        },
        "truncated": {"type": "boolean", "description": "whether there are more problems than these"},
    },
    "required": ["error"],
}
_FAILURES = {
    "400": "the request cannot be read",
    "406": "the result cannot be had in a form that `Accept` allows",
    "408": "the body took too long to arrive",
    "413": "the body is larger than the server accepts",
    "415": "the content type is not one of those here",
    "422": "the request does not fit the schema",
    "500": "the predictor raised an error",
    "502": "the worker died while it was working on this request",
    "503": "the queue is full or the predictor is not available; `Retry-After` says when to come back",
    "504": "the prediction took longer than it may",
}
METRICS: Document = {
    kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")
}
"""What Prometheus reads."""
PREDICTING = ("400", "408", "413", "500", "502", "503", "504")
"""The failures that every prediction can have."""


def ref(name: str) -> Schema:
    """A reference to the shared schema `name`."""
    return {"$ref": _REFERENCE + name}


def content(schema: Schema, kind: str = JSON) -> Document:
    """One content type with its schema."""
    return {kind: {"schema": schema}}


def operation(
    identity: str,
    tag: str,
    summary: str,
    answers: Document,
    failures: Sequence[str],
    request: Document | None = None,
    required: bool = True,
    description: str = "",
    parameters: Sequence[Document] = (),
) -> Document:
    """One operation. `answers` are the content types of 200; each of `failures` is an Error."""
    result: Document = {"operationId": identity, "tags": [tag], "summary": summary}
    if description:
        result["description"] = description
    if parameters:
        result["parameters"] = list(parameters)
    if request is not None:
        result["requestBody"] = {"required": required, "content": request}
    result["responses"] = {
        "200": {"description": "The answer", "content": answers},
        **{
            code: {"description": _FAILURES[code], "content": content(ref("Error"))}
            for code in sorted(failures)
        },
    }
    return {key: value for key, value in result.items() if value != ""}


def probe(identity: str, tag: str, summary: str, unready: bool, answer: Schema | None = None) -> Document:
    """A GET that tells a state or a fact; with `unready` it is 503 while the model cannot answer."""
    result = operation(
        identity, tag, summary, content(answer or {"type": "object"}), ("503",) if unready else ()
    )
    if unready:
        result["responses"]["503"]["description"] = "not ready"
    return {"get": result}


def assembled(model: Model, paths: Document, schemas: Mapping[str, Schema]) -> Document:
    """The whole document. Where a server has several models, names of schemas and operations begin with the model's, so
    that the documents of all of them can be put together."""
    body: Document = {
        "paths": {
            **paths,
            "/livez": probe("livez", "server", "Whether the server runs", False),
            "/status": probe("status", "server", "What the server is doing", False),
            "/metrics": {"get": operation("metrics", "server", "What the server has done", METRICS, ())},
            "/readyz": probe("readyz", "server", "Whether a prediction can be made now", True),
        },
        "components": {"schemas": {**schemas, "Error": ERROR}},
    }
    if model.prefix:
        body = _prefixed(body, f"{model.name}.")
    info: Document = {"title": model.name, "version": model.version}
    if model.description:
        info["description"] = model.description
    return {"openapi": "3.1.0", "info": info, **body}


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with references to the schemas `names` changed."""
    if isinstance(value, dict):
        return {key: renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    if isinstance(value, str) and value.startswith(_REFERENCE):
        name = value[len(_REFERENCE) :]
        return _REFERENCE + names.get(name, name)
    return value


def rendered(document: Document) -> bytes:
    """The document as JSON in UTF-8."""
    return json.dumps(document, indent=1, ensure_ascii=False, default=str).encode(errors="replace")


def _prefixed(body: Document, prefix: str) -> Document:
    schemas = body["components"]["schemas"]
    names = {name: name if name == "Error" else prefix + name for name in schemas}
    body = renamed(body, names)
    body["components"]["schemas"] = {
        names[name]: schema for name, schema in body["components"]["schemas"].items()
    }
    for item in body["paths"].values():
        for each in item.values():
            if "server" not in each["tags"]:
                each["operationId"] = prefix + each["operationId"]
    return body
