from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten_serve import frames
from corten_serve.frames import Item
from corten_serve.worker.held import Held
from support.worker import CODE, SOURCE, Worker


def test_ready_says_what_there_is(begin):
    worker = begin(
        """
        from corten_serve import endpoint

        class P:
            "Ranks things."
            endpoints = ("embed",)

            async def predict(self, text: str) -> int:
                return len(text)

            async def predict_batch(self, texts: list[str]) -> list[int]:
                return [len(text) for text in texts]

            def embed(self, text: str) -> list[float]:
                return [1.0]

            @endpoint("/rank/best")
            def rank(self, items: list[str]) -> str:
                return items[0]

            @staticmethod
            @endpoint
            def version() -> int:
                return 3
        """,
        "predict:P",
        ready=False,
        CORTEN_CONCURRENCY="7",
    )
    document = worker.ready()
    assert document["predictor"] == {"batch": True, "async": True, "concurrency": 7, "health": False}
    routes = {route["path"]: route for route in document["routes"]}
    assert {"/predict", "/embed", "/rank/best", "/version"} <= set(routes)
    assert routes["/predict"]["batch"] is True
    assert routes["/embed"]["batch"] is False
    assert "/predict" in document["openapi"]["paths"]
    assert worker.ask({"items": ["a", "b"]}, route=routes["/rank/best"]["route"]) == (200, "a")
    assert worker.ask({"text": "a"}, route=routes["/embed"]["route"]) == (200, [1.0])


def test_several_models_have_paths_of_their_own(begin):
    worker = begin("def predict(x: int) -> int: return x", ready=False, CORTEN_MODEL="b", CORTEN_MODELS="a,b")
    assert "/b/predict" in {route["path"] for route in worker.ready()["routes"]}


CLASS = "class P:\n    def predict(self, x: int) -> int: return x\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("endpoints = ('embed',)", "has no method 'embed' for its endpoint 'embed'"),
        ("endpoints = 'embed'", "'endpoints' of 'predict:P' is not a list of names"),
        ("endpoints = ('setup',)\n    def setup(self): ...", "'setup' of 'predict:P' cannot be an endpoint"),
        ("endpoints = ('metrics',)\n    def metrics(self): ...", "cannot be at '/metrics'"),
        ("@endpoint('/v2/x')\n    def other(self): ...", "cannot be at '/v2/x', which the server needs"),
        ("@endpoint('/a')\n    def b(self): ...\n    @endpoint\n    def a(self): ...", "are both at '/a'"),
        ("@endpoint('rank')\n    def a(self): ...", "the path 'rank' of an endpoint is not one"),
        ("def predict_batch(self): ...", "'predict_batch' of 'predict:P' takes no list of items"),
        ("def predict_batch(self, items, more): ...", "takes 'more' beside the list of items"),
        ("def predict_batch(self, items: int): ...", "takes 'items', which its type hint says is no list"),
        ("def predict_batch(self, items):\n        yield 1", "is a generator, and a batch has to be"),
        ("predict_batch = 3", "'predict_batch' of 'predict:P' is an int and cannot be called"),
        ("warmup = 'x'", "'warmup' of 'predict:P' is not a list of dicts"),
    ],
)
def test_what_is_wrong_with_a_predictor_is_said_at_start(begin, body, message):
    code = f"from corten_serve import endpoint\n{CLASS}    {body}\n"
    found, hint = begin(code, "predict:P", ready=False).failed()
    assert message in found
    assert hint


@pytest.mark.parametrize(("name", "value"), [("CORTEN_WARMUP", "{"), ("CORTEN_CONCURRENCY", "0")])
def test_wrong_settings_are_said_at_start(begin, name, value):
    message, _ = begin(CLASS, "predict:P", ready=False, **{name: value}).failed()
    assert f"'{name}'" in message


def test_warm_up_requests_are_predicted_before_the_worker_is_ready(begin):
    worker = begin(
        """
        class P:
            warmup = [{"x": 1}]

            def predict(self, x: int) -> int:
                print("predicted", x)
                return x

            def predict_batch(self, items: list) -> list:
                print("batch of", items)
                return items
        """,
        "predict:P",
        CORTEN_WARMUP='[{"x": 2}]',
    )
    assert worker.out == "predicted 1\npredicted 2\nbatch of [1, 2]\n"


def test_a_warm_up_that_fails_fails_the_start_with_its_traceback(begin):
    code = "class P:\n    def warmup(self): return [{'x': 0}]\n    def predict(self, x: int): return 1 / x\n"
    worker = begin(code, "predict:P", ready=False)
    message, _ = worker.failed()
    assert "failed in a warm-up request: ZeroDivisionError" in message
    assert "return 1 / x" not in message
    assert "ZeroDivisionError: division by zero" in worker.err


def test_a_request_for_the_warm_up_that_does_not_fit_is_said(begin):
    message, _ = begin(CLASS, "predict:P", ready=False, CORTEN_WARMUP='[{"x": "a"}]').failed()
    assert "x: expected an integer, got string 'a'" in message


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def echoing() -> Iterator[dict[str, Worker]]:
    """One sync and one async worker that give back what they got, alone and in batches."""
    code = """
        class P:
            {a}def predict(self, value):
                return turned(value)
            {a}def predict_batch(self, values: list) -> list:
                return [turned(value) for value in values]

        def turned(value):
            return {{"got": value, "again": [value, value]}}
    """
    with tempfile.TemporaryDirectory() as folder:
        workers = {}
        for name, prefix in (("sync", ""), ("async", "async ")):
            place = Path(folder) / name
            place.mkdir()
            workers[name] = Worker(place, textwrap.dedent(code).format(a=prefix), "predict:P")
            workers[name].ready()
        yield workers
        for worker in workers.values():
            worker.kill()


@settings(deadline=None, max_examples=60)
@given(
    bodies=st.lists(values, min_size=1, max_size=6),
    together=st.booleans(),
    name=st.sampled_from(["sync", "async"]),
)
def test_results_are_those_of_calling_predict_directly(echoing, bodies, together, name):
    worker = echoing[name]
    asked = [{"value": body} for body in bodies]
    if together:
        results = worker.results(asked)
    else:
        ids = [worker.call(each) for each in asked]
        found = worker.answers(len(ids))
        results = [(found[each].status, json.loads(found[each].body)) for each in ids]
    assert results == [(200, {"got": body, "again": [body, body]}) for body in bodies]


def test_a_body_in_a_file_is_read_and_the_file_removed(begin, tmp_path):
    worker = begin("def predict(text: str) -> int: return len(text)")
    path = tmp_path / "body"
    path.write_bytes(json.dumps({"text": "x" * 2_000_000}).encode())
    call = worker.item(str(path).encode())
    worker.send(call._replace(status=frames.IN_FILE))
    assert worker.receive().body == b"2000000"
    assert not path.exists()

    worker.send(worker.item(str(path).encode())._replace(status=frames.IN_FILE))
    lost = worker.receive()
    assert lost.status == 500
    assert b"got lost" in lost.body


def test_what_the_project_raises_fails_its_request_alone(begin):
    worker = begin(
        """
        import sys
        from corten_serve import InvalidInput

        def predict(how: str) -> float:
            if how == "exit":
                sys.exit(3)
            if how == "input":
                raise InvalidInput("not this")
            if how == "form":
                return object()
            return 1.0
        """
    )
    assert worker.ask({"how": "exit"})[1]["error"].startswith("the predictor raised SystemExit")
    assert worker.ask({"how": "input"}) == (
        422,
        {"error": "not this", "problems": [{"field": "", "message": "not this"}]},
    )
    status, form = worker.ask({"how": "form"})
    assert status == 500
    assert "which JSON cannot express" in form["error"]
    assert worker.ask({"how": ""}) == (200, 1.0)


def test_the_board_says_what_was_begun(begin):
    worker = begin(
        "import time\ndef predict(seconds: float) -> None:\n    print('begun', seconds)\n    time.sleep(seconds)\n"
    )
    first, second = worker.item({"seconds": 0.3}), worker.item({"seconds": 0})
    worker.send(first, second)
    worker.until("begun 0.3")
    assert worker.board[0] == first.id
    worker.answers(2)
    assert worker.board[0] == second.id


@pytest.mark.parametrize("prefix", ["", "async "])
def test_request_id_and_time_left_can_be_asked_for(begin, prefix):
    worker = begin(
        f"""
        from corten_serve import request_id, time_left

        {prefix}def predict() -> list:
            return [request_id(), time_left()]
        """
    )
    status, (name, left) = worker.ask(rid="abc", left=5000)
    assert (status, name) == (200, "abc")
    assert 0 < left <= 5
    assert worker.ask() == (200, ["", None])


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("return True", 200, ""),
        ("return None", 200, ""),
        ("return False", 503, "the predictor says that it is not healthy"),
        ("raise OSError('no')", 503, "the predictor's 'healthy' raised OSError"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "async "])
def test_health_is_the_predictors_own(begin, code, status, reason, prefix):
    worker = begin(
        f"""
        class P:
            {prefix}def predict(self): ...
            {prefix}def healthy(self):
                {code}
        """,
        "predict:P",
    )
    worker.send(Item(0, frames.HEALTH))
    item = worker.receive()
    assert (item.kind, item.status, item.body.decode()) == (frames.HEALTHY, status, reason)


LIFE = """
    import asyncio, time

    class P:
        {a}def setup(self):
            print("setup")
        {a}def predict(self, seconds: float = 0) -> str:
            print("begun")
            {wait}
            return "done"
        {a}def teardown(self):
            print("teardown")
"""
SYNC = LIFE.format(a="", wait="time.sleep(seconds)")
ASYNC = LIFE.format(a="async ", wait="await asyncio.sleep(seconds)")


@pytest.mark.parametrize("code", [SYNC, ASYNC])
def test_the_end_of_the_channel_tears_down(begin, code):
    worker = begin(code, "predict:P")
    assert worker.ask() == (200, "done")
    assert worker.close() == 0
    assert worker.out == "setup\nbegun\nteardown\n"
    assert worker.err == ""


@pytest.mark.parametrize("code", [SYNC, ASYNC])
def test_sigterm_finishes_what_was_begun_and_tears_down(begin, code):
    idle = begin(code, "predict:P")
    os.kill(idle.pid, signal.SIGTERM)
    assert idle.wait() == 0
    assert idle.out.endswith("teardown\n")

    busy = begin(code, "predict:P", CORTEN_CONCURRENCY="1")
    busy.send(busy.item({"seconds": 0.3}), busy.item({"seconds": 30}))
    busy.until("teardown\nsetup\nbegun")
    os.kill(busy.pid, signal.SIGTERM)
    assert json.loads(busy.receive().body) == "done"
    assert busy.wait() == 0
    assert busy.out.count("begun") == 1
    assert busy.out.endswith("teardown\n")


def test_a_busy_worker_ends_with_the_process_that_started_it(tmp_path):
    (tmp_path / "predict.py").write_text(
        "import ctypes\ndef predict():\n    ctypes.PyDLL(None).usleep(60_000_000)\n"
    )
    parent = f"""
import os, socket, sys, time
ours, theirs = socket.socketpair()
board = os.memfd_create("b"); os.ftruncate(board, 1 << 20)
pid = os.posix_spawn(sys.executable, [sys.executable, "-c", {CODE!r}, {str(SOURCE)!r}], os.environ,
    file_actions=[(os.POSIX_SPAWN_DUP2, os.dup(theirs.fileno()), 3), (os.POSIX_SPAWN_DUP2, board, 4)]) \
    if board > 4 else None
from corten_serve import frames
reader = frames.Reader()
while not reader.feed(ours.recv(1 << 16)): pass
ours.sendall(frames.encode([frames.Item(1, frames.CALL, meta=b"json:predict\\0\\0application/json\\0", body=b"")]))
time.sleep(0.2)
print(pid, flush=True)
os.kill(os.getpid(), 9)
"""
    environment = {
        **os.environ,
        "CORTEN_PREDICT": "predict:predict",
        "CORTEN_APP": str(tmp_path),
        "PYTHONPATH": str(SOURCE),
    }
    padded = "import os\nfor _ in range(3): os.open('/dev/null', os.O_RDONLY)\n" + parent
    done = subprocess.run(
        [sys.executable, "-c", padded], env=environment, capture_output=True, text=True, timeout=30
    )
    pid = int(done.stdout)
    assert _gone(pid), Path(f"/proc/{pid}/stat").read_text()


def _gone(pid: int) -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_a_finished_answer_is_on_the_board_while_the_next_call_has_begun(begin):
    worker = begin(
        """
        import os, time

        def predict(n: int) -> int:
            if n < 0:
                os._exit(3)
            return n
        """
    )
    for number in range(50):  # Quick ones, so that answers wait for each other.
        assert worker.ask({"n": number}) == (200, number)
    first, last = worker.item({"n": 7}), worker.item({"n": -1})
    worker.send(first, last)
    assert worker.wait() == 3
    board = worker.board.cast("B")
    length = int.from_bytes(board[frames.HELD_AT - 8 : frames.HELD_AT - 4], "little")
    held = frames.Reader().items(bytes(board[frames.HELD_AT + 4 : frames.HELD_AT + length])) if length else []
    try:
        while True:
            held.append(worker.receive())
    except EOFError:
        pass
    assert [(item.id, item.body) for item in held] == [(first.id, b"7")]


def test_held_items_are_the_frame_that_is_sent():
    board = memoryview(bytearray(frames.BOARD_SIZE))
    held = Held(board)
    items = [Item(1, frames.ANSWER, 200, 5, b"m", b"body", 2), Item(2, frames.END, 1)]
    for item in items:
        assert held.add(item)
    assert bytes(held.frame()) == frames.encode(items)
    assert frames.Reader().feed(bytes(held.frame())) == items
    assert not held.add(Item(3, frames.ANSWER, 200, 0, b"", bytes(frames.HELD_SIZE)))
    word = bytes(board[frames.HELD_AT - 8 : frames.HELD_AT])
    held.clear()
    assert held.size == 0
    for item in items:
        assert held.add(item)
    assert bytes(board[frames.HELD_AT - 8 : frames.HELD_AT]) != word, "it is another frame of the same size"
    held.clear()
    assert held.add(Item(3, frames.ANSWER, 200, 0, b"", b"x" * (200 << 10)))
    held.forget()
    assert held.size == 0
    assert held.add(items[0])
    assert int.from_bytes(board[frames.HELD_AT - 8 : frames.HELD_AT - 4], "little") > 200 << 10
