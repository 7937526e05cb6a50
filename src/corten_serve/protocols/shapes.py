"""How the requests and answers of one endpoint look in an OpenAPI document, in every content type that they can have."""

from __future__ import annotations

from typing import Any

from corten_serve.protocols import npy
from corten_serve.protocols.bodies import MULTIPART, URLENCODED, Bodies
from corten_serve.protocols.interface import JSON, Endpoint
from corten_serve.protocols.openapi import BINARY, content, ref, renamed
from corten_serve.protocols.results import Results
from corten_serve.protocols.streams import EVENTS, NDJSON, TEXT
from corten_serve.schema.kinds import Kind, Schema


class Shapes:
    """The content of requests and answers of an endpoint. `request` is the name of the JSON request's schema; `schemas` are
    the shared ones. Those that another endpoint of the model has under the same name, and differently, are renamed: `taken`
    are the schemas of the endpoints before."""

    def __init__(self, endpoint: Endpoint, taken: dict[str, Schema]) -> None:
        signature = endpoint.signature
        title = "".join(word[:1].upper() + word[1:] for word in endpoint.name.split("_"))
        self.request = f"{title}Request"
        own = signature.definitions()
        self._names = {
            name: f"{title}{name}" for name, schema in own.items() if taken.get(name, schema) != schema
        }
        request = {**signature.request.definition(), "title": self.request}
        self.schemas: dict[str, Schema] = {
            self._names.get(name, name): schema for name, schema in self._settled(own).items()
        }
        self.schemas[self.request] = self._settled(request)
        self._bodies = Bodies(signature)
        self._results = Results(signature)
        self._nested = [field.name for field in signature.request.fields if _is_nested(field.kind)]
        self.optional = not request.get("required")
        self.result: Schema = self._settled(signature.result)
        if any(_bytes_of(field.kind) for field in signature.request.fields):
            self.form = f"{title}Form"
            self.schemas[self.form] = self._settled(self._multipart(signature.request.fields, request))
        else:
            self.form = self.request

    def requests(self) -> dict[str, Any]:
        """Content types of a request → schemas."""
        found: dict[str, Any] = {}
        for kind in self._bodies.types():
            if kind == JSON:
                found.update(content(ref(self.request)))
            elif kind == URLENCODED:
                found.update(content(ref(self.request), kind))
                if self._nested:
                    # Without this, OpenAPI spreads an object over several fields of the form.
                    found[kind]["encoding"] = {name: {"contentType": JSON} for name in self._nested}
            else:
                found.update(content(ref(self.form) if kind == MULTIPART else dict(BINARY), kind))
        return found

    def answers(self) -> dict[str, Any]:
        """Content types of an answer → schemas. What stands for one item of a stream is in `x-item-schema`."""
        found: dict[str, Any] = {}
        streams = self._results.streams
        for kind in self._results.offers:
            if kind in (NDJSON, EVENTS, TEXT) and streams:
                found[kind] = {"schema": {"type": "string"}, "x-item-schema": self.result}
            elif kind == JSON:
                found.update(content({"type": "array", "items": self.result} if streams else self.result))
            else:
                found.update(content(dict(BINARY), npy.NPY if kind == npy.NPY else kind))
        return found

    def field(self, name: str) -> Schema:
        """The schema of one parameter."""
        found: Schema = self.schemas[self.request]["properties"][name]
        return found

    def _settled(self, value: Any) -> Any:
        return renamed(value, self._names)

    def _multipart(self, fields: Any, request: Schema) -> Schema:
        properties = dict(request["properties"])
        for field in fields:
            media = _bytes_of(field.kind)
            if media:
                one: Schema = {**BINARY, "contentMediaType": media[0] if len(media) == 1 else "*/*"}
                properties[field.name] = one if field.kind.media else {"type": "array", "items": one}
        return {**request, "properties": properties, "title": request["title"].replace("Request", "Form")}


def _bytes_of(kind: Kind) -> tuple[str, ...]:
    """The content types in which a field, or an item of it, may come as bytes."""
    return kind.media or (kind.item.media if kind.item is not None else ())


def _is_nested(kind: Kind) -> bool:
    """Whether a field of a form holds JSON: an object, or an array of what is no plain value."""
    if "object" in kind.forms and "string" not in kind.forms:
        return True
    item = kind.item.forms if kind.item is not None else frozenset()
    return "array" in kind.forms and bool(item & {"array", "object"}) and "string" not in item
