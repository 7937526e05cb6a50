"""Cog's own protocol (cog.run/http), for projects that were written for it: `POST /predictions` with `{"input": {…}}`.

An answer tells of the whole prediction: `status`, `output`, `error`, `logs`, `metrics`. A prediction that fails is an answer with
status 200, as in Cog, and its `error` is what the project's code raised. Files are data URLs in both directions. What comes before
and after a prediction (`Prefer: respond-async`, cancelling, webhooks) is the server's.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import mimetypes
import pathlib
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from corten_serve.protocols import cog_scope
from corten_serve.protocols.codec import bind, encode, load, problems_text
from corten_serve.protocols.cog_scope import Prediction
from corten_serve.protocols.interface import (
    JSON,
    Answer,
    BadRequest,
    Call,
    Described,
    Model,
    Problem,
    ResultError,
    Route,
    Work,
)
from corten_serve.protocols.streams import EVENTS
from corten_serve.schema.cog_types import MASK, Secret
from corten_serve.schema.kinds import Kind, Schema
from corten_serve.schema.media import OCTETS
from corten_serve.schema.signature import Signature

PREDICTIONS, ONE = "/predictions", "/predictions/{prediction_id}"
POST, PUT = "cog:predict", "cog:put"
KEY = "\0prediction"
"""The argument that a prediction of this protocol has beside the project's own; no parameter can be named so."""
_IDENTITY = re.compile(r"[\w.~:-]{1,200}", re.ASCII)
_NOT_STREAMED = (
    "This model does not support streaming responses. Add @cog.streaming to predict() to enable SSE."
)
_JSON_TYPES = ("", JSON, "text/json", "text/plain", OCTETS)


class Facts(NamedTuple):
    """What a project says for this protocol beside its signature: whether it may be streamed as events, whether its pieces make
    one text, and which inputs are deprecated."""

    streaming: bool = False
    concatenates: bool = False
    deprecated: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What a call with `KEY` gives: the value, or what was raised, in words."""

    value: Any
    error: str | None = None


class Cog:
    """The routes of one model. They belong to a server's first model, and only to one that was written for Cog."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._endpoint = model.endpoints[0]
        self._signature: Signature = self._endpoint.signature
        self._fields = {field.name: field for field in self._signature.request.fields}
        self._facts: Facts = model.cog or Facts()
        self._used = model.first and model.cog is not None

    def routes(self) -> list[Route]:
        """One for a prediction that the server names, one for a prediction that the client does."""
        if not self._used:
            return []
        wanted = ("content-type", "accept", "prefer")
        return [Route("POST", PREDICTIONS, POST, wanted), Route("PUT", ONE, PUT, wanted)]

    def read(self, call: Call) -> Work:
        """One item of work. Raises BadRequest."""
        content_type, accept, prefer = call.headers
        streamed = any(each.partition(";")[0].strip() == EVENTS for each in accept.split(","))
        if streamed and not self._facts.streaming:
            raise BadRequest([("/", _NOT_STREAMED)], 406)
        request = _request(call.body, content_type)
        identity = request.get("id")
        if identity is not None and not (isinstance(identity, str) and _IDENTITY.fullmatch(identity)):
            raise BadRequest(
                [("/id", "expected a text of letters, digits and - _ . ~ :, at most 200 of them")]
            )
        if call.route == PUT and identity not in (None, call.request_id):
            raise BadRequest([("/id", "prediction ID must match the ID supplied in the URL")])
        if request.get("webhook") is not None and not deferred(prefer):
            raise BadRequest([("/webhook", "a webhook is called for 'Prefer: respond-async' only")])
        given = request.get("input")
        given = {} if given is None else given
        if not isinstance(given, dict):
            raise BadRequest([("/input", "Input should be an object")])
        context = request.get("context") or {}
        if not isinstance(context, dict) or not all(isinstance(each, str) for each in context.values()):
            raise BadRequest([("/context", "expected an object of texts")])
        known = {name: value for name, value in given.items() if name in self._fields}
        _, keywords = bind(self._signature, known)
        prediction = Prediction(identity or call.request_id, self._shown(known), context)
        if len(known) < len(given):
            unknown = [name[:60] for name in given if name not in self._fields][:10]
            prediction.log(f"warning: ignored unknown inputs: {', '.join(unknown)}\n")
        keywords[KEY] = prediction
        heard = not streamed and deferred(prefer) and self._hears_pieces(request)
        prediction.streamed = streamed or heard
        stream = Stream(prediction, heard) if prediction.streamed else None
        return Work(self._endpoint.name, [([], keywords)], call, prediction, stream)

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The whole prediction. Raises ResultError."""
        prediction: Prediction = work.note
        outcome = results[0] if isinstance(results[0], Outcome) else Outcome(results[0])
        prediction.failed = outcome.error
        return Answer(200, encode(document(prediction, None if outcome.error else plain(outcome.value))))

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """422 with `detail` as Cog has it; anything else is a prediction that failed."""
        if status == 422:
            found = problems or [("/", message)]
            return Answer(422, encode({"detail": [_detail(field, text) for field, text in found]}))
        return Answer(
            status, encode({"error": message or problems_text(problems).strip("/: "), "status": "failed"})
        )

    def openapi(self) -> Described:
        """Cog's paths and schemas, under its names."""
        if not self._used:
            return Described({}, {})
        return Described(_paths(self._facts), self._schemas())

    def _hears_pieces(self, request: dict[str, Any]) -> bool:
        """Whether a webhook wants to hear of the pieces of a prediction as they come, and it has some."""
        events = request.get("webhook_events_filter")
        wants = events is None or (
            isinstance(events, list) and bool({"output", "logs"} & {*map(str, events)})
        )
        return (
            request.get("webhook") is not None
            and wants
            and (self._signature.streams or self._facts.streaming)
        )

    def _shown(self, given: dict[str, Any]) -> dict[str, Any]:
        """The input as an answer may repeat it: without secrets."""
        hidden = [name for name in given if _holds_secret(self._fields[name].kind)]
        return {**given, **dict.fromkeys(hidden, MASK)} if hidden else given

    def _schemas(self) -> dict[str, Schema]:
        properties: dict[str, Schema] = {}
        for order, field in enumerate(self._signature.request.fields):
            schema = {"title": _title(field.name), **_nullable(field.schema()), "x-order": order}
            schema.pop("examples", None)
            if field.name in self._facts.deprecated:
                schema["deprecated"] = True
            properties[field.name] = schema
        required = [field.name for field in self._signature.request.fields if field.required]
        given: Schema = {"title": "Input", "type": "object", "properties": properties}
        if required:
            given["required"] = required
        one = _nullable(self._signature.result)
        output: Schema = {"title": "Output", **one}
        if self._signature.streams:
            output = {"title": "Output", "type": "array", "items": one, "x-cog-array-type": "iterator"}
            if self._facts.concatenates:
                output["x-cog-array-display"] = "concatenate"
        return {**self._signature.definitions(), "Input": given, "Output": output, **_SCHEMAS}


class Stream:
    """Server-sent events as Cog has them: `start`, an `output` for each piece, `completed` with the whole prediction. `logs`: what was
    printed so far is beside each piece, for the server, which tells a webhook."""

    type = EVENTS
    headers: tuple[tuple[str, str], ...] = (("cache-control", "no-store"), ("x-accel-buffering", "no"))

    def __init__(self, prediction: Prediction, logs: bool = False) -> None:
        self._prediction, self._logs = prediction, logs
        self._outputs: list[Any] = []
        self._begun = False

    def part(self, item: Any) -> bytes:
        """The event of one piece. Raises ResultError."""
        if isinstance(item, Outcome):
            self._prediction.failed = item.error
            return self._start()
        value = plain(item)
        self._outputs.append(value)
        more = {"logs": self._prediction.logs} if self._logs else {}
        return self._start() + _event("output", {"chunk": value, "index": len(self._outputs) - 1, **more})

    def error(self, message: str) -> bytes:
        """The prediction failed."""
        self._prediction.failed = message
        return self.end()

    def end(self) -> bytes:
        """The whole prediction."""
        return self._start() + _event("completed", document(self._prediction, self._outputs))

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return _event("start", {"id": self._prediction.id, "status": "processing"})


def deferred(prefer: str) -> bool:
    """Whether a `Prefer` header asks for an answer at once, before the prediction is made."""
    return any(each.partition(";")[0].strip().lower() == "respond-async" for each in prefer.split(","))


def document(prediction: Prediction, output: Any) -> dict[str, Any]:
    """A prediction that has ended, as JSON."""
    prediction.end()
    failed = prediction.failed
    return {
        "id": prediction.id,
        "input": prediction.given,
        "output": output,
        "error": failed,
        "status": "succeeded" if failed is None else "failed",
        "logs": prediction.logs,
        "metrics": {**prediction.metrics.found, "predict_time": round(prediction.took, 6)},
        "created_at": moment(prediction.created),
        "started_at": moment(prediction.started),
        "completed_at": moment(time.time()),
    }


def moment(seconds: float) -> str:
    """A time as Cog writes it (RFC 3339)."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="microseconds")  # noqa: UP017


def plain(value: Any, depth: int = 0) -> Any:
    """A result with its files as data URLs. Raises ResultError for a file that cannot be read."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value.value if isinstance(value, enum.Enum) else value
    if depth > 100:
        raise ResultError("the result is nested too deeply")
    if isinstance(value, pathlib.PurePath):
        try:
            return data_url(value.name, pathlib.Path(value).read_bytes())
        except OSError as error:
            raise ResultError(f"the file '{value}' cannot be read: {error.strerror or error}") from error
    if isinstance(value, dict):
        return {key: plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    if callable(getattr(value, "get_secret_value", None)):
        return MASK
    if callable(getattr(value, "read", None)):
        if callable(getattr(value, "seek", None)) and getattr(value, "seekable", lambda: False)():
            value.seek(0)
        data = value.read()
        name = getattr(value, "name", "")
        return data_url(
            name if isinstance(name, str) else "", data.encode() if isinstance(data, str) else bytes(data)
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name), depth + 1) for each in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):
        return plain(value.model_dump(), depth + 1)
    if hasattr(value, "__fields__") and callable(getattr(value, "dict", None)):
        return plain(value.dict(), depth + 1)
    return value


def data_url(name: str, data: bytes) -> str:
    """The bytes of a file as a URL (RFC 2397), with the type that its name says."""
    kind = mimetypes.guess_type(name)[0] or OCTETS
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _request(body: Any, content_type: str) -> dict[str, Any]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES and not kind.endswith("+json"):
        raise BadRequest([("/", f"expected JSON, got '{kind[:60]}'")], 415)
    value = load(body, "/") if bytes(body[:64]).strip() else {}
    if not isinstance(value, dict):
        raise BadRequest([("/", "expected an object with 'input'")])
    return value


def _detail(field: str, text: str) -> dict[str, Any]:
    """One problem as pydantic would tell it. A field that begins with a slash is one of the request, others of its input."""
    if field.startswith("/"):
        return {"loc": ["body", *([field[1:]] if field[1:] else [])], "msg": text, "type": "value_error"}
    if text.startswith("missing; "):
        return {"loc": ["body", "input", field], "msg": "Field required", "type": "value_error.missing"}
    return {"loc": ["body", "input", *([field] if field else [])], "msg": text, "type": "value_error"}


def _holds_secret(kind: Kind | None) -> bool:
    while kind is not None:
        if isinstance(kind, Secret):
            return True
        if any(_holds_secret(each) for each in getattr(kind, "options", ())):
            return True
        kind = getattr(kind, "inner", None) or kind.item
    return False


def _nullable(schema: Schema) -> Schema:
    """A schema of OpenAPI 3.0 for one that may be null, as Cog writes it."""
    options = schema.get("anyOf")
    if not isinstance(options, list) or {"type": "null"} not in options:
        return schema
    others = [each for each in options if each != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**(others[0] if len(others) == 1 else {"anyOf": others}), **rest, "nullable": True}


def _title(name: str) -> str:
    return " ".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _event(name: str, data: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode(data) + b"\n\n"


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(name: str) -> dict[str, Any]:
    return {"content": {JSON: {"schema": _ref(name)}}}


def _paths(facts: Facts) -> dict[str, Any]:
    answers = {
        "200": {"description": "Successful Response", **_content("PredictionResponse")},
        "202": {
            "description": "The prediction was taken, and is not made yet",
            **_content("PredictionResponse"),
        },
        "422": {"description": "Validation Error", **_content("HTTPValidationError")},
    }
    identity = {
        "name": "prediction_id",
        "in": "path",
        "required": True,
        "schema": {"title": "Prediction Id", "type": "string"},
    }
    prefer = {"name": "Prefer", "in": "header", "required": False, "schema": {"type": "string"}}

    def predict(name: str, summary: str, *parameters: Any) -> dict[str, Any]:
        found: dict[str, Any] = {
            "operationId": name,
            "tags": ["Cog"],
            "summary": summary,
            "description": "Run a single prediction on the model",
            "parameters": [*parameters, prefer],
            "requestBody": _content("PredictionRequest"),
            "responses": answers,
        }
        return {**found, "x-cog-streaming": True} if facts.streaming else found

    def simple(name: str, summary: str, *parameters: Any) -> dict[str, Any]:
        found = {"description": "Successful Response", "content": {JSON: {"schema": {"type": "object"}}}}
        gone = {
            "description": "there is no such prediction",
            "content": {JSON: {"schema": {"type": "object"}}},
        }
        base: dict[str, Any] = {"operationId": name, "tags": ["Cog"], "summary": summary}
        if parameters:
            return {**base, "parameters": list(parameters), "responses": {"200": found, "404": gone}}
        return {**base, "responses": {"200": found}}

    return {
        "/health-check": {"get": simple("healthcheck_health_check_get", "Healthcheck")},
        PREDICTIONS: {"post": predict("predict_predictions_post", "Predict")},
        ONE: {
            "put": predict(
                "predict_idempotent_predictions__prediction_id__put", "Predict Idempotent", identity
            ),
            "get": simple("get_predictions__prediction_id__get", "What became of a prediction", identity),
        },
        f"{ONE}/cancel": {
            "post": simple("cancel_predictions__prediction_id__cancel_post", "Cancel", identity)
        },
    }


def _text(title: str, **more: Any) -> Schema:
    return {"title": title, "type": "string", **more}


_SCHEMAS: dict[str, Schema] = {
    "PredictionRequest": {
        "title": "PredictionRequest",
        "type": "object",
        "properties": {
            "id": _text("Id"),
            "input": _ref("Input"),
            "context": {"title": "Context", "type": "object", "additionalProperties": {"type": "string"}},
            "webhook": _text("Webhook", format="uri"),
            "webhook_events_filter": {"title": "Webhook Events Filter", "type": "array", "items": {"type": "string"}},
        },
    },
    "PredictionResponse": {
        "title": "PredictionResponse",
        "type": "object",
        "properties": {
            "input": _ref("Input"),
            "output": _ref("Output"),
            "id": _text("Id"),
            "version": _text("Version"),
            "created_at": _text("Created At", format="date-time"),
            "started_at": _text("Started At", format="date-time"),
            "completed_at": _text("Completed At", format="date-time"),
            "status": _text("Status"),
            "error": _text("Error"),
            "logs": _text("Logs"),
            "metrics": {"title": "Metrics", "type": "object"},
        },
    },
    "Status": {
        "title": "Status",
        "description": "An enumeration.",
        "enum": ["starting", "processing", "succeeded", "canceled", "failed"],
        "type": "string",
    },
    "HTTPValidationError": {
        "title": "HTTPValidationError",
        "type": "object",
        "properties": {"detail": {"title": "Detail", "type": "array", "items": _ref("ValidationError")}},
    },
    "ValidationError": {
        "title": "ValidationError",
        "required": ["loc", "msg", "type"],
        "type": "object",
        "properties": {
            "loc": {"title": "Location", "type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
            "msg": _text("Message"),
            "type": _text("Error Type"),
        },
    },
}  # fmt: skip

__all__ = ["KEY", "ONE", "POST", "PREDICTIONS", "PUT", "Cog", "Facts", "Outcome", "cog_scope"]
