"""What an application says in the first session of Streamlit, which a process outside the container reads."""

from __future__ import annotations

import pytest

from corten.runtime.first_page import Page
from corten.runtime.forwarder import SHINY, STREAMLIT
from support.forwarded import forwarded

_SERVER = """
import socket, threading
def serve(connection):
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        head += connection.recv(1)
    if HOSTILE:
        HOSTILE.pop()(connection)
        return connection.close()
    connection.sendall(b"HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n")
    connection.close()
UPGRADED = b"HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n"
HOSTILE = [lambda connection: connection.sendall({answer!r})]
listener = socket.create_server(("127.0.0.1", 8080))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"""
_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
_ESCAPE = b"\x1b]0;owned\x07\nREADY=1\n"
ANSWERS = {
    "an endless head": b"HTTP/1.1 101 " + b"x" * 90_000,
    "a frame of 2**63 bytes": _UPGRADED + b"\x82\x7f" + b"\x7f" + b"\xff" * 7,
    "a masked frame": _UPGRADED + b"\x82\x81aaaab",
    "a compressed frame": _UPGRADED + b"\xc2\x01a",
    "a number that never ends": _UPGRADED + b"\x82\x20" + b"\xff" * 32,
    "a frame that is cut off": _UPGRADED + b"\x82\x7e\xff\xff" + b"a" * 10,
    "no answer": b"",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_hostile_session_is_left_and_asked_again(answer: bytes) -> None:
    with forwarded(_SERVER.replace("{answer!r}", repr(answer)), STREAMLIT) as found:
        found.until("READY=1")
        assert not [word for word in found.words if word.startswith("FAILED")]


@pytest.mark.parametrize("name", ["a frame of 2**63 bytes", "a masked frame", "a frame that is cut off"])
def test_a_hostile_session_of_shiny_is_left_and_asked_again(name: str) -> None:
    with forwarded(_SERVER.replace("{answer!r}", repr(ANSWERS[name])), SHINY) as found:
        found.until("READY=1")
        assert not [word for word in found.words if word.startswith("FAILED")]


def test_an_endless_first_page_is_not_read_to_the_end() -> None:
    page = Page()
    page.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(100):
        if not page.wants_more:
            break
        page.feed(bytes(1 << 16))
    assert not page.wants_more
    assert page.raised == ""


def test_the_text_of_an_exception_stays_one_line_of_what_the_forwarder_says() -> None:
    def field(number: int, data: bytes) -> bytes:
        return bytes((number << 3 | 2, len(data))) + data

    message = field(5, field(3, field(8, field(1, b"E") + field(2, _ESCAPE)))) + b"\x30\x00"
    answer = _UPGRADED + bytes((0x82, len(message))) + message
    code = _SERVER.replace("{answer!r}", repr(answer)).replace(
        "HOSTILE = [lambda", "HOSTILE = 2 * [lambda", 1
    )
    with forwarded(code, STREAMLIT) as found:
        assert found.until("FAILED=").startswith("FAILED=shows an exception instead of its page: E: ")
        assert "READY=1" not in found.words
