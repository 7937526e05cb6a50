"""The paths of the Open Inference Protocol in an OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corten_serve.protocols.interface import Described, Model
from corten_serve.protocols.openapi import BINARY as BYTES_SCHEMA
from corten_serve.protocols.openapi import PREDICTING, content, operation, probe, ref
from corten_serve.protocols.tensors import BYTES, CODES
from corten_serve.schema.kinds import Schema

HEADER = "inference-header-content-length"
BINARY = "application/octet-stream"
TAG = "Open Inference Protocol"
_TEXT: Schema = {"type": "string"}
_NAMES: Schema = {"type": "array", "items": _TEXT}
_PARAMETERS: Schema = {"type": "object"}
_DATATYPE: Schema = {"enum": [*CODES, BYTES]}
_SHAPE: Schema = {"type": "array", "items": {"type": "integer", "minimum": -1}}
_TENSOR: Schema = {"name": _TEXT, "datatype": _DATATYPE, "shape": _SHAPE}
_NAMED = ["name", "datatype", "shape"]


def described(model: Model, paths: Sequence[str]) -> Described:
    """The paths for a model that is served below each of `paths`."""
    found: dict[str, Any] = {
        "/v2": probe("v2_server", TAG, "What the server is", False, ref("V2Server")),
        "/v2/health/live": probe("v2_live", TAG, "Whether the server runs", False),
        "/v2/health/ready": probe("v2_ready", TAG, "Whether a prediction can be made now", True),
    }
    for number, path in enumerate(paths):
        ending = "_version" if number else ""
        found[path] = probe(
            f"v2_model{ending}", TAG, "Inputs and outputs of the model", False, ref("V2Model")
        )
        found[f"{path}/config"] = probe(
            f"v2_model_config{ending}", TAG, "Inputs and outputs of the model, as Triton has them", False
        )
        found[f"{path}/stats"] = probe(f"v2_model_stats{ending}", TAG, "What the model has done", False)
        found[f"{path}/ready"] = probe(f"v2_model_ready{ending}", TAG, "Whether the model is ready", True)
        found[f"{path}/infer"] = {"post": _infer(f"v2_infer{ending}")}
    return Described(found, _SCHEMAS)


def _infer(identity: str) -> dict[str, Any]:
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "required": False,
        "description": "how many bytes of the body are JSON, where tensors in bytes follow it",
        "schema": {"type": "integer", "minimum": 1},
    }
    return operation(
        identity,
        TAG,
        "Predict tensors",
        {**content(ref("V2Answer")), **content(dict(BYTES_SCHEMA), BINARY)},
        PREDICTING,
        {**content(ref("V2Request")), **content(dict(BYTES_SCHEMA), BINARY)},
        parameters=[length],
    )


def _object(properties: dict[str, Any], required: Sequence[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


_SCHEMAS: dict[str, Schema] = {
    "V2Server": _object(
        {"name": _TEXT, "version": _TEXT, "extensions": _NAMES}, ["name", "version", "extensions"]
    ),
    "V2Model": _object(
        {
            "name": _TEXT,
            "versions": _NAMES,
            "platform": _TEXT,
            "inputs": {"type": "array", "items": _object(_TENSOR, _NAMED)},
            "outputs": {"type": "array", "items": _object(_TENSOR, _NAMED)},
        },
        ["name", "platform", "inputs", "outputs"],
    ),
    "V2Request": _object(
        {
            "id": _TEXT,
            "parameters": _PARAMETERS,
            "inputs": {
                "type": "array",
                "items": _object({**_TENSOR, "parameters": _PARAMETERS, "data": {"type": "array"}}, _NAMED),
            },
            "outputs": {
                "type": "array",
                "items": _object({"name": _TEXT, "parameters": _PARAMETERS}, ["name"]),
            },
        },
        ["inputs"],
    ),
    "V2Answer": _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "outputs": {
                "type": "array",
                "items": _object({**_TENSOR, "parameters": _PARAMETERS, "data": {"type": "array"}}, _NAMED),
            },
        },
        ["model_name", "outputs"],
    ),
}
