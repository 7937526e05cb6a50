"""Answers that come in parts, and clients that read slowly, or not at all."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

COUNT = """
    import time
    from collections.abc import Iterator

    def predict(count: int, seconds: float = 0.0, size: int = 1) -> Iterator[str]:
        try:
            for number in range(count):
                yield str(number).rjust(size)
                time.sleep(seconds)
        finally:
            print("ended", number + 1, flush=True)
"""


def open_stream(server, **arguments) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/predict", json.dumps(arguments), {"accept": "application/x-ndjson"})
    response = connection.getresponse()
    response.keep = connection  # type: ignore[attr-defined]
    return response


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_parts_come_as_they_are_made(start, tmp_path):
    """The second is made when the first has been read."""
    go = tmp_path / "go"
    server = start(
        COUNT.replace(
            "time.sleep(seconds)", f"while not __import__('os').path.exists({str(go)!r}): time.sleep(0.01)"
        )
    )
    response = open_stream(server, count=3)
    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert response.headers["x-request-id"]
    assert json.loads(response.readline()) == "0"
    go.touch()
    assert [json.loads(line) for line in response] == ["1", "2"]
    assert server.predict({"count": 2}, headers={"accept": "application/x-ndjson"}).status == 200


def test_a_client_that_leaves_ends_the_work(start):
    server = start(COUNT)
    response = open_stream(server, count=1000, seconds=0.02)
    response.readline()
    response.keep.sock.shutdown(socket.SHUT_RDWR)
    response.keep.close()
    response.close()
    wait_for(lambda: "ended" in server.out.read_text())
    assert int(server.out.read_text().split()[1]) < 100
    assert open_stream(server, count=1).read().strip() == b'"0"'


def test_a_large_stream_arrives_whole(start):
    server = start(COUNT)
    response = open_stream(server, count=400, size=100_000)
    lines = [json.loads(line) for line in response]
    assert [int(line) for line in lines] == list(range(400))
    assert {len(line) for line in lines} == {100_000}


def test_a_slow_reader_slows_the_predictor_and_costs_no_memory(start):
    server = start(COUNT)
    before = _memory(server.pid)
    response = open_stream(server, count=2000, size=100_000)
    time.sleep(1.5)
    assert "ended" not in server.out.read_text(), "it is held up, with 200 MB to go"
    assert _memory(server.pid) - before < 30 << 20
    assert sum(1 for _ in response) == 2000
    assert _memory(server.pid) - before < 40 << 20


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_does_not_read_is_given_up(start, stream):
    code = COUNT if stream else "def predict(count: int, size: int) -> str: return 'x' * (count * size)"
    server = start(code, CORTEN_BODY_SECONDS="0.5")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    body = json.dumps({"count": 300, "size": 100_000}).encode()
    client.sendall(
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\naccept: %s\r\nContent-Length: %d\r\n\r\n%s"
        % (b"application/x-ndjson" if stream else b"*/*", len(body), body)
    )
    wait_for(lambda: "POST /predict 499" in server.log())
    if stream:
        wait_for(lambda: "ended" in server.out.read_text())
    data = b""
    client.settimeout(5)
    try:
        while chunk := client.recv(1 << 20):
            data += chunk
    except ConnectionError:
        pass
    assert len(data) < 29_000_000, "and its connection is cut"
    client.close()
    assert server.request("GET", "/livez").status == 200


def test_a_large_answer_arrives_whole(start):
    server = start("def predict(size: int) -> str: return 'x' * size", CORTEN_LOG="off")
    assert server.predict({"size": 40_000_000}).json == "x" * 40_000_000
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for size in (3_000_000, 5, 2_000_000):
        connection.request("POST", "/predict", json.dumps({"size": size}))
        assert len(connection.getresponse().read()) == size + 2
    connection.close()


def test_a_stream_that_breaks_off_is_not_taken_for_whole(start):
    server = start("""
        import os, time
        from collections.abc import Iterator

        def predict() -> Iterator[int]:
            yield 1
            time.sleep(0.3)
            os._exit(4)
    """)
    response = open_stream(server)
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    wait_for(lambda: "the worker exited with code 4" in server.log())


def test_a_stream_that_stops_coming_is_given_up_after_the_limit(start):
    server = start(COUNT, CORTEN_TIMEOUT="0.5")
    response = open_stream(server, count=2, seconds=30)
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    response = open_stream(server, count=8, seconds=0.2)
    assert len(response.read().split()) == 8, "longer than the limit in all, but never between two parts"


def test_sigterm_waits_for_streams(start):
    server = start(COUNT, CORTEN_WORKERS="2")
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        streams = [
            threads.submit(lambda: open_stream(server, count=10, seconds=0.1).read()) for _ in range(2)
        ]
        time.sleep(0.4)
        server.signal(signal.SIGTERM)
        assert [len(stream.result().split()) for stream in streams] == [10, 10]
    assert server.wait() == 0


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
