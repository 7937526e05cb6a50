"""What a worker announces when it is ready: its routes, its documents, its predictor. Worker and server are of one version,
but the project's code runs in the worker's process, so what comes from there is read with care."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `route` is the worker's name for it, `headers` those that it wants to know, in order. With
    `batch`, calls may be predicted together."""

    method: str
    path: str
    route: str
    headers: tuple[str, ...]
    batch: bool


@dataclass(frozen=True, slots=True)
class Document:
    """An answer to GET that needs no worker. With `ready`, it stands only while the model is ready."""

    path: str
    kind: str
    body: bytes
    ready: bool


@dataclass(frozen=True, slots=True)
class Predictor:
    """What the predictor can do. `concurrency` counts only where it is asynchronous."""

    batch: bool = False
    asynchronous: bool = False
    concurrency: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """All that a worker announced. `cog` is what a predictor that was written for Cog tells of its start, None for any other."""

    predictor: Predictor
    operations: tuple[Operation, ...]
    documents: tuple[Document, ...]
    openapi: dict[str, Any]
    cog: dict[str, Any] | None = None


def read_table(body: bytes) -> Table:
    """The table in the body of READY; entries that are none are left out."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = {}
    if not isinstance(value, dict):
        value = {}
    openapi = value.get("openapi")
    operations = map(_operation, _list(value.get("routes")))
    documents = map(_document, _list(value.get("documents")))
    return Table(
        _predictor(value.get("predictor")),
        tuple(each for each in operations if each is not None),
        tuple(each for each in documents if each is not None),
        openapi if isinstance(openapi, dict) else {},
        value["cog"] if isinstance(value.get("cog"), dict) else None,
    )


def merged(title: str, version: str, documents: list[dict[str, Any]]) -> bytes:
    """One OpenAPI document out of those of several models."""
    if not documents:
        return b"{}"
    whole = dict(documents[0])
    whole["info"] = {**_dict(whole.get("info")), "title": title, "version": version}
    whole["paths"] = {}
    components: dict[str, dict[str, Any]] = {}
    for document in documents:
        whole["paths"].update(_dict(document.get("paths")))
        for kind, entries in _dict(document.get("components")).items():
            components.setdefault(kind, {}).update(_dict(entries))
    if components:
        whole["components"] = components
    return json.dumps(whole, separators=(",", ":")).encode()


def _predictor(value: Any) -> Predictor:
    fields = _dict(value)
    concurrency = fields.get("concurrency")
    return Predictor(
        bool(fields.get("batch")),
        bool(fields.get("async")),
        max(1, min(10_000, concurrency)) if isinstance(concurrency, int) else 1,
    )


def _operation(value: Any) -> Operation | None:
    fields = _dict(value)
    method, path, route = (fields.get(name) for name in ("method", "path", "route"))
    if not (isinstance(method, str) and isinstance(path, str) and isinstance(route, str)):
        return None
    headers = tuple(name.lower() for name in _list(fields.get("headers")) if isinstance(name, str))
    return Operation(method.upper(), path, route, headers, bool(fields.get("batch")))


def _document(value: Any) -> Document | None:
    fields = _dict(value)
    path, kind, body = (fields.get(name) for name in ("path", "type", "body"))
    if not isinstance(path, str):
        return None
    data = body.encode() if isinstance(body, str) else json.dumps(body, separators=(",", ":")).encode()
    kind = kind if isinstance(kind, str) and kind else "application/json"
    return Document(path, kind, data, bool(fields.get("ready")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
