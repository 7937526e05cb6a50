"""What a server says of itself, whatever it says."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from corten.supervise.asking import Load, document, get, load, parsed

GOOD = {
    "models": [
        {
            "workers": [{}, {}],
            "queue": {"waiting": 3, "bound": 1000},
            "latency": {"p50": 1.5, "p99": 9.0, "count": 7},
        },
        {"workers": [{}], "queue": {"waiting": 1, "bound": 10}, "latency": {"p50": 2.5, "count": 1}},
    ]
}


def asked(body: bytes, status: str = "200 OK", question: Callable[[Any], Any] = load) -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode() + body)

        thread = threading.Thread(target=answer)
        thread.start()
        found = question(listener.getsockname()[:2])
        thread.join()
        return found


def test_models_are_summed_up() -> None:
    assert asked(json.dumps(GOOD).encode()) == Load(3, 4, 1010, 2.5, 9.0, 8)


@pytest.mark.parametrize(
    "said",
    [
        [],
        {"models": 3},
        {"models": {}},
        None,
    ],
)
def test_another_document_tells_nothing(said: Any) -> None:
    assert asked(json.dumps(said).encode()) is None


@pytest.mark.parametrize(
    "model",
    [1, None, {"workers": 5}, {"queue": []}, {"latency": {"p50": "fast", "p99": True, "count": 1e300}}],
)
def test_odd_fields_are_passed_over(model: Any) -> None:
    found = asked(json.dumps({"models": [model]}).encode())
    assert found == Load(0, 0, 0, None, None, 0)


def test_no_json_and_no_200() -> None:
    assert asked(b"[" * 100_000) is None
    assert asked(b"\xff\xfe") is None
    assert asked(json.dumps(GOOD).encode(), "404 Not Found") is None


@pytest.mark.parametrize("body", [b"nonsense", b"\xff", b"[" * 100_000, b"[1]", b""])
def test_a_document_that_is_no_object_is_empty(body: bytes) -> None:
    assert asked(body, question=lambda address: document(address, "/openapi.json")) == {}
    assert asked(b'{"a": 1}', question=lambda address: document(address, "/openapi.json")) == {"a": 1}


@pytest.mark.parametrize("piece", [b"", b"x", b"x" * 100_000])
def test_an_answer_that_never_ends_is_none(piece: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not over.wait(0.002):
                    connection.sendall(piece)

        over = threading.Event()
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            assert get(listener.getsockname()[:2], "/", 0.2) is None
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfull", (200, b"full")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\n\r\n", (200, b"full")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"HTTP/1.0 503 Later\r\n\r\nbody", (503, b"body")),
        (b"HTTP/1.1 20 OK\r\n\r\n", None),
        (b"SSH-2.0-x\r\n\r\n", None),
        (b"", None),
    ],
)
def test_an_answer_that_is_not_whole_is_none(answer: bytes, found: Any) -> None:
    assert parsed(answer) == found
