"""Requests on their way to a command: marked with who sent them, and everything else passed on as it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.runtime.http_requests import Refused, Requests
from support.forwarded import forwarded

OURS = b"\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
MARKED = GET.replace(b"HTTP/1.1", b"HTTP/1.1" + OURS)
LONG = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nGET / HTTP"
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nGET /\r\n2\r\n\r\n\r\n0\r\nTrailer: 1\r\n\r\n"
)


def marked(data: bytes) -> bytes:
    return re.sub(rb"((?:POST|GET) /x? HTTP/1.1)(?=\r\nHost)", rb"\1" + OURS, data)


@given(st.lists(st.integers(1, 400), max_size=12))
def test_every_request_is_marked_wherever_the_pieces_end(cuts: list[int]) -> None:
    whole = GET + LONG + CHUNKED + GET + LONG
    requests, found, start = Requests("192.0.2.1"), b"", 0
    for cut in [*sorted(set(cuts)), len(whole)]:
        found += requests.feed(whole[start:cut])
        start = max(start, cut)
    assert found == marked(whole)


def test_what_a_client_says_of_others_is_kept_from_this_machine_alone() -> None:
    request = GET.replace(
        b"\r\n\r\n", b"\r\nx-forwarded-FOR: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\r\n"
    )
    assert Requests("192.0.2.1").feed(request) == MARKED
    kept = Requests("127.0.0.1").feed(request)
    assert b"X-Forwarded-For: 198.51.100.7, 127.0.0.1\r\n" in kept
    assert kept.count(b"Proto") == 1
    assert b"X-Forwarded-Proto: https\r\n" in kept


def test_the_last_request_asks_the_program_to_close() -> None:
    request = GET.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    found = Requests("192.0.2.1").feed(request, last=True)
    assert found.lower().count(b"connection:") == 1
    assert b"\r\nConnection: close\r\n" in found


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"EHLO here\r\n", b"*1\r\n$4\r\nPING\r\n", b"\0" * 100],
)  # fmt: skip
def test_other_protocols_pass_as_they_are(data: bytes) -> None:
    requests = Requests("192.0.2.1")
    assert requests.feed(data) + requests.feed(GET) == data + GET


def test_another_protocol_begins_when_the_program_agrees() -> None:
    asking = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    for answer, then in ((b"HTTP/1.1 101 Switching", GET), (b"HTTP/1.1 404 Not Found", MARKED)):
        requests = Requests("192.0.2.1")
        assert b"Upgrade: websocket" in requests.feed(asking, last=True)
        assert requests.feed(GET) == b""
        requests.answered(answer)
        assert requests.feed(b"") == then


@pytest.mark.parametrize(
    "data",
    [
        LONG.replace(b"10", b"10\r\nContent-Length: 11"),
        CHUNKED.replace(b"chunked\r\n", b"chunked\r\nContent-Length: 3\r\n"),
        LONG.replace(b"10", b"+1"),
        GET.replace(b"\r\nAccept", b"\nAccept"),
        GET.replace(b"\r\nAccept", b"\r\n Accept"),
        CHUNKED.replace(b"5;x=y", b"-5"),
        CHUNKED.replace(b": chunked", b": gzip, identity"),
        GET.replace(b"*/*", b"x" * 300_000),
    ],
)
def test_a_request_with_unclear_ends_is_refused(data: bytes) -> None:
    with pytest.raises(Refused, match=r"HTTP/1\.1 [45]"):
        Requests("192.0.2.1").feed(data)


ECHO = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers.get("Upgrade"):
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            while data := self.connection.recv(100):
                self.connection.sendall(data[::-1])
            return
        time.sleep(0.01)
        body = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.headers["Connection"] == "close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


def test_a_busy_connection_is_told_that_it_ends_and_loses_nothing() -> None:
    import http.client
    import signal

    with forwarded(ECHO) as found:
        found.until("READY=1")
        connection = http.client.HTTPConnection("127.0.0.1", found.port, timeout=30)
        answered = 0
        while True:
            connection.request("GET", "/")
            answer = connection.getresponse()
            body = answer.read()
            assert b"X-Forwarded-For: 127.0.0.1\n" in body
            assert f"X-Forwarded-Host: 127.0.0.1:{found.port}\n".encode() in body
            answered += 1
            if answer.will_close:
                break
            if answered == 5:
                found.process.send_signal(signal.SIGTERM)
        assert answered >= 6
        assert found.process.wait(20) == 0


def test_an_upgraded_connection_is_the_programs_own() -> None:
    with forwarded(ECHO) as found:
        found.until("READY=1")
        with found.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            while b"\r\n\r\n" not in connection.recv(1 << 16):
                pass
            connection.sendall(b"\x01\x02\x03")
            assert connection.recv(10) == b"\x03\x02\x01"
