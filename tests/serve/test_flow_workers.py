"""Several workers, and what becomes of requests when one of them ends, hangs, leaks or is not well."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import time
from pathlib import Path

import pytest

WHO = """
    import os, time

    def predict(seconds: float = 0.0, value: int = 0) -> list[int]:
        time.sleep(seconds)
        return [os.getpid(), value]
"""


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def workers(server, model: int = 0) -> list[dict]:
    return server.request("GET", "/status").json["models"][model]["workers"]


def all_ready(server, count: int) -> bool:
    return [worker["state"] for worker in workers(server)] == ["ready"] * count


def test_slow_requests_are_worked_on_side_by_side(start):
    server = start(WHO, CORTEN_WORKERS="3")
    wait_for(lambda: all_ready(server, 3))
    assert len(server.children()) == 3
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(server.predict, {"seconds": 0.6, "value": n}) for n in range(3)]
        pids = {answer.result().json[0] for answer in answers}
    assert len(pids) == 3, "each worker had one, though the first could have taken all"
    assert server.stop() == 0
    assert "error" not in server.log()


def test_auto_starts_as_many_as_there_are_processors_for(start):
    server = start(WHO, CORTEN_WORKERS="auto")
    wait_for(lambda: all_ready(server, len(os.sched_getaffinity(0))))


def test_each_worker_knows_its_number_and_sees_one_accelerator(start):
    server = start(
        """
        import os, time

        def predict() -> list[str]:
            time.sleep(0.3)
            return [os.environ[name] for name in ("CORTEN_WORKER", "CUDA_VISIBLE_DEVICES", "CORTEN_MODELS")]
        """,
        CORTEN_WORKERS="auto",
        CORTEN_NAME="m",
        CUDA_VISIBLE_DEVICES="4,GPU-7",
    )
    wait_for(lambda: all_ready(server, 2))
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        answers = sorted(f.result().json for f in [threads.submit(server.predict, {}) for _ in range(2)])
    assert answers == [["0", "4", "m"], ["1", "GPU-7", "m"]]


def test_a_killed_worker_costs_only_what_it_had_begun(start):
    server = start(WHO, CORTEN_WORKERS="2", CORTEN_LOG="off")
    wait_for(lambda: all_ready(server, 2))
    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        answers = [threads.submit(server.predict, {"seconds": 0.1, "value": n}) for n in range(24)]
        time.sleep(0.25)
        victim = workers(server)[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        results = [answer.result() for answer in answers]
    lost = [answer for answer in results if answer.status == 502]
    assert len(lost) == 1
    assert "was killed by SIGKILL" in lost[0].json["error"]
    assert all(answer.json[1] == n for n, answer in enumerate(results) if answer.status == 200)
    wait_for(lambda: all_ready(server, 2))
    state = workers(server)[0]
    assert state["restarts"] == 1
    assert state["pid"] != victim


def test_processes_that_a_worker_started_end_with_it(start, tmp_path):
    server = start(
        """
        import os, subprocess

        class P:
            def setup(self): self.child = subprocess.Popen(["sleep", "600"])
            def predict(self, die: bool = False) -> int:
                if die: os.kill(os.getpid(), 9)
                return self.child.pid
        """,
        "predict:P",
    )
    child = server.predict({}).json
    assert server.predict({"die": True}).status == 502
    wait_for(lambda: _ended(child))


def test_an_input_that_ends_workers_is_not_tried_for_ever(start):
    server = start("""
        import os

        def predict(value: int) -> int:
            if value == 13: os._exit(3)
            return value
    """)
    reasons = []
    for _ in range(3):
        reasons.append(server.predict({"value": 13}))
        wait_for(lambda: server.predict({"value": 1}).status == 200)
    assert [answer.status for answer in reasons] == [502] * 3
    assert "exited with code 3" in reasons[0].json["error"]
    assert "has ended 2 workers" in reasons[2].json["error"]
    assert workers(server)[0]["restarts"] == 2
    assert server.predict({"value": 14}).json == 14


def test_an_innocent_input_is_tried_again(start, tmp_path):
    server = start("""
        import os, time

        def predict(gate: str) -> int:
            while os.path.exists(gate): time.sleep(0.01)
            return 1
    """)
    gate = tmp_path / "gate"
    for _ in range(3):
        gate.touch()
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            busy = threads.submit(server.predict, {"gate": str(gate)})
            wait_for(lambda: server.request("GET", "/status").json["models"][0]["queue"]["handed"] == 1)
            os.kill(workers(server)[0]["pid"], signal.SIGKILL)
            assert busy.result().status == 502
        gate.unlink()
        wait_for(lambda: server.predict({"gate": str(gate)}).status == 200)


def test_a_worker_over_its_memory_is_replaced_and_no_request_is_lost(start):
    server = start(
        """
        kept = []

        def predict(value: int) -> int:
            kept.append(bytearray(4 << 20))
            return value
        """,
        CORTEN_WORKER_MEMORY="120Mi",
        CORTEN_HEALTH_SECONDS="0.5",
        CORTEN_LOG="off",
    )
    first = workers(server)[0]["pid"]
    end = time.monotonic() + 60
    value = 0
    while workers(server)[0]["pid"] in (first, None) and time.monotonic() < end:
        answer = server.predict({"value": value})
        assert answer.json == value
        value += 1
        time.sleep(0.02)
    assert workers(server)[0]["pid"] != first
    wait_for(lambda: "of memory, more than 120; another takes its place" in server.log())
    wait_for(lambda: not os.path.exists(f"/proc/{first}"))


def test_a_worker_that_is_not_well_is_replaced(start, tmp_path):
    server = start(
        """
        import os

        class P:
            def setup(self): self.ill = False
            def healthy(self) -> bool: return not self.ill
            def predict(self, ill: bool = False) -> int:
                self.ill = ill
                return os.getpid()
        """,
        "predict:P",
        CORTEN_HEALTH_SECONDS="0.2",
    )
    first = server.predict({}).json
    time.sleep(0.6)
    assert server.predict({}).json == first, "a healthy one stays"
    server.predict({"ill": True})
    wait_for(lambda: workers(server)[0]["pid"] not in (first, None))
    assert server.predict({}).json != first
    wait_for(lambda: "is not healthy" in server.log())


def test_a_request_may_take_no_longer_than_the_limit(start):
    server = start(
        """
        import time
        from corten_serve import Cancelled

        def predict(seconds: float) -> float:
            try:
                time.sleep(seconds)
            except Cancelled:
                print("stopped", flush=True)
                raise
            return seconds
        """,
        CORTEN_TIMEOUT="0.4",
    )
    late = server.predict({"seconds": 30})
    assert (late.status, late.json["error"]) == (504, "the prediction took longer than 0.4 s")
    assert server.predict({"seconds": 0}).json == 0, "the same worker, interrupted"
    assert server.out.read_text() == "stopped\n"
    assert server.predict({"seconds": 30}, headers={"x-request-timeout": "0.1"}).status == 504
    assert server.predict({"seconds": 0.6}, headers={"x-request-timeout": "9"}).status == 504, (
        "a limit is a limit"
    )
    assert workers(server)[0]["restarts"] == 0


def test_a_worker_that_does_not_return_is_replaced_and_those_who_wait_are_served(start):
    server = start(
        """
        import hashlib

        def predict(hang: bool = False, value: int = 0) -> int:
            if hang:
                hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)  # Minutes, and Python's signals wait for its end.
            return value
        """,
        CORTEN_GRACE="0.3",
    )
    with concurrent.futures.ThreadPoolExecutor(5) as threads:
        hangs = threads.submit(server.predict, {"hang": True}, headers={"x-request-timeout": "0.3"})
        time.sleep(0.1)
        others = [threads.submit(server.predict, {"value": n}) for n in range(4)]
        assert hangs.result().status == 504
        assert [other.result().json for other in others] == [0, 1, 2, 3]
    wait_for(lambda: "did not return within 0.3 s of being told to stop" in server.log())
    assert workers(server)[0]["restarts"] == 1


def test_a_worker_that_stands_still_before_it_begins_is_replaced(start):
    server = start(WHO, CORTEN_TIMEOUT="0.4", CORTEN_GRACE="0.3")
    first = server.predict({}).json[0]
    os.kill(first, signal.SIGSTOP)
    late = server.predict({"value": 1})
    assert late.status == 504
    wait_for(lambda: server.predict({}).status == 200)
    assert server.predict({}).json[0] != first


def test_a_request_waits_for_nobody_who_has_time(start):
    server = start(WHO, CORTEN_WORKERS="2")
    wait_for(lambda: all_ready(server, 2))
    for _ in range(50):
        server.predict({})
    with concurrent.futures.ThreadPoolExecutor(9) as threads:
        slow = threads.submit(server.predict, {"seconds": 1.5})
        time.sleep(0.1)
        quick = [threads.submit(server.predict, {"value": n}) for n in range(8)]
        assert [each.result().json[1] for each in quick] == list(range(8))
        assert not slow.done()


@pytest.mark.parametrize("kind", ["", "async "])
def test_work_ends_when_its_client_leaves(start, kind):
    server = start(f"""
        import asyncio, time
        from corten_serve import Cancelled

        {kind}def predict(seconds: float = 0) -> int:
            print("begun", flush=True)
            try:
                {"await asyncio.sleep(seconds)" if kind else "time.sleep(seconds)"}
            except (Cancelled, asyncio.CancelledError):
                print("stopped", flush=True)
                raise
            return 1
    """)
    import socket

    body = json.dumps({"seconds": 30}).encode()
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall(
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    wait_for(lambda: server.out.read_text() == "begun\n")
    client.close()
    wait_for(lambda: server.out.read_text() == "begun\nstopped\n")
    assert server.predict({}).json == 1
    assert workers(server)[0]["restarts"] == 0


def test_an_async_predictor_works_on_many_at_once(start):
    server = start(
        """
        import asyncio

        there = 0

        async def predict(value: int) -> int:
            global there
            there += 1
            while there < 20:
                await asyncio.sleep(0.01)
            return value
        """,
        CORTEN_CONCURRENCY="20",
    )
    # Each waits for all the others.
    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        answers = [threads.submit(server.predict, {"value": n}) for n in range(20)]
        assert [answer.result().json for answer in answers] == list(range(20))


def test_sigterm_with_several_workers_loses_nothing(start):
    server = start(WHO, CORTEN_WORKERS="2")
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        answers = [threads.submit(server.predict, {"seconds": 0.1, "value": n}) for n in range(12)]
        server.wait_for_requests(12)
        server.signal(signal.SIGTERM)
        assert [answer.result().json[1] for answer in answers] == list(range(12))
    assert server.wait() == 0
    assert "killed" not in server.log()


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
