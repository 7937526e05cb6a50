"""AWS Lambda: an event is a request. One from an API Gateway, a function's URL or a load balancer is a request of HTTP, which
goes to the protocol that its path belongs to and is answered as one; any other event is itself a request of `/predict`
(docs.aws.amazon.com/lambda, "Using Lambda with API Gateway", payload formats 1.0 and 2.0).
"""

from __future__ import annotations

import base64
import binascii
import json
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from corten_serve.protocols.codec import bind, encode, error_body, load, problems_text
from corten_serve.protocols.interface import (
    JSON,
    Answer,
    BadRequest,
    Call,
    Described,
    Document,
    Model,
    Problem,
    Route,
    Work,
)
from corten_serve.protocols.results import Results

ROUTE = "lambda"
_TEXTS = ("text/", JSON, "application/x-ndjson", "application/jsonlines")


class Inner(Protocol):
    """What events of HTTP are handed to: all the other protocols."""

    def routes(self) -> list[Route]: ...
    def read(self, call: Call) -> Work: ...
    def write(self, work: Work, results: Sequence[Any]) -> Answer: ...
    def write_error(
        self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()
    ) -> Answer: ...


class Request(NamedTuple):
    """What an event says of a request of HTTP. Names of headers are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Functions:
    """Events for one server; its first model answers those that are no requests of HTTP. `inner` is every other protocol of
    the model, `documents` and `openapi` what it answers to GET."""

    def __init__(
        self, model: Model, inner: Inner, documents: Sequence[Document], openapi: Callable[[], bytes]
    ) -> None:
        self._model = model
        self._inner = inner
        self._endpoint = model.endpoints[0]
        self._results = Results(self._endpoint.signature)
        self._routes = {(route.method, route.path): route for route in inner.routes()}
        self._described = openapi
        self._documents = {document.path: document for document in documents}

    def routes(self) -> list[Route]:
        """One route without a path: events do not come over HTTP."""
        return [Route("POST", "", ROUTE)] if self._model.first else []

    def read(self, call: Call) -> Work:
        """The work that an event asks for. Raises BadRequest."""
        event = load(call.body)
        request = proxied(event)
        if request is None:
            return Work(self._endpoint.name, [bind(self._endpoint.signature, event)], call)
        document = self._document(request.path) if request.method in ("GET", "HEAD") else None
        if document is not None:
            return Work(self._endpoint.name, [], call, document)
        work = self._inner.read(self._call(request, call))
        # An answer to an event is one piece: results that come in pieces are collected first.
        return Work(work.endpoint, work.items, call, work)

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The result as JSON, or an answer of HTTP inside JSON. Raises ResultError."""
        if isinstance(work.note, Answer):
            return _wrapped(work.note)
        if isinstance(work.note, Work):
            return _wrapped(self._inner.write(work.note, results))
        return Answer(200, encode(self._results.plain(results[0])))

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """For a request of HTTP its answer, which is 200 to Lambda; else Lambda's own form of an error."""
        inner: Call | None = None
        try:
            event = load(call.body)
        except BadRequest:
            event = None
        try:
            request = proxied(event)
            inner = self._call(request, call) if request is not None else None
        except BadRequest as error:
            return _wrapped(Answer(error.status, error_body("", error.problems)))
        if inner is not None:
            return _wrapped(self._inner.write_error(inner, status, message, problems))
        kind = "BadRequest" if status < 500 else "PredictorError"
        document = {"errorMessage": message or problems_text(problems), "errorType": kind}
        return Answer(
            status, encode(document), headers=(("lambda-runtime-function-error-type", f"Corten.{kind}"),)
        )

    def openapi(self) -> Described:
        """Nothing: events do not come over HTTP."""
        return Described({}, {})

    def _document(self, path: str) -> Answer | None:
        if path == "/openapi.json":
            return Answer(200, self._described())
        document = self._documents.get(path)
        return None if document is None else Answer(200, document.body, document.type)

    def _call(self, request: Request, call: Call) -> Call:
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = any(path == request.path for _, path in self._routes)
            raise BadRequest(
                [("", f"'{request.path[:100]}' takes POST" if known else "there is nothing here")],
                405 if known else 404,
            )
        headers = tuple(request.headers.get(name, "") for name in route.headers)
        return Call(route.route, call.request_id, headers, request.body)


def proxied(event: Any) -> Request | None:
    """The request of HTTP in an event, None where it is none. Raises BadRequest for one whose body cannot be read."""
    if not isinstance(event, dict) or not isinstance(event.get("requestContext"), dict):
        return None
    context = event["requestContext"]
    http = context.get("http")
    if isinstance(http, dict):
        method, path = http.get("method"), event.get("rawPath")
        stage = context.get("stage")
        if isinstance(path, str) and isinstance(stage, str) and path.startswith(f"/{stage}/"):
            path = path[len(stage) + 1 :]
    else:
        method, path = event.get("httpMethod"), event.get("path")
    if not isinstance(method, str) or not isinstance(path, str):
        return None
    given = event.get("headers")
    headers = {
        name.lower(): value
        for name, value in (given.items() if isinstance(given, dict) else ())
        if isinstance(value, str)
    }
    body = event.get("body")
    if not isinstance(body, (str, type(None))):
        raise BadRequest([("body", "expected a string or null")])
    try:
        data = (
            base64.b64decode(body or "", validate=True) if event.get("isBase64Encoded") else _utf8(body or "")
        )
    except (ValueError, binascii.Error) as error:
        raise BadRequest([("body", "not the base64 or the text that the event says it is")], 400) from error
    return Request(method.upper(), urllib.parse.unquote(path), headers, data)


def _utf8(text: str) -> bytes:
    return text.encode()


def _wrapped(answer: Answer) -> Answer:
    """An answer of HTTP as Lambda returns one."""
    headers = {"content-type": answer.type, **dict(answer.headers)}
    binary = not answer.type.startswith(_TEXTS)
    body = base64.b64encode(answer.body).decode() if binary else answer.body.decode("utf-8", "replace")
    document = {"statusCode": answer.status, "headers": headers, "body": body, "isBase64Encoded": binary}
    return Answer(200, json.dumps(document).encode())
