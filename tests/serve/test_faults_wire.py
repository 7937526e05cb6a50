"""HTTP as nobody should send it: on the wire, byte for byte."""

from __future__ import annotations

import gzip
import os
import re
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from support.load import Load

ADD = "def predict(x: int = 0) -> int: return x"
POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SEVEN = b'{"x": 7}'
LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def exchange(port: int, *pieces: bytes, half: bool = False) -> bytes:
    """Everything that the server says until it closes, or has said nothing for half a second."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
            if half:
                client.shutdown(socket.SHUT_WR)
            client.settimeout(0.5 if not half else 20)
            while data := client.recv(1 << 16):
                received += data
        except OSError:
            pass
    return received


def statuses(data: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", data)]


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n" % size


def test_what_two_readers_could_read_differently_is_refused_or_is_the_last_on_its_connection(start):
    """RFC 9112, section 6: a second request that hides in a body is never answered."""
    server = start(ADD)
    hidden = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    chunk = b"8\r\n" + SEVEN + b"\r\n0\r\n\r\n"
    refused = {
        "two lengths": POST + length(8) + length(3) + b"\r\n" + SEVEN,
        "a list of lengths": POST + b"Content-Length: 8, 8\r\n\r\n" + SEVEN,
        "a length with a sign": POST + b"Content-Length: +8\r\n\r\n" + SEVEN,
        "a negative length": POST + b"Content-Length: -8\r\n\r\n" + SEVEN,
        "a length in hexadecimal": POST + b"Content-Length: 0x8\r\n\r\n" + SEVEN,
        "a length beyond all numbers": POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + SEVEN,
        "chunks that are not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunk,
        "another coding": POST + length(8) + b"Transfer-Encoding: xchunked\r\n\r\n" + SEVEN,
        "a space before the colon": POST + length(8) + b"Transfer-Encoding : chunked\r\n\r\n" + chunk,
        "a folded line": POST + length(8) + b"X: a\r\n b\r\n\r\n" + SEVEN,
        "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + chunk,
        "a zero in a header": POST + length(8) + b"x-request-id: a\0b\r\n\r\n" + SEVEN,
    }
    for name, request in refused.items():
        answer = exchange(server.port, request + hidden)
        assert len(statuses(answer)) == 1, name
        assert 400 <= statuses(answer)[0] < 500, name
    both = {
        "length, then chunks": POST + length(3) + CHUNKED,
        "chunks, then length": POST + CHUNKED + length(3),
    }
    for name, request in both.items():
        for body, number in ((chunk, b"7"), (b"0\r\n\r\n", b"0")):
            answer = exchange(server.port, request + b"\r\n" + body + hidden)
            assert statuses(answer) == [200], name
            assert answer.endswith(b"\r\n\r\n" + number), name
    assert exchange(server.port, LIVE).endswith(b'{"status":"live"}')


@pytest.mark.parametrize(
    "rest",
    [
        b"zz\r\nabc",
        b"f" * 18 + b"\r\n",
        b"8;" + b"a" * 20000 + b"\r\n" + SEVEN + b"\r\n0\r\n\r\n",
        b"-1\r\n\r\n",
    ],
)
@pytest.mark.parametrize("first", [b"", b"8\r\n" + SEVEN + b"\r\n"])
def test_a_body_whose_chunks_break_off_is_not_taken_for_whole(start, first, rest):
    """The beginning of it would be a request, and an answer to it would be wrong."""
    server = start(
        "def predict(x: int = 0) -> int:\n        print('predicted', flush=True)\n        return x"
    )
    answer = exchange(server.port, POST + CHUNKED + b"\r\n" + first + rest)
    assert statuses(answer) == [400]
    assert b"broke off" in answer
    exchange(server.port, POST + CHUNKED + b"\r\n" + first + b"9\r\nabc", half=True)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(POST + CHUNKED + b"\r\n" + first)
        time.sleep(0.05)
    assert server.predict({"x": 5}).json == 5
    assert server.out.read_text() == "predicted\n"
    assert "bug" not in server.log()


def test_trailers_that_are_announced_may_follow_a_body(start):
    server = start(ADD)
    body = b"8\r\n" + SEVEN + b"\r\n0\r\nX-Sum: 1\r\n\r\n"
    answer = exchange(server.port, POST + CHUNKED + b"Trailer: X-Sum\r\n\r\n" + body + LIVE)
    assert statuses(answer) == [200, 200]


def test_many_requests_at_once_on_one_connection_are_answered_in_order(start):
    server = start(ADD, CORTEN_WORKERS="2")
    bodies = [b'{"x": %d}' % number for number in range(300)]
    answer = exchange(server.port, b"".join(POST + length(len(body)) + b"\r\n" + body for body in bodies))
    assert [int(number) for number in re.findall(rb"\r\n\r\n(\d+)", answer)] == list(range(300))
    # One who sends many and reads none of the answers is given up, and costs nobody else anything.
    with Load(server.port) as load:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall((POST + length(8) + b"\r\n" + SEVEN) * 300)
        time.sleep(0.3)
    assert load.failures == []
    assert set(load.differences) == {0}
    assert server.request("GET", "/status").json["models"][0]["queue"]["waiting"] == 0


def test_who_closes_one_half_has_left_and_leaves_nothing_behind(start):
    server = start("""
        import time

        def predict(x: int = 0) -> int:
            time.sleep(0.2)
            return x
    """)
    for request in (POST + length(8) + b"\r\n" + SEVEN, POST + length(8) + b"\r\n" + SEVEN[:3], POST, b""):
        assert 200 not in statuses(exchange(server.port, request, half=True))
    assert server.predict({"x": 3}).json == 3
    state = server.request("GET", "/status").json["models"][0]
    assert (state["queue"]["waiting"], state["workers"][0]["restarts"]) == (0, 0)


def test_floods_of_headers_are_refused_and_cost_little(start):
    server = start(ADD)
    floods = [
        POST + b"".join(b"x-%d: a\r\n" % number for number in range(5000)) + b"\r\n",
        POST + b"x: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"a" * 1_000_000,
    ]
    for flood in floods:
        assert statuses(exchange(server.port, flood)) in ([400], [414], [431], []), flood[:40]
    before = memory(server.pid)
    with Load(server.port, clients=2) as load:
        clients = []
        for _ in range(200):
            client = socket.create_connection(("127.0.0.1", server.port))
            client.setblocking(False)
            for _ in range(8):
                try:
                    client.send(b"x: " + b"a" * 30_000)
                except OSError:
                    break
            clients.append(client)
        most = memory(server.pid) - before
        for client in clients:
            client.close()
    assert load.failures == []
    assert most < 100 << 20, "a header is bounded: 400 KiB are read of one"
    assert server.request("GET", "/livez").status == 200


def test_who_drips_heads_and_bodies_is_cut_off_and_stops_nobody(start):
    server = start(ADD, CORTEN_IDLE_SECONDS="1", CORTEN_BODY_SECONDS="1")
    heads = [POST, POST + length(900) + b"\r\n", POST + length(900_000) + b"\r\n", POST + CHUNKED + b"\r\n"]
    drops = [b"x", b" ", b" ", b"1\r\n \r\n"]
    before = memory(server.pid)
    open_ones: list[tuple[socket.socket, bytes]] = []
    with Load(server.port) as load:
        for number in range(240):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            client.sendall(heads[number % 4])
            open_ones.append((client, drops[number % 4]))
        end = time.monotonic() + 60
        while open_ones and time.monotonic() < end:
            for each in list(open_ones):
                try:
                    each[0].sendall(each[1])
                except OSError:
                    open_ones.remove(each)
                    each[0].close()
            time.sleep(0.1)
    assert not open_ones
    assert load.failures == []
    assert set(load.differences) == {0}
    assert memory(server.pid) - before < 40 << 20
    assert "bug" not in server.log()
    wait_for(lambda: server.log().count(" 408 ") > 100)


def test_a_stream_of_empty_gzip_members_is_refused(start):
    """20 bytes each: they unpack to nothing, so no limit of bytes stops them."""
    server = start(ADD)
    body = gzip.compress(b"") * 1_000_000
    done = threading.Event()
    slowest = 0.0

    def probe() -> None:
        nonlocal slowest
        while not done.is_set():
            begun = time.perf_counter()
            assert server.request("GET", "/livez").status == 200
            slowest = max(slowest, time.perf_counter() - begun)

    watch = threading.Thread(target=probe)
    watch.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(POST + b"Content-Encoding: gzip\r\n" + length(len(body)) + b"\r\n")
        threading.Thread(target=_send, args=(client, body)).start()
        assert statuses(client.recv(4096)) == [400]
    done.set()
    watch.join()
    assert slowest < 2
    assert server.predict({"x": 3}).json == 3
    few = b"".join(gzip.compress(part) for part in (b'{"x"', b"", b": 4}"))
    assert server.predict(few, headers={"content-encoding": "gzip"}).json == 4


def test_two_hundred_megabytes_in_chunks_cost_no_memory(start):
    server = start(ADD)
    before = most = memory(server.pid)
    piece = b"100000\r\n" + b"1" * 0x100000 + b"\r\n"
    with Load(server.port, clients=2) as load:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(POST + CHUNKED + b'\r\n5\r\n{"x":\r\n')
            try:
                for _ in range(200):
                    client.sendall(piece)
                    most = max(most, memory(server.pid))
            except OSError:
                pass  # It has been refused.
            assert client.recv(12) in (b"HTTP/1.1 413", b"")
        assert most - before < 30 << 20
    assert load.failures == []
    wait_for(lambda: " 413 " in server.log())


def _send(client: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        client.sendall(data)
