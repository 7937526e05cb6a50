"""The log of real servers: as text, as JSON, and where nobody takes it."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten_serve.server.log import Log

NUMBER = "def predict(x: int) -> int:\n return x"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RAISING = """
    class P:
        def predict(self, x: int) -> int:
            raise KeyError("one\\ntwo")
"""


def objects(path: Path) -> list[dict[str, Any]]:
    """Every line of a log; one that is no object fails the test."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["level"] in ("info", "warning", "error")
        assert line["message"]
    return lines


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_every_line_is_an_object(start):
    server = start(NUMBER, CORTEN_LOG_FORMAT="json")
    server.predict({"x": 1}, headers={"x-request-id": 'a"b\\c'})
    made = server.predict({}).headers["x-request-id"]
    server.request("GET", "/no%0Athere")
    os.kill(server.children()[0], 9)
    wait_for(lambda: "is started again" in server.log())
    server.wait_ready()
    server.stop()
    ready, good, bad, missing, restart = objects(server.err)
    assert ready["message"].startswith("ready after ")
    assert set(good) == {
        *(
            "time",
            "level",
            "message",
            "request_id",
            "method",
            "path",
            "status",
            "duration_ms",
            "client",
            "model",
        )
    }
    assert (good["level"], good["message"]) == ("info", "POST /predict 200")
    assert (good["method"], good["path"], good["status"]) == ("POST", "/predict", 200)
    assert (good["request_id"], good["client"], good["model"]) == ('a"b\\c', "127.0.0.1", "predictor")
    assert 0 < good["duration_ms"] < 10_000
    assert (bad["level"], bad["status"], bad["request_id"]) == ("warning", 422, made)
    assert (missing["status"], missing["path"], "model" in missing) == (404, "/no\nthere", False)
    assert (restart["level"], restart["model"], restart["worker"]) == ("error", "predictor", "0")
    assert "was killed by SIGKILL" in restart["message"]


def test_a_failed_start_is_told_in_objects(start):
    server = start("raise RuntimeError('no\\nweights')", ready=False, CORTEN_LOG_FORMAT="json")
    assert server.wait() == 1
    traceback, last = objects(server.err)
    assert traceback["message"].startswith("Traceback (most recent call last):\n")
    assert traceback["message"].endswith("RuntimeError: no\nweights")
    assert last["level"] == "error"
    assert last["hint"] == "the traceback above is the project's own code"
    server = start(NUMBER, ready=False, CORTEN_LOG_FORMAT="json", CORTEN_QUEUE="no")
    assert server.wait() == 1
    assert objects(server.err)[-1]["message"] == "'CORTEN_QUEUE' is 'no'"


def test_text_has_the_id_that_a_client_gave(start):
    server = start(NUMBER)
    for headers in ({"x-request-id": "mine"}, {"traceparent": TRACE}, {}):
        server.predict({"x": 1}, headers=headers)
    server.stop()
    lines = [line.split() for line in server.log().splitlines()[1:]]
    assert [line[:3] for line in lines] == [["POST", "/predict", "200"]] * 3
    assert [line[5:] for line in lines] == [["mine"], ["0af7651916cd43dd8448eb211c80319c"], []]


@pytest.mark.parametrize("form", ["text", "json"])
def test_who_watches_is_not_in_the_log(start, form):
    watched = ("/livez", "/readyz", "/status", "/metrics", "/ping", "/v2/health/ready")
    server = start(NUMBER, CORTEN_LOG_FORMAT=form)
    for path in watched:
        assert server.request("GET", path).status == 200
    server.request("GET", "/")
    server.stop()
    assert len(server.log().splitlines()) == 2
    server = start(NUMBER, CORTEN_LOG_FORMAT=form, CORTEN_LOG="debug")
    for path in watched:
        server.request("GET", path)
    server.stop()
    assert all(f"GET {path} 200" in server.log() for path in watched)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("kind", ["def predict", "async def predict", "def predict_batch"])
def test_a_traceback_has_the_id_that_the_client_got(start, form, kind):
    code = RAISING.replace("def predict", kind)
    if "batch" in kind:
        code = code.replace("x: int) -> int", "xs: list[int]) -> list[int]")
    server = start(code, "predict:P", CORTEN_LOG_FORMAT=form)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda x: server.predict({"x": x}), range(8)))
    assert {answer.status for answer in answers} == {500}
    ids = {answer.headers["x-request-id"] for answer in answers}
    given = server.predict({"x": 1}, headers={"x-request-id": "mine"})
    assert given.headers["x-request-id"] == "mine"
    server.stop()
    if form == "text":
        found = re.findall(r"error in request (\S+): Traceback \(most recent", server.log())
    else:
        failures = [line for line in objects(server.err) if line["message"].startswith("Traceback")]
        assert all(line["message"].endswith("KeyError: 'one\\ntwo'") for line in failures)
        assert {(line["level"], line["worker"]) for line in failures} == {("error", "0")}
        found = [line["request_id"] for line in failures]
    assert sorted(found) == sorted(ids | {"mine"})


def test_prints_of_concurrent_requests_have_their_own_ids(start):
    server = start(
        """
        import asyncio, sys

        async def predict(x: int) -> int:
            print("begin", end=" ")
            await asyncio.sleep(0.01 * (x % 5))
            print(x)
            print("second", x, file=sys.stderr)
            return x
        """,
        CORTEN_LOG_FORMAT="json",
    )
    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda x: server.predict({"x": x}), range(60)))
    server.stop()
    ids = {answer.headers["x-request-id"]: answer.json for answer in answers}
    printed = objects(server.out)
    assert {line["request_id"]: line["message"] for line in printed} == {
        identity: f"begin {x}" for identity, x in ids.items()
    }
    assert len(printed) == 60
    seconds = [line for line in objects(server.err) if line.get("stream") == "stderr"]
    assert {line["request_id"]: line["message"] for line in seconds} == {
        identity: f"second {x}" for identity, x in ids.items()
    }


def test_what_is_written_at_once_is_one_object(start):
    server = start(
        """
        import logging, sys, threading, traceback, warnings

        logging.basicConfig(format="%(levelname)s %(message)s")

        def broken() -> None:
            raise OSError("in a thread")

        def predict(x: int) -> int:
            print("a\\nb\\n")
            try:
                1 / 0
            except ZeroDivisionError:
                traceback.print_exc()
                logging.exception("caught")
            print("after", file=sys.stderr)
            warnings.warn("old")
            thread = threading.Thread(target=broken, name="mine")
            thread.start()
            thread.join()
            print("no end", end="")
            return x
        """,
        CORTEN_LOG_FORMAT="json",
    )
    identity = server.predict({"x": 1}).headers["x-request-id"]
    server.stop()
    first, last = objects(server.out)
    assert (first["message"], first["request_id"]) == ("a\nb", identity)
    assert (last["message"], last["request_id"]) == ("no end", identity)
    lines = [line for line in objects(server.err) if line.get("stream") == "stderr"]
    own, logged, after, warned, name, raised = (line["message"] for line in lines)
    assert own.startswith("Traceback")
    assert own.endswith("ZeroDivisionError: division by zero")
    assert logged.startswith("ERROR caught\nTraceback")
    assert logged.endswith("ZeroDivisionError: division by zero")
    assert after == "after"
    assert "UserWarning: old" in warned
    assert name == "Exception in thread mine:"
    assert raised.endswith("OSError: in a thread")
    assert {line.get("request_id") for line in lines[:4]} == {identity}


CHATTY = """
    import sys

    def predict(x: int) -> int:
        print("o" * 2000)
        print("e" * 2000, file=sys.stderr)
        if x < 0:
            raise ValueError(x)
        return x
"""


def ask(server: Any, times: int) -> None:
    """All answered as they should be; a failed one and a wrong one among them."""
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answers = threads.map(lambda x: (x, server.predict({"x": x})), [*range(times), -1, "?"])
        found = {x: (answer.status, answer.body) for x, answer in answers}
    assert all(found[x] == (200, b"%d" % x) for x in range(times))
    assert (found[-1][0], found["?"][0]) == (500, 422)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("kind", ["def predict", "async def predict"])
def test_a_full_disk_stops_nothing(start, form, kind):
    full = os.open("/dev/full", os.O_WRONLY)
    server = start(CHATTY.replace("def predict", kind), streams=full, CORTEN_LOG_FORMAT=form)
    os.close(full)
    ask(server, 60)
    assert server.stop() == 0


def test_closed_streams_stop_nothing(start):
    server = start(CHATTY, streams=-1)
    ask(server, 20)
    places = [os.readlink(f"/proc/{server.pid}/fd/{number}") for number in (0, 1, 2)]
    assert places[1:] == ["/dev/null"] * 2
    assert server.stop() == 0


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_pipe_that_nobody_reads_stops_nothing(start, form):
    reading, writing = os.pipe()
    try:
        server = start(CHATTY, streams=writing, CORTEN_LOG_FORMAT=form, CORTEN_WORKERS="2")
        os.close(writing)
        ask(server, 400)  # fills the pipe
        before = [resident(pid) for pid in (server.pid, *server.children())]
        _flood(server.port, 14_000)
        ask(server, 1500)  # 6 MB of prints
        after = [resident(pid) for pid in (server.pid, *server.children())]
        assert all(more - less < 24 << 20 for less, more in zip(before, after, strict=True))
        lost = server.request("GET", "/metrics").body
        assert int(re.search(rb"corten_log_lines_dropped_total (\d+)", lost)[1]) > 1000
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.extend(iter(lambda: os.read(reading, 1 << 16), b"")))
        reader.start()
        time.sleep(0.5)
        ask(server, 8)
        assert server.stop() == 0
        reader.join(10)
    finally:
        os.close(reading)
    text = b"".join(read).decode()
    server_lost = re.findall(r"(\d+) lines of the log were dropped", text)
    assert sum(map(int, server_lost)) > 1000
    assert re.search(r"(\d+) lines of output were dropped", text)
    if form == "json":
        assert all(json.loads(line)["message"] for line in text.splitlines())


def _flood(port: int, count: int) -> None:
    """Requests that nobody has a path for, many at once on one connection."""
    request = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        for _ in range(count // 100):
            client.sendall(request * 100)
            answered = 0
            while answered < 100:
                answered += client.recv(1 << 16).count(b"HTTP/1.1 404")


def test_after_a_full_disk_the_log_says_what_is_missing(tmp_path):
    file = tmp_path / "log"
    place = os.open("/dev/full", os.O_WRONLY)
    log = Log("info", descriptor=place)
    for number in range(500):
        log.request("GET", f"/{number}", 200, 0.001, "127.0.0.1:1")
    wait_for(lambda: log.lost == 500)
    with file.open("wb") as there:
        os.dup2(there.fileno(), place)
    log.say("here again")
    log.say("and here")
    log.close()
    os.close(place)
    first, second, third = file.read_text().splitlines()
    assert first == "warning: 500 lines of the log were dropped, standard error was full or not read"
    assert (second, third) == ("here again", "and here")


def test_a_line_that_was_cut_does_not_spoil_the_next(tmp_path):
    resource = pytest.importorskip("resource")
    file = tmp_path / "log"
    place = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        log = Log("info", "json", place)
        log.say("one that is longer than what fits")
        wait_for(lambda: log.lost == 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.say("two")
    log.close()
    os.close(place)
    cut, told, said = file.read_text().splitlines()
    assert len(cut) == 20
    assert json.loads(told)["message"].startswith("1 lines of the log were dropped")
    assert json.loads(told)["level"] == "warning"
    assert json.loads(said)["message"] == "two"


def test_a_stream_that_does_not_wait_is_waited_for():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    log = Log("info", descriptor=writing)
    for number in range(5000):
        log.request("GET", f"/{number}", 200, 0.001, "127.0.0.1:1")
    wait_for(lambda: not select.select([], [writing], [], 0)[1])
    read = b""
    while read.count(b"\n") < 5000:
        assert select.select([reading], [], [], 10)[0], "lines are missing"
        read += os.read(reading, 1 << 16)
    assert log.lost == 0
    log.close()
    os.close(reading)
    os.close(writing)


def test_what_the_project_puts_in_the_place_of_a_stream_gets_its_lines(start, tmp_path):
    reading, writing = os.pipe()
    server = start(
        """
        import os

        def predict(x: int) -> int:
            print("before")
            kept, there = os.dup(1), os.open(os.environ["THERE"], os.O_WRONLY | os.O_CREAT)
            os.dup2(there, 1)
            print("inside")
            os.dup2(kept, 1)
            print("after")
            return x
        """,
        streams=writing,
        CORTEN_LOG="off",
        THERE=str(tmp_path / "there"),
    )
    os.close(writing)
    server.predict({"x": 1})
    server.stop()
    with os.fdopen(reading, "rb") as file:
        lines = file.read().splitlines()
    assert [line for line in lines if not line.startswith(b"ready")] == [b"before", b"after"]
    assert (tmp_path / "there").read_text() == "inside\n"


def test_prints_of_a_forked_process_arrive_and_those_of_a_dead_one_are_not_lost(start):
    server = start("""
        import os

        def predict(x: int) -> int:
            pid = os.fork()
            if pid == 0:
                print("child", flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            print("parent")
            os._exit(3)
    """)
    assert server.predict({"x": 1}).status == 502
    wait_for(lambda: "is started again" in server.log())
    assert server.out.read_text().splitlines() == ["child", "parent"]
