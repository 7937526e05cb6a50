"""Handlers that were written for AWS Lambda, over HTTP and by the Runtime API."""

from __future__ import annotations

import base64
import json

import pytest

from support.lambda_double import LambdaDouble

HANDLER = """
import base64, json

def handler(event, context):
    what = event.get("rawPath", "")
    if what == "/raise":
        raise ValueError("secret detail")
    if what == "/plain":
        return {"answer": 42}
    if what == "/binary":
        data = base64.b64encode(b"\\x00\\xff").decode()
        return {"statusCode": "201", "headers": {"Content-Type": "image/png"}, "body": data, "isBase64Encoded": True}
    if what == "/cookies":
        return {"statusCode": 204, "cookies": ["a=1", "b=2"], "multiValueHeaders": {"X-Many": ["1", "2"]}}
    if what == "/wrong":
        return {"statusCode": 9000}
    if "requestContext" not in event:
        if event.get("raise"):
            raise KeyError("x")
        return {"event": event, "id": context.aws_request_id, "left": context.get_remaining_time_in_millis()}
    return {"statusCode": 200, "headers": {"X-Id": context.aws_request_id}, "body": json.dumps(event)}
"""


@pytest.fixture
def handler(start):
    return start(HANDLER, "predict:handler", CORTEN_LAMBDA="1")


def test_a_request_is_the_event_of_a_functions_url(handler):
    headers = {
        "content-type": "application/json",
        "x-request-id": "r-1",
        "cookie": "s=1; t=2",
        "user-agent": "me",
    }
    answer = handler.request("POST", "/items/7?a=1&a=2&b=", {"x": 1}, headers)
    event = answer.json
    assert (answer.status, answer.headers["x-id"], answer.headers["content-type"]) == (
        200,
        "r-1",
        "application/json",
    )
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/items/7", "a=1&a=2&b=")
    assert event["queryStringParameters"] == {"a": "1,2", "b": ""}
    assert (event["body"], event["isBase64Encoded"]) == ('{"x": 1}', False)
    assert event["cookies"] == ["s=1", "t=2"]
    assert event["headers"]["content-type"] == "application/json"
    context = event["requestContext"]
    assert (context["requestId"], context["http"]["method"], context["http"]["path"]) == (
        "r-1",
        "POST",
        "/items/7",
    )
    assert (context["http"]["sourceIp"], context["http"]["userAgent"]) == ("127.0.0.1", "me")
    # Format 1.0's names.
    assert (event["httpMethod"], event["path"], event["pathParameters"]) == (
        "POST",
        "/items/7",
        {"proxy": "items/7"},
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_every_method_and_the_root_are_the_handlers(handler, method):
    answer = handler.request(method, "/")
    assert answer.status == 200
    if method != "HEAD":
        assert (answer.json["httpMethod"], answer.json["body"]) == (method, None)


def test_bytes_come_and_go_in_base64(handler):
    event = handler.request("POST", "/echo", b"\x00\xff", {"content-type": "image/png"}).json
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"\x00\xff", True)
    answer = handler.request("GET", "/binary")
    assert (answer.status, answer.headers["content-type"], answer.body) == (201, "image/png", b"\x00\xff")


def test_what_a_handler_returns_is_the_answer(handler):
    plain = handler.request("GET", "/plain")
    assert (plain.status, plain.json) == (200, {"answer": 42})
    found = handler.request("GET", "/cookies")
    assert (found.status, found.body, found.headers["set-cookie"]) == (204, b"", "b=2")


@pytest.mark.parametrize("path", ["/raise", "/wrong"])
def test_a_handler_that_fails_tells_the_client_nothing_more(handler, path):
    answer = handler.request("GET", path)
    assert (answer.status, answer.json) == (502, {"message": "Internal Server Error"})
    assert "secret detail" in handler.log() or "statusCode" in handler.log()


def test_health_stays_the_servers(handler):
    assert handler.request("GET", "/readyz").json == {"status": "ready"}
    assert handler.request("GET", "/livez").status == 200


def test_an_event_is_posted_to_the_path_of_the_local_emulator(handler):
    path = "/2015-03-31/functions/function/invocations"
    found = handler.request("POST", path, {"Records": []}, {"x-request-id": "e-1"}).json
    assert (found["event"], found["id"]) == ({"Records": []}, "e-1")
    assert 0 < found["left"] <= 60_000
    failed = handler.request("POST", path, {"raise": True})
    assert failed.headers["x-amz-function-error"] == "Unhandled"
    assert failed.json == {"errorMessage": "'x'", "errorType": "KeyError", "stackTrace": []}


def test_events_of_the_runtime_api_are_handed_over_as_they_are(start):
    double = LambdaDouble()
    start(HANDLER, "predict:handler", inherit=False, CORTEN_LAMBDA="1", AWS_LAMBDA_RUNTIME_API=double.address)
    answer = double.ask("id-1", {"Records": [{"s3": {}}]})
    assert (answer.kind, answer.json["event"], answer.json["id"]) == (
        "response",
        {"Records": [{"s3": {}}]},
        "id-1",
    )
    gateway = double.ask("id-2", {"rawPath": "/plain", "requestContext": {"http": {"method": "GET"}}})
    assert gateway.json == {"answer": 42}
    failed = double.ask("id-3", {"raise": True})
    assert (failed.kind, failed.type, failed.json["errorMessage"]) == ("error", "KeyError", "'x'")
    double.close()


def test_headers_that_are_too_long_are_refused_and_not_cut(handler):
    assert json.loads(handler.request("GET", "/plain", headers={"x-long": "x" * 6000}).body) == {"answer": 42}
