"""Projects that were written for Cog, served without a change: their types, and Cog's own protocol over HTTP.

The cases are those of Cog's own integration tests (replicate/cog, Apache-2.0): the predictor, the request, what its answer says.
"""

from __future__ import annotations

import base64
import http.server
import json
import re
import threading
import time
from collections.abc import Iterator

import pytest

URL = "data:text/plain;base64," + base64.b64encode(b"baz\n").decode()

CASES = [
    (
        "path_input_output",
        """
        import tempfile
        from cog import BasePredictor, Path
        class Predictor(BasePredictor):
            def setup(self):
                self.foo = "foo"
            def predict(self, text: str, path: Path) -> Path:
                with open(path) as f:
                    output = self.foo + text + f.read()
                tmpdir = Path(tempfile.mkdtemp())
                with open(tmpdir / "output.txt", "w") as fh:
                    fh.write(output)
                return tmpdir / "output.txt"
        """,
        [({"text": "bar", "path": URL}, "data:text/plain;base64,Zm9vYmFyYmF6Cg==")],
    ),
    (
        "many_inputs",
        """
        from cog import BasePredictor, Input, Path
        class Predictor(BasePredictor):
            def predict(
                self,
                no_default: str,
                default_without_input: str = "default",
                input_with_default: int = Input(default=10),
                path: Path = Input(description="Some path"),
                image: Path = Input(description="Some path"),
                choices: str = Input(choices=["foo", "bar"]),
                int_choices: int = Input(description="hello", choices=[3, 4, 5]),
            ) -> str:
                with path.open() as f:
                    path_contents = f.read().strip()
                image_extension = str(image).split(".")[-1]
                return " ".join([no_default, default_without_input, str(input_with_default * 2), path_contents,
                                 image_extension, choices, str(int_choices * 2)])
        """,
        [
            (
                {
                    "no_default": "hello",
                    "path": URL,
                    "image": "data:image/jpeg;base64,eA==",
                    "choices": "foo",
                    "int_choices": 3,
                },
                "hello default 20 baz jpg foo 6",
            )
        ],
    ),
    (
        "optional_input_no_default",
        """
        from typing import Optional
        from cog import BasePredictor
        class Predictor(BasePredictor):
            def predict(self, value: Optional[str]) -> str:
                if value is None:
                    return "type=NoneType value=none"
                return f"type={type(value).__name__} value={value}"
        """,
        [
            ({"value": "world"}, "type=str value=world"),
            ({}, "type=NoneType value=none"),
            ({"value": None, "unknown": 1}, "type=NoneType value=none"),
        ],
    ),
    (
        "complex_output",
        """
        from typing import Optional
        from cog import BaseModel, BasePredictor, Path
        class ModelOutput(BaseModel):
            success: bool
            error: Optional[str]
            segmented_image: Optional[Path]
        class Predictor(BasePredictor):
            def predict(self, msg: str) -> ModelOutput:
                return ModelOutput(success=False, error=msg)
        """,
        [({"msg": "test error"}, {"success": False, "error": "test error", "segmented_image": None})],
    ),
    (
        "concatenate_iterator_output",
        """
        from cog import BasePredictor, ConcatenateIterator
        class Predictor(BasePredictor):
            def predict(self, prompt: str) -> ConcatenateIterator[str]:
                for token in [prompt, " world", " !"]:
                    yield token
        """,
        [({"prompt": "hello"}, ["hello", " world", " !"])],
    ),
    (
        "async_predictor",
        """
        import asyncio
        from cog import AsyncConcatenateIterator, BasePredictor
        class Predictor(BasePredictor):
            async def setup(self) -> None:
                self.word = "x"
            async def predict(self, count: int) -> AsyncConcatenateIterator[str]:
                for _ in range(count):
                    await asyncio.sleep(0)
                    yield self.word
        """,
        [({"count": 3}, ["x", "x", "x"])],
    ),
    (
        "path_list_output",
        """
        from typing import List
        from cog import BaseRunner, Path, Input
        class Predictor(BaseRunner):
            def run(self, paths: List[Path], names: List[str] = Input(default=["a"])) -> List[Path]:
                import tempfile
                found = []
                for path in paths:
                    place = Path(tempfile.mkdtemp()) / "out.txt"
                    place.write_text(names[0] + path.read_text())
                    found.append(place)
                return found
        """,
        [({"paths": [URL, URL]}, ["data:text/plain;base64,YWJhego="] * 2)],
    ),
    (
        "scope_context",
        """
        from cog import BasePredictor, Input, File, current_scope
        class Predictor(BasePredictor):
            def predict(self, file: File = Input(default=None), seed: int = Input(default=None)) -> str:
                return f"{current_scope().context} {seed} {file and file.read()}"
        """,
        [({}, "{} None None"), ({"seed": 3, "file": URL}, "{} 3 b'baz\\n'")],
    ),
    (
        "function_predictor",
        """
        from cog import Input
        def Predictor(prompt: str = Input()) -> str:
            return f"HELLO {prompt.upper()}"
        """,
        [({"prompt": "world"}, "HELLO WORLD")],
    ),
]


@pytest.mark.parametrize(("name", "code", "asked"), CASES, ids=[case[0] for case in CASES])
def test_cogs_own_cases_answer_as_in_cog(start, name, code, asked):
    serving = start(code, "predict.py:Predictor", CORTEN_COG="1")
    for given, output in asked:
        answer = serving.request("POST", "/predictions", {"input": given})
        assert (answer.status, answer.json["status"], answer.json["error"]) == (200, "succeeded", None)
        assert answer.json["output"] == output
        assert answer.json["metrics"]["predict_time"] >= 0
    assert serving.request("GET", "/health-check").json["status"] == "READY"


MIXED = """
import sys
import time
from cog import BasePredictor, Input, Secret, current_scope, streaming

class Predictor(BasePredictor):
    def setup(self):
        print("loading")

    @streaming
    def predict(
        self,
        mode: str = Input(default="ok", description="what to do", regex="^[a-z]+$"),
        count: int = Input(default=1, ge=1, le=5, deprecated=True),
        key: Secret = Input(default=None),
        seconds: float = 0,
    ) -> "Iterator[str]":
        print("printed", mode)
        print("wrong", file=sys.stderr)
        self.record_metric("temperature", 0.7)
        scope = current_scope()
        scope.record_metric("tokens", 1, mode="incr")
        scope.record_metric("tokens", 2, mode="incr")
        scope.record_metric("tags", "fast", mode="append")
        scope.record_metric("timing.preprocess", 0.1)
        scope.metrics["label"] = "hello"
        time.sleep(seconds)
        if mode == "raise":
            raise ValueError("this is a value error")
        for number in range(count):
            yield f"{mode}{number}{key and key.get_secret_value()}"

from typing import Iterator
"""


@pytest.fixture
def mixed(start):
    return start(MIXED, "predict:Predictor")


def test_a_prediction_tells_of_its_metrics_logs_times_and_input_but_no_secret(mixed):
    asked = {"id": "my-1", "input": {"count": 2, "key": "s3cr3t", "more": 1}}
    answer = mixed.request("POST", "/predictions", asked)
    found = answer.json
    assert (answer.status, found["id"], found["output"]) == (200, "my-1", ["ok0s3cr3t", "ok1s3cr3t"])
    assert found["input"] == {"count": 2, "key": "**********"}
    assert found["logs"] == "warning: ignored unknown inputs: more\nprinted ok\nwrong\n"
    predict_time = found["metrics"].pop("predict_time")
    assert predict_time > 0
    assert found["metrics"] == {
        "temperature": 0.7,
        "tokens": 3,
        "tags": ["fast"],
        "timing": {"preprocess": 0.1},
        "label": "hello",
    }
    assert found["started_at"] <= found["completed_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", found["started_at"])


def test_a_prediction_that_raises_is_an_answer_with_the_text(mixed):
    answer = mixed.request("POST", "/predictions", {"input": {"mode": "raise"}})
    assert (answer.status, answer.json["status"]) == (200, "failed")
    assert answer.json["error"] == "this is a value error"
    assert answer.json["output"] is None
    assert "printed raise" in answer.json["logs"]
    assert 'raise ValueError("this is a value error")' in mixed.log()


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        ({"input": {"count": 9}}, 422, {"loc": ["body", "input", "count"], "type": "value_error"}),
        ({"input": {"mode": "A"}}, 422, {"loc": ["body", "input", "mode"], "type": "value_error"}),
        ({"input": []}, 422, {"loc": ["body", "input"], "msg": "Input should be an object"}),
        ({"id": "a b"}, 422, {"loc": ["body", "id"]}),
        ({"webhook": "http://h.example/"}, 422, {"loc": ["body", "webhook"]}),
        (b"{", 422, {"loc": ["body"]}),
    ],
)
def test_what_is_wrong_is_told_as_cog_does(mixed, body, status, problem):
    answer = mixed.request("POST", "/predictions", body)
    assert answer.status == status
    (found,) = answer.json["detail"]
    assert problem.items() <= found.items()


def test_a_missing_input_is_told_as_cog_does(start):
    code = "from cog import BasePredictor\nclass P(BasePredictor):\n def predict(self, s: str) -> str:\n  return s"
    serving = start(code, "predict:P")
    assert serving.request("POST", "/predictions", {"input": None}).json == {
        "detail": [{"loc": ["body", "input", "s"], "msg": "Field required", "type": "value_error.missing"}]
    }


def test_events_are_those_of_cog(mixed):
    headers = {"accept": "text/event-stream", "x-request-id": "abc123"}
    answer = mixed.request("POST", "/predictions", {"input": {"count": 2}}, headers)
    events = [
        dict(line.split(": ", 1) for line in each.split("\n"))
        for each in answer.body.decode().split("\n\n")[:-1]
    ]
    assert [(each["event"], json.loads(each["data"])) for each in events[:3]] == [
        ("start", {"id": "abc123", "status": "processing"}),
        ("output", {"chunk": "ok0None", "index": 0}),
        ("output", {"chunk": "ok1None", "index": 1}),
    ]
    assert events[3]["event"] == "completed"
    completed = json.loads(events[3]["data"])
    assert (completed["status"], completed["output"], completed["metrics"]["label"]) == (
        "succeeded",
        ["ok0None", "ok1None"],
        "hello",
    )
    failed = mixed.request("POST", "/predictions", {"input": {"mode": "raise"}}, headers).body
    assert json.loads(failed.decode().rsplit("data: ", 1)[1])["error"] == "this is a value error"


def test_who_wants_events_gets_them_also_where_an_answer_at_once_would_do(mixed):
    headers = {"accept": "text/event-stream", "prefer": "respond-async"}
    answer = mixed.request("POST", "/predictions", {"input": {}}, headers)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.body.startswith(b"event: start\n")


def test_events_are_for_predictors_that_are_marked_for_them(start):
    code = "from cog import BasePredictor\nclass P(BasePredictor):\n def predict(self) -> str:\n  return 'a'"
    serving = start(code, "predict:P")
    answer = serving.request("POST", "/predictions", {}, {"accept": "text/event-stream"})
    assert (answer.status, answer.json["error"]) == (
        406,
        "This model does not support streaming responses. Add @cog.streaming to predict() to enable SSE.",
    )


def test_pages_of_an_allowed_origin_may_make_predictions(start):
    code = "from cog import BasePredictor\nclass P(BasePredictor):\n def predict(self) -> str:\n  return 'a'"
    serving = start(code, "predict:P", CORTEN_CORS="https://app.example")
    headers = {"origin": "https://app.example", "access-control-request-method": "PUT"}
    answer = serving.request("OPTIONS", "/predictions/a", None, headers)
    assert (answer.status, answer.headers["access-control-allow-methods"]) == (204, "GET, PUT")
    assert (
        serving.request("PUT", "/predictions/a", {}, {"origin": "https://app.example"}).json["output"] == "a"
    )


def test_a_prediction_has_the_id_of_its_path_and_no_other(mixed):
    assert mixed.request("PUT", "/predictions/url-id", {"input": {}}).json["id"] == "url-id"
    answer = mixed.request("PUT", "/predictions/url-id", {"id": "another", "input": {}})
    assert answer.status == 422
    assert answer.json["detail"][0]["msg"] == "prediction ID must match the ID supplied in the URL"
    assert mixed.request("DELETE", "/predictions/url-id").status == 405
    assert mixed.request("PUT", "/predictions/a%20b", {}).status == 404


def _until(serving, identity: str, status: str) -> dict[str, object]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = serving.request("GET", f"/predictions/{identity}").json
        if found.get("status") == status:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{found} is not {status}")


def test_a_prediction_is_made_while_nobody_waits_and_can_be_asked_for(mixed):
    later = {"prefer": "respond-async"}
    answer = mixed.request("PUT", "/predictions/later-1", {"input": {"mode": "x"}}, later)
    assert answer.status == 202
    assert answer.json["id"] == "later-1"
    assert answer.json["status"] in ("starting", "processing")
    assert _until(mixed, "later-1", "succeeded")["output"] == ["x0None"]
    assert mixed.request("POST", "/predictions", {"id": "p2", "input": {"count": 9}}, later).status == 202
    assert "count" in _until(mixed, "p2", "failed")["error"]
    assert mixed.request("GET", "/predictions/never").status == 404


def test_a_prediction_can_be_given_up_and_is_made_once(mixed):
    later = {"prefer": "respond-async"}
    mixed.request("PUT", "/predictions/slow", {"input": {"seconds": 60}}, later)
    assert _until(mixed, "slow", "processing") == {"id": "slow", "status": "processing"}
    again = mixed.request("PUT", "/predictions/slow", {"input": {"seconds": 60}})
    assert (again.status, again.json) == (202, {"id": "slow", "status": "processing"})
    assert mixed.request("GET", "/health-check").json["status"] == "BUSY"
    assert mixed.request("POST", "/predictions/slow/cancel").status == 200
    assert _until(mixed, "slow", "canceled")["id"] == "slow"
    assert mixed.request("POST", "/predictions/slow/cancel").status == 404
    # The worker is free again.
    assert mixed.request("POST", "/predictions", {"input": {}}).json["status"] == "succeeded"


def test_the_end_of_the_server_waits_for_a_prediction_that_nobody_waits_for(start):
    code = """
    import time, pathlib
    from cog import BasePredictor
    class P(BasePredictor):
        def predict(self, place: str) -> str:
            time.sleep(0.5)
            pathlib.Path(place).write_text("made")
            return "made"
    """
    serving = start(code, "predict:P")
    place = serving.out.parent / "made"
    serving.request("PUT", "/predictions/a", {"input": {"place": str(place)}}, {"prefer": "respond-async"})
    assert serving.stop() == 0
    assert place.read_text() == "made"


@pytest.fixture
def hook() -> Iterator[tuple[int, list[dict[str, object]]]]:
    """A server that keeps what it is told, and gives a file."""
    told: list[dict[str, object]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(302 if self.path == "/away" else 200)
            if self.path == "/away":
                self.send_header("location", f"http://localhost:{self.server.server_address[1]}/x.png")
            self.send_header("content-type", "image/png")
            self.end_headers()
            self.wfile.write(b"png")

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], told
    server.shutdown()
    thread.join()
    server.server_close()


FILES = """
from cog import BasePredictor, Path
class P(BasePredictor):
    def predict(self, file: Path) -> str:
        return file.suffix + file.read_text()
"""


def test_a_webhook_is_told_where_the_operator_allows_its_host(start, hook):
    port, told = hook
    serving = start(FILES, "predict:P", CORTEN_FOLLOW_URLS="127.0.0.1")
    body = {
        "id": "w1",
        "input": {"file": f"http://127.0.0.1:{port}/a.png"},
        "webhook": f"http://127.0.0.1:{port}/w",
    }
    assert serving.request("POST", "/predictions", body, {"prefer": "respond-async"}).status == 202
    end = time.monotonic() + 60
    while len(told) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert [(each["id"], each["status"]) for each in told] == [("w1", "starting"), ("w1", "succeeded")]
    assert told[1]["output"] == ".pngpng"
    body["webhook_events_filter"] = ["completed"]
    serving.request("POST", "/predictions", {**body, "id": "w2"}, {"prefer": "respond-async"})
    while len(told) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    assert [each["status"] for each in told[2:]] == ["succeeded"]


PIECES = """
import os, time
from cog import BasePredictor, ConcatenateIterator
class P(BasePredictor):
    def predict(self, go: str) -> ConcatenateIterator[str]:
        print("one is coming")
        yield "a"
        while not os.path.exists(go):
            time.sleep(0.01)
        yield "b"
"""


def test_a_webhook_is_told_of_pieces_and_logs_as_they_come(start, hook, tmp_path):
    port, told = hook
    serving = start(PIECES, "predict:P", CORTEN_FOLLOW_URLS="127.0.0.1")

    def ask(identity: str, **more: object) -> None:
        body = {
            "id": identity,
            "input": {"go": str(tmp_path / identity)},
            "webhook": f"http://127.0.0.1:{port}/w",
        }
        assert (
            serving.request("POST", "/predictions", {**body, **more}, {"prefer": "respond-async"}).status
            == 202
        )

    def wait(count: int) -> None:
        end = time.monotonic() + 60
        while len(told) < count and time.monotonic() < end:
            time.sleep(0.02)

    ask("p1")
    wait(2)
    assert [(each["status"], each.get("output"), each.get("logs")) for each in told] == [
        ("starting", None, None),
        ("processing", ["a"], "one is coming\n"),
    ]
    assert serving.request("GET", "/predictions/p1").json["status"] == "processing"
    (tmp_path / "p1").touch()
    wait(3)
    assert (told[2]["status"], told[2]["output"]) == ("succeeded", ["a", "b"])
    assert serving.request("GET", "/predictions/p1").json["output"] == ["a", "b"]
    # One that is given up in between.
    ask("p2", webhook_events_filter=["output"])
    wait(4)
    assert (told[3]["status"], told[3]["output"]) == ("processing", ["a"])
    assert serving.request("POST", "/predictions/p2/cancel").status == 200
    wait(5)
    assert told[4]["status"] == "canceled"
    assert _until(serving, "p2", "canceled")["id"] == "p2"
    # Nobody hears of its pieces.
    (tmp_path / "p3").touch()
    ask("p3", webhook_events_filter=["completed"])
    wait(6)
    assert [(each["id"], each["status"]) for each in told[5:]] == [("p3", "succeeded")]


def test_a_redirect_is_followed_to_hosts_that_are_allowed(start, hook):
    port, _ = hook
    serving = start(FILES, "predict:P", CORTEN_FOLLOW_URLS="127.0.0.1")
    answer = serving.request("POST", "/predictions", {"input": {"file": f"http://127.0.0.1:{port}/away"}})
    assert answer.status == 422
    assert "URLs of the host 'localhost' are not followed" in answer.json["detail"][0]["msg"]


def test_health_before_the_predictor_is_ready_and_after(start, tmp_path):
    code = f"""
    import os, time
    from cog import BasePredictor
    class P(BasePredictor):
        def setup(self):
            while not os.path.exists({str(tmp_path / "go")!r}):
                time.sleep(0.01)
        def predict(self, a: int) -> int:
            return a
    """
    serving = start(code, "predict.py:P", ready=False, CORTEN_COG="1")
    end = time.monotonic() + 60
    found = {}
    while not found and time.monotonic() < end:
        try:
            found = serving.request("GET", "/health-check").json
        except OSError:
            time.sleep(0.01)
    assert (found["status"], found["setup"]["status"]) == ("STARTING", "starting")
    (tmp_path / "go").touch()
    serving.wait_ready()
    setup = serving.request("GET", "/health-check").json["setup"]
    assert setup["status"] == "succeeded"
    assert setup["started_at"] < setup["completed_at"]


def test_the_start_is_told_with_what_it_printed(mixed):
    found = mixed.request("GET", "/health-check").json
    assert found["status"] == "READY"
    assert found["setup"]["logs"] == "loading\n"


def test_the_document_has_cogs_schemas_and_the_root_cogs_urls(mixed):
    document = mixed.request("GET", "/openapi.json").json
    schemas = document["components"]["schemas"]
    assert schemas["Input"]["properties"]["count"] == {
        "title": "Count",
        "type": "integer",
        "minimum": 1,
        "maximum": 5,
        "default": 1,
        "x-order": 1,
        "deprecated": True,
    }
    assert schemas["Input"]["properties"]["key"] == {
        "title": "Key",
        "type": "string",
        "format": "password",
        "writeOnly": True,
        "x-cog-secret": True,
        "nullable": True,
        "default": None,
        "x-order": 2,
    }
    assert schemas["Output"]["x-cog-array-type"] == "iterator"
    assert document["paths"]["/predictions"]["post"]["operationId"] == "predict_predictions_post"
    assert document["paths"]["/predictions"]["post"]["x-cog-streaming"] is True
    assert "/predictions/{prediction_id}/cancel" in document["paths"]
    root = mixed.request("GET", "/").json
    assert root["predictions_cancel_url"] == "/predictions/{prediction_id}/cancel"
    # Corten's own protocol is beside it.
    assert mixed.predict({"count": 2}).body == b'"ok0None"\n"ok1None"\n'


def test_files_are_uris_in_cogs_schemas(start):
    serving = start(FILES, "predict:P")
    schemas = serving.request("GET", "/openapi.json").json["components"]["schemas"]
    assert schemas["Input"]["properties"]["file"] == {
        "title": "File",
        "type": "string",
        "format": "uri",
        "x-order": 0,
    }
    given = schemas["PredictRequest"]["properties"]["file"]["examples"][0]
    assert (
        serving.request("POST", "/predictions", {"input": {"file": given}}).json["status"] == "failed"
    )  # No text.


def test_a_predictor_that_is_not_cogs_has_none_of_its_paths(start):
    serving = start("def predict(a: int) -> int:\n    return a")
    for path in ("/predictions", "/predictions/a", "/health-check"):
        assert serving.request("GET", path).status == 404
    assert "predictions_url" not in serving.request("GET", "/").json


def test_a_package_of_the_projects_own_goes_before_the_stand_in(start, tmp_path):
    (tmp_path / "app" / "cog").mkdir(parents=True)
    (tmp_path / "app" / "cog" / "__init__.py").write_text("WHO = 'the project'")
    serving = start("from cog import WHO\ndef predict(a: int) -> str:\n    return WHO")
    assert serving.predict({"a": 1}).json == "the project"
