"""The OpenAPI 3.1 document of a predictor (spec.openapis.org/oas/v3.1.0), from the same kinds that read its requests."""

from __future__ import annotations

import json
from typing import Any

from corten_serve.schema.signature import Signature

_ERROR = {
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
    },
    "required": ["error"],
}
_FAILURES = {
    "413": "the body is larger than the server accepts",
    "422": "the request does not fit the schema",
    "500": "the predictor raised an error",
    "502": "the worker died while it was working on this request",
    "503": "the queue is full or the predictor is not available; `Retry-After` says when to come back",
}


def document(name: str, version: str, description: str, signature: Signature) -> dict[str, Any]:
    """The document, with every schema that it refers to."""
    request = signature.request.definition()
    optional = not request.get("required")
    failures = {
        status: {"description": text, "content": _json({"$ref": "#/components/schemas/Error"})}
        for status, text in _FAILURES.items()
    }
    predict: dict[str, Any] = {
        "operationId": "predict",
        "summary": description.split("\n\n")[0].replace("\n", " ") if description else "Predict",
        "requestBody": {
            "required": not optional,
            "content": _json({"$ref": "#/components/schemas/PredictRequest"}),
        },
        "responses": {
            "200": {"description": "The prediction", "content": _json(signature.result)},
            **failures,
        },
    }
    if description:
        predict["description"] = description
    schemas = {
        "PredictRequest": {**request, "title": "PredictRequest"},
        **signature.definitions(),
        "Error": _ERROR,
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": version},
        "paths": {
            "/predict": {"post": predict},
            "/livez": {"get": _probe("livez", "Whether the server runs", "it runs")},
            "/readyz": {
                "get": _probe(
                    "readyz", "Whether a prediction can be made now", "it can", unready="it cannot yet"
                )
            },
        },
        "components": {"schemas": schemas},
    }


def rendered(document: dict[str, Any]) -> bytes:
    """The document as JSON in UTF-8."""
    return json.dumps(document, indent=1, ensure_ascii=False, default=str).encode(errors="replace")


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _probe(identity: str, summary: str, well: str, unready: str | None = None) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": well}}
    if unready:
        responses["503"] = {"description": unready}
    return {"operationId": identity, "summary": summary, "responses": responses}
