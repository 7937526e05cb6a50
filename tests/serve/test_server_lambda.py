"""AWS Lambda: the server fetches events from the Runtime API and answers them."""

from __future__ import annotations

import json
import time

import pytest

from support.lambda_double import LambdaDouble

SQUARE = """
    import time

    def predict(x: float, seconds: float = 0.0) -> float:
        time.sleep(seconds)
        return x * x
"""


@pytest.fixture
def double():
    api = LambdaDouble()
    yield api
    api.close()


def test_events_are_requests_and_their_answers_are_given_back(start, double):
    start(SQUARE, inherit=False, AWS_LAMBDA_RUNTIME_API=double.address)
    first = double.ask("id-1", {"x": 3})
    assert (first.id, first.kind, first.json) == ("id-1", "response", 9.0)
    for number in range(20):
        double.event(f"n-{number}", {"x": number})
    assert [(a.id, a.json) for a in (double.answer() for _ in range(20))] == [
        (f"n-{n}", float(n * n)) for n in range(20)
    ]


def test_a_gateways_event_is_a_request_of_http(start, double):
    start(SQUARE, inherit=False, AWS_LAMBDA_RUNTIME_API=double.address)
    event = {
        "version": "2.0",
        "rawPath": "/predict",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": "/predict"}, "stage": "$default"},
        "body": json.dumps({"x": 4}),
        "isBase64Encoded": False,
    }
    answer = double.ask("g", event).json
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, 16.0)
    wrong = double.ask("w", {**event, "body": '{"x": "four"}'})
    assert (wrong.kind, wrong.json["statusCode"]) == ("response", 422)


def test_what_goes_wrong_is_an_error_of_lambda(start, double):
    start(SQUARE, inherit=False, AWS_LAMBDA_RUNTIME_API=double.address)
    bad = double.ask("b", {"x": "three"})
    assert (bad.kind, bad.type) == ("error", "Corten.BadRequest")
    assert "x" in bad.json["errorMessage"]
    late = double.ask("l", {"x": 1, "seconds": 30}, seconds=0.5)
    assert late.kind == "error"
    assert "took longer than" in late.json["errorMessage"]
    assert double.ask("a", {"x": 2}).json == 4.0


def test_an_answer_that_lambda_does_not_take_is_an_error(start):
    double = LambdaDouble(largest=1000)
    start("def predict() -> str: return 'x' * 2000", inherit=False, AWS_LAMBDA_RUNTIME_API=double.address)
    answer = double.ask("big", {})
    assert (answer.kind, answer.type) == ("error", "Corten.NotTaken")
    double.close()


def test_a_start_that_fails_is_told(start, double):
    code = "class P:\n def setup(self): raise RuntimeError('no weights')\n def predict(self) -> int: ..."
    server = start(code, "predict:P", inherit=False, ready=False, AWS_LAMBDA_RUNTIME_API=double.address)
    assert server.wait() == 1
    kind, document = double.failures.get(timeout=60)
    assert kind == "Corten.StartFailed"
    assert "RuntimeError: no weights" in document["errorMessage"]


def test_the_end_waits_for_the_event_that_is_being_worked_on(start, double):
    server = start(SQUARE, inherit=False, AWS_LAMBDA_RUNTIME_API=double.address, CORTEN_DRAIN="0")
    double.event("slow", {"x": 5, "seconds": 0.7})
    time.sleep(0.3)
    assert server.stop() == 0
    assert double.answer().json == 25.0


def test_a_socket_that_was_passed_in_says_that_it_is_not_lambda(start, double):
    server = start(SQUARE, AWS_LAMBDA_RUNTIME_API=double.address)
    double.event("e", {"x": 1})
    assert server.predict({"x": 2}).json == 4.0
    assert double.answers.empty()
