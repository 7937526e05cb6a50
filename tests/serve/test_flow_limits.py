"""Many connections, slow ones, and workers of other sorts than ours."""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import sys
import textwrap
import time
from pathlib import Path

import pytest

ECHO = "def predict(value: int = 0) -> int: return value"
SOURCE = Path(__file__).parents[2] / "src"
FAKE = """
    import mmap, os, socket
    from corten_serve import frames
    from corten_serve.frames import Item

    channel, board = socket.socket(fileno=3), mmap.mmap(4, frames.BOARD_SIZE)
    table = b'{{"routes": [{{"method": "POST", "path": "/predict", "route": "r", "headers": []}}]}}'
    channel.sendall(frames.encode([Item(0, frames.READY, body=table)]))
    reader = frames.Reader()
    while data := channel.recv(1 << 16):
        for item in reader.feed(data):
            if item.kind == frames.CALL:
                {code}
"""


@pytest.fixture
def fake(tmp_path):
    """An interpreter in whose place a worker of ours speaks frames, and does `code` with a call named `item`."""

    def make(code: str) -> str:
        script = tmp_path / "fake.py"
        script.write_text(textwrap.dedent(FAKE).format(code=code))
        interpreter = tmp_path / "python"
        interpreter.write_text(f"#!/bin/sh\nexec env PYTHONPATH={SOURCE} {sys.executable} {script}\n")
        interpreter.chmod(interpreter.stat().st_mode | stat.S_IXUSR)
        return str(interpreter)

    return make


def test_a_request_whose_turn_it_was_when_two_workers_died_is_refused(start, fake):
    """Workers that end before they say that they begin: whoever's turn it was is not handed on for ever."""
    server = start(ECHO, CORTEN_WORKER_PYTHON=fake("os._exit(9)"))
    answer = server.predict({})
    assert answer.status == 502
    assert "exited with code 9" in answer.json["error"]
    assert "2 workers have ended that way" in answer.json["error"]


def test_a_worker_that_speaks_no_frames_is_ended(start, fake):
    server = start(ECHO, CORTEN_WORKER_PYTHON=fake("channel.sendall(b'\\\\xff' * 100)"))
    assert server.predict({}).status == 502
    assert server.request("GET", "/livez").status == 200


def test_ten_thousand_idle_connections_cost_little_and_stop_nobody(start):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 11_000:
        pytest.fail(f"'ulimit -Hn' is {hard}, and this test holds 10,000 connections at both ends")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        server = start(ECHO)
        before = _memory(server.pid)
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10_000)]
        assert server.predict({"value": 3}).json == 3
        assert _memory(server.pid) - before < 60 << 20
        for client in idle:
            client.close()
        assert server.predict({"value": 4}).json == 4
        assert server.stop() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_that_says_nothing_or_half_a_header_is_closed(start):
    server = start(ECHO, CORTEN_IDLE_SECONDS="0.5")
    for words in (b"", b"POST /predict HTTP/1.1\r\nHost: localhost\r\nx-slow: "):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.sendall(words)
            assert b"200" not in client.recv(1000)
    assert server.predict({"value": 3}).json == 3


def test_a_worker_is_back_as_fast_as_it_starts(start):
    server = start(
        """
        import os, time

        class P:
            def setup(self): time.sleep(0.5)
            def predict(self) -> int: return os.getpid()
    """,
        "predict:P",
    )
    pid = server.predict({}).json
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.05)
    begun = time.monotonic()
    assert server.predict({}).json != pid, "it waits for the next one"
    assert time.monotonic() - begun < 30


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


HOLD = """(
                    board.__setitem__(slice(0, 8), item.id.to_bytes(8, 'little')),
                    held.add(Item(item.id, frames.ANSWER, 200, 0, b'', b'7')),
                    {then}
                )"""


@pytest.mark.parametrize("then", ["os._exit(9)", "__import__('time').sleep(60)"], ids=["dies", "hangs"])
def test_what_a_worker_finished_before_it_died_or_hung_is_handed_over(start, fake, then):
    code = HOLD.format(then=then)
    code = f"held = __import__('corten_serve.worker.held').worker.held.Held(memoryview(board)); {' '.join(code.split())}"
    server = start(ECHO, CORTEN_WORKER_PYTHON=fake(code))
    begun = time.monotonic()
    answer = server.predict({})
    assert (answer.status, answer.json) == (200, 7)
    assert time.monotonic() - begun < 30
