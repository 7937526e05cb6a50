"""HTTP/2 without TLS (h2c, prior knowledge) beside HTTP/1.1 on the same port, with the same limits and the same end."""

from __future__ import annotations

import signal
import socket
import subprocess
import time

from support.http2 import Http2

CODE = """
    import time
    from collections.abc import Iterator

    def predict(seconds: float = 0.0, value: int = 0) -> int:
        time.sleep(seconds)
        return value
"""
STREAM = """
    from collections.abc import Iterator

    def predict(fail: bool = False, size: int = 1) -> Iterator[str]:
        for number in range(3):
            yield str(number) * size
        if fail:
            raise ValueError("in the middle")
"""
LARGE = "def predict(size: int = 5_000_000) -> bytes: return b'x' * size"


def test_curl_speaks_both_versions_on_one_port(start):
    server = start(CODE)
    for option, version in (("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")):
        command = ["curl", "-s", option, "-w", " %{http_version} %{http_code}", "-d", '{"value": 7}']
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{server.port}/predict"], capture_output=True, text=True
        )
        assert done.stdout.split() == ["7", version, "200"]


def test_many_requests_share_one_connection_and_none_is_lost_at_the_end(start):
    server = start(CODE, CORTEN_DRAIN="0.3", CORTEN_WORKERS="2")
    with Http2(server.port) as client:
        asked = [client.ask("POST", "/predict", {"seconds": 0.05, "value": value}) for value in range(20)]
        client.whole(asked[0])
        server.signal(signal.SIGTERM)
        assert [client.whole(number).json for number in asked] == list(range(20))
        while not client.closed:
            client.read(5)
        assert client.farewell
    assert server.wait() == 0


def test_limits_hold_and_cost_no_neighbour_its_answer(start):
    server = start(CODE, CORTEN_BODY_LIMIT="1Ki", CORTEN_BODY_SECONDS="1", CORTEN_TIMEOUT="1")
    with Http2(server.port) as client:
        slow = client.ask("POST", "/predict", b'{"value": ', ("content-type", "application/json"), end=False)
        late = client.ask("POST", "/predict", {"seconds": 20})
        assert client.request("POST", "/predict", {"x": "y" * 2000}).status == 413
        assert client.request("POST", "/nothing", {}).status == 404
        assert client.whole(late).status == 504
        assert client.whole(slow).status == 408
        assert client.request("POST", "/predict", {"value": 3}).json == 3
    with Http2(server.port) as client:
        number = client.ask("GET", "/readyz", None, ("x-long", "y" * 15000), ("x-more", "y" * 15000))
        assert client.whole(number).status == 200
    with Http2(server.port, "evil.example") as client:
        assert client.request("POST", "/predict", {}).status == 403


def test_a_stream_that_breaks_off_says_so_and_leaves_the_connection_to_the_others(start):
    server = start(STREAM)
    with Http2(server.port) as client:
        neighbour = client.ask("POST", "/predict", {"size": 1_000_000})
        broken = client.whole(client.ask("POST", "/predict", {"fail": True}))
        assert broken.body.startswith(b'"0"\n"1"\n"2"\n{"error"')
        assert client.request("POST", "/predict", {}).body == b'"0"\n"1"\n"2"\n'
        assert len(client.whole(neighbour).body) == 3_000_009


def test_large_answers_share_a_connection(start):
    server = start(LARGE)
    with Http2(server.port) as client:
        asked = [client.ask("POST", "/predict", {}) for _ in range(4)]
        assert [len(client.whole(number).body) for number in asked] == [5_000_000] * 4
        assert client.request("POST", "/predict", {"size": 3}).body == b"xxx"


def test_a_client_that_leaves_a_stream_takes_its_work_back(start):
    server = start(CODE, CORTEN_GRACE="0.2")
    with Http2(server.port) as client:
        number = client.ask("POST", "/predict", {"seconds": 600})
        client.read(0.3)
        client.http.reset_stream(number)
        begun = time.monotonic()
        assert client.request("POST", "/predict", {"value": 1}).json == 1
        assert time.monotonic() - begun < 15


def test_silent_connections_end_and_those_at_work_do_not(start):
    server = start(CODE, CORTEN_IDLE_SECONDS="1")
    with (
        Http2(server.port) as busy,
        Http2(server.port) as idle,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow,
    ):
        number = busy.ask("POST", "/predict", {"seconds": 3, "value": 4})
        slow.sendall(b"PRI * HT")
        assert idle.request("GET", "/readyz").status == 200
        assert silent.recv(1) == b""
        assert slow.recv(1) == b""
        while not idle.closed:
            idle.read(5)
        assert busy.whole(number).json == 4
