"""Handlers that were written for AWS Lambda (`handler(event, context)`), asked in every way that Lambda has.

Over HTTP a request becomes the event of a function's URL (docs.aws.amazon.com/lambda, "Request and response payloads", format 2.0; with
what format 1.0 has beside it), and the result an answer. The Runtime API's events, and those that are posted to the path of AWS's local
emulator, are handed over as they are.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from corten_serve.protocols.codec import encode, load, problems_text
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

ANY = "/{proxy+}"
"""The path of a route that takes what nothing else does."""
REQUEST = ":request"
"""The name under which a route wants the whole request line and all headers, as JSON."""
HTTP, EVENT, RUNTIME = "handler:http", "handler:event", "lambda"
EMULATOR = "/2015-03-31/functions/function/invocations"
_TEXTS = ("text/", JSON, "application/xml", "application/javascript", "application/x-www-form-urlencoded")
_NOT_PASSED = frozenset(["connection", "keep-alive", "transfer-encoding", "upgrade", "te", "content-length"])


class Raised(NamedTuple):
    """Stands for the result of a handler that raised."""

    kind: str
    text: str


class Handlers:
    """The routes of one handler. There are no other protocols beside it: its paths are its own."""

    def __init__(self, model: Model, context: Callable[[str], Any]) -> None:
        """`context` makes what a handler gets beside the event, for a request's id."""
        self._model = model
        self._endpoint = model.endpoints[0]
        self._context = context

    def routes(self) -> list[Route]:
        """Everything, the emulator's path, and events of the Runtime API."""
        return [
            Route("ANY", ANY, HTTP, (REQUEST,)),
            Route("POST", EMULATOR, EVENT),
            Route("POST", "", RUNTIME),
        ]

    def read(self, call: Call) -> Work:
        """One event. Raises BadRequest."""
        event = _event(call) if call.route == HTTP else load(call.body or b"{}")
        keywords = {"event": event, "context": self._context(call.request_id)}
        return Work(self._endpoint.name, [([], keywords)], call)

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The answer that the result stands for; to an event, the result itself. Raises ResultError."""
        result = results[0]
        if work.call.route != HTTP:
            if isinstance(result, Raised):
                return _failure(work.call, result.kind, result.text)
            return Answer(200, encode(result))
        if isinstance(result, Raised):
            return Answer(502, b'{"message":"Internal Server Error"}')
        return _answer(result)

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """What Lambda says of an error."""
        text = message or problems_text(problems)
        if call.route == HTTP:
            if status < 500:
                return Answer(status, encode({"message": text}))
            return Answer(502 if status == 500 else status, encode({"message": "Internal Server Error"}))
        return _failure(call, "Runtime.BadRequest" if status < 500 else "Runtime.Error", text)

    def openapi(self) -> Described:
        """That there is a path for everything: what a handler does with one is not known."""
        found = {"200": {"description": "What the handler returns", "content": {JSON: {"schema": {}}}}}
        post = {
            "operationId": "handler",
            "tags": ["Lambda"],
            "summary": "Call the handler",
            "responses": found,
        }
        return Described({EMULATOR: {"post": post}}, {})


def _failure(call: Call, kind: str, text: str) -> Answer:
    """An error as the Runtime API takes it, or as `Invoke` gives it."""
    body = encode({"errorMessage": text, "errorType": kind, "stackTrace": []})
    if call.route == RUNTIME:
        return Answer(500, body, headers=(("lambda-runtime-function-error-type", kind),))
    return Answer(200, body, headers=(("x-amz-function-error", "Unhandled"),))


def _event(call: Call) -> dict[str, Any]:
    """The event of a request of HTTP."""
    try:
        asked = json.loads(call.headers[0])
        method, path, query = asked["method"], asked["path"], asked["query"]
        pairs, client = asked["headers"], asked["client"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest([("", "the request's headers are too long")], 431) from error
    headers: dict[str, str] = {}
    for name, value in pairs:
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    cookies = [each.strip() for each in headers.pop("cookie", "").split(";") if each.strip()]
    found: dict[str, list[str]] = {}
    for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True, errors="replace")[:1000]:
        found.setdefault(name, []).append(value)
    body, encoded = _body(bytes(call.body), headers.get("content-type", ""))
    now = time.time()
    address = client.rpartition(":")[0].strip("[]") or client
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": headers.get("host", "localhost"),
            "domainPrefix": "local",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": address,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": call.request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": encoded,
        # What format 1.0 calls the same.
        "httpMethod": method,
        "path": path,
        "queryStringParameters": {name: ",".join(values) for name, values in found.items()} or None,
        "pathParameters": {"proxy": path.lstrip("/")} if path != "/" else None,
        "stageVariables": None,
        "body": body,
    }
    if cookies:
        event["cookies"] = cookies
    return event


def _body(data: bytes, content_type: str) -> tuple[str | None, bool]:
    """The body as an event has it, and whether that is base64."""
    if not data:
        return None, False
    kind = content_type.partition(";")[0].strip().lower()
    if not kind or kind.startswith(_TEXTS) or kind.endswith(("+json", "+xml")):
        try:
            return data.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(data).decode(), True


def _answer(result: Any) -> Answer:
    """The answer that a handler's result stands for. Raises ResultError for a status, headers or a body that are none."""
    if not isinstance(result, dict) or "statusCode" not in result:
        if isinstance(result, str):
            return Answer(200, result.encode(errors="replace"), JSON)
        return Answer(200, encode(result))
    status = result["statusCode"]
    if isinstance(status, str) and status.isascii() and status.isdigit():
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        raise ResultError(f"the handler's 'statusCode' is {str(status)[:40]!r}")
    headers: list[tuple[str, str]] = []
    for field in ("headers", "multiValueHeaders"):
        given = result.get(field) or {}
        if not isinstance(given, dict):
            raise ResultError(f"the handler's '{field}' is no object")
        for name, value in given.items():
            values = value if isinstance(value, list) else [value]
            headers += [(str(name).lower(), _text(each)) for each in values]
    headers += [("set-cookie", _text(each)) for each in result.get("cookies") or ()]
    for name, _ in headers:
        if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise ResultError(f"the handler's header {name[:60]!r} is none")
    kind = next((value for name, value in headers if name == "content-type"), JSON)
    passed = tuple(
        (name, value) for name, value in headers if name not in _NOT_PASSED and name != "content-type"
    )
    body = result.get("body")
    if body is None:
        data = b""
    elif isinstance(body, bytes):
        data = body
    elif isinstance(body, str):
        data = body.encode(errors="replace")
        if result.get("isBase64Encoded"):
            try:
                data = base64.b64decode(data, validate=True)
            except (ValueError, binascii.Error) as error:
                raise ResultError("the handler's 'body' is not the base64 that it says it is") from error
    else:
        data = encode(body)
    return Answer(status, data, kind, passed)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
