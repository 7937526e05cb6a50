"""The protocols of other tools keep what the server's own keep: a foreign page runs nothing, and nobody learns more than the protocol
says."""

from __future__ import annotations

import pytest

from support.serving import start

__all__ = ["start"]
EVIL = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
COG = """
import time
from cog import BasePredictor
class P(BasePredictor):
    def predict(self, seconds: float = 0) -> str:
        time.sleep(seconds)
        return "made"
"""


def test_a_foreign_page_neither_makes_nor_cancels_a_prediction_of_cog(start):
    serving = start(COG, "predict:P")
    for headers in (
        EVIL,
        {**EVIL, "prefer": "respond-async"},
        {"origin": "null", "content-type": "text/plain"},
    ):
        assert serving.request("POST", "/predictions", {"input": {}}, headers).status == 403
        assert serving.request("PUT", "/predictions/a", {"input": {}}, headers).status == 403
    serving.request("PUT", "/predictions/slow", {"input": {"seconds": 30}}, {"prefer": "respond-async"})
    assert serving.request("POST", "/predictions/slow/cancel", b"", EVIL).status == 403
    assert serving.request("GET", "/predictions/slow").json["status"] in ("starting", "processing")
    assert serving.request("GET", "/predictions/a").status == 404


def test_a_foreign_page_calls_no_handler(start):
    serving = start("def handler(event, context):\n    return {'called': True}", "predict:handler")
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        assert serving.request(method, "/x", b"{}", EVIL).status == 403
    assert serving.request("GET", "/x").json == {"called": True}


@pytest.mark.parametrize(
    "path", ["/predictions/../etc", "/predictions/a/b", "/predictions/" + "a" * 300, "/predictions//cancel"]
)
def test_a_path_that_is_no_prediction_is_none(start, path):
    assert start(COG, "predict:P").request("PUT", path, {"input": {}}).status in (404, 405)


def test_predictions_that_nobody_waits_for_are_bounded_and_are_the_same_id_once(start):
    serving = start(COG, "predict:P", CORTEN_QUEUE="3")
    later = {"prefer": "respond-async"}
    said = [
        serving.request("POST", "/predictions", {"id": f"p{number}", "input": {"seconds": 30}}, later).status
        for number in range(6)
    ]
    assert said == [202, 202, 202, 503, 503, 503]
    assert serving.request("POST", "/predictions", {"id": "p0", "input": {}}, later).status in (409, 503)
    large = b'{"input": {"seconds": 1}, "x": "' + b"a" * (1 << 20) + b'"}'
    assert serving.request("POST", "/predictions", large, later).status in (413, 503)


def test_a_handlers_answer_cannot_add_headers_by_line_breaks(start):
    code = "def handler(event, context):\n    return {'statusCode': 200, 'headers': {'x-a': 'b\\r\\nx-evil: 1'}, 'body': 'x'}"
    answer = start(code, "predict:handler").request("GET", "/")
    assert "x-evil" not in answer.headers
    assert answer.status in (200, 502)
