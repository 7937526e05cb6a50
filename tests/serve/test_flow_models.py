"""Several models in one server."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import time

TWO = """
    import os, time

    def add(a: int, b: int) -> int: return a + b

    def text(word: str, seconds: float = 0.0) -> str:
        time.sleep(seconds)
        return word.upper()

    class Broken:
        def setup(self): raise RuntimeError("no weights")
        def predict(self) -> int: ...
"""


def test_each_model_has_its_own_paths_workers_and_queue(start):
    targets = json.dumps({"sum": "predict:add", "upper": "predict:text"})
    server = start(TWO, targets, CORTEN_QUEUE="2", CORTEN_NAME="pair")
    assert server.request("POST", "/sum/predict", {"a": 2, "b": 3}).json == 5
    assert server.request("POST", "/upper/predict", {"word": "a"}).json == "A"
    document = server.request("GET", "/openapi.json").json
    assert document["info"]["title"] == "pair"
    assert {"/sum/predict", "/upper/predict"} <= set(document["paths"])
    assert json.dumps(document).count("SumPredictRequest") or "components" in document
    assert server.request("GET", "/sum/predict").headers["allow"] == "POST"
    assert server.request("POST", "/third/predict", {}).status == 404
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        slow = [
            threads.submit(server.request, "POST", "/upper/predict", {"word": "b", "seconds": 0.5})
            for _ in range(2)
        ]
        time.sleep(0.2)
        assert server.request("POST", "/upper/predict", {"word": "c"}).status == 503
        assert server.request("POST", "/sum/predict", {"a": 1, "b": 1}).json == 2
        assert [each.result().json for each in slow] == ["B", "B"]
    models = server.request("GET", "/status").json["models"]
    assert [model["name"] for model in models] == ["sum", "upper"]
    assert len({model["workers"][0]["pid"] for model in models}) == 2
    assert server.stop() == 0


def test_one_model_that_cannot_be_set_up_ends_the_start(start):
    targets = json.dumps({"sum": "predict:add", "broken": "predict:Broken"})
    server = start(TWO, targets, ready=False)
    assert server.wait() == 1
    assert "RuntimeError: no weights" in server.log()


def test_a_worker_that_ends_is_named_by_its_model(start):
    targets = json.dumps({"sum": "predict:add", "upper": "predict:text"})
    server = start(TWO, targets)
    model = server.request("GET", "/status").json["models"][1]
    os.kill(model["workers"][0]["pid"], signal.SIGKILL)
    end = time.monotonic() + 60
    while "is started again" not in server.log() and time.monotonic() < end:
        time.sleep(0.02)
    assert "the worker of 'upper' was killed by SIGKILL" in server.log()
    server.wait_ready()
    assert server.request("POST", "/upper/predict", {"word": "a"}).json == "A"


def test_requests_wait_for_the_first_start_whatever_their_path(start):
    server = start(
        """
        import time

        class P:
            def setup(self): time.sleep(0.7)
            def predict(self) -> int: return 1
        """,
        "predict:P",
        ready=False,
    )
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        known = threads.submit(server.predict, {})
        unknown = threads.submit(server.request, "POST", "/nowhere", {})
        assert known.result().json == 1
        assert unknown.result().status == 404
