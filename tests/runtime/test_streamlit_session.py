"""When an application of Streamlit counts as ready: its script has run in a session and raised nothing. A program that speaks as Streamlit does
stands in for it; tests/corpus has the real one."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from corten.runtime import streamlit_session
from corten.runtime.forwarder import RUNNING, STREAMLIT
from support.forwarded import forwarded

SERVER = """
import socket, struct, threading
def serve(connection):
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        head += connection.recv(1)
    if b"/_stcore/stream " not in head.split(b"\\r\\n")[0]:
        connection.sendall(b"HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n")
        return connection.close()
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n")
    first, second = connection.recv(2)
    assert (first, second) == (0x82, 0x80 | 2), "one binary frame of two bytes, masked"
    mask, data = connection.recv(4), connection.recv(2)
    assert bytes(a ^ b for a, b in zip(data, mask)) == b"\\x5a\\x00", "BackMsg.rerun_script"
    for message in next(SESSIONS):
        connection.sendall(message)
    while connection.recv(1 << 16):
        pass
def frame(data, first=0x82):
    size = len(data)
    return bytes((first, size)) + data if size < 126 else bytes((first, 127)) + struct.pack(">Q", size) + data
listener = socket.create_server(("127.0.0.1", 8080))
SESSIONS = iter({sessions})
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"""


def field(number: int, data: bytes | int) -> bytes:
    if isinstance(data, int):
        return bytes((number << 3, data))
    return bytes((number << 3 | 2, len(data))) + data


def raised(kind: str, text: str, *more: bytes) -> bytes:
    """ForwardMsg.delta.new_element.exception."""
    inner = field(1, kind.encode()) + field(2, text.encode()) + b"".join(more)
    return field(5, field(3, field(8, inner)))


SHOWN = field(5, field(3, field(1, b"\x0a\x01x")))
ENDED = field(6, 0)


def program(*sessions: list[bytes]) -> str:
    listed = ", ".join(
        "[" + ", ".join(f"frame({message!r})" for message in session) + "]" for session in sessions
    )
    return SERVER.replace("{sessions}", f"[{listed}]")


def test_a_script_that_ran_without_an_exception_is_ready() -> None:
    with forwarded(program([SHOWN, ENDED]), STREAMLIT) as found:
        found.until("READY=1")


def test_an_exception_of_the_script_is_said_and_is_not_ready() -> None:
    trace = field(3, b'File "/app/app.py", line 3, in <module>')
    session = [SHOWN, raised("KeyError", "'price'", trace), ENDED]
    with forwarded(program(session, session), STREAMLIT) as found:
        assert found.until("FAILED=") == (
            "FAILED=shows an exception instead of its page: KeyError: 'price' (/app/app.py, line 3)"
        )
        assert "READY=1" not in found.words


def test_an_exception_of_the_first_session_alone_is_no_failure() -> None:
    with forwarded(
        program([raised("OSError", "no database yet"), ENDED], [SHOWN, ENDED]), STREAMLIT
    ) as found:
        found.until("READY=1")


def test_a_script_that_is_no_python_is_said() -> None:
    event = field(10, field(3, field(1, b"SyntaxError") + field(2, b"'(' was never closed")))
    session = [field(6, 1), event]
    with forwarded(program(session, session), STREAMLIT) as found:
        assert found.until("FAILED=").endswith("SyntaxError: '(' was never closed")


def test_another_program_than_streamlit_is_ready_when_it_answers() -> None:
    code = program().replace("/_stcore/stream ", "/elsewhere ")
    with forwarded(code, STREAMLIT) as found:
        assert "opens no session" in found.until("NOTE=")
        found.until("READY=1")


def test_large_messages_fragments_and_pings_are_passed_over() -> None:
    code = program([]).replace(
        "iter([[]])",
        "iter([[frame(b'', 0x89), frame(b'x' * (3 << 20)), "
        f"frame({ENDED[:1]!r}, 0x02), frame({ENDED[1:]!r}, 0x80)]])",
    )
    with forwarded(code, STREAMLIT) as found:
        found.until("READY=1")


def test_a_worker_is_ready_when_it_has_run_for_some_seconds() -> None:
    with forwarded("import time\ntime.sleep(600)\n", RUNNING) as found:
        found.until("READY=1")


def test_a_page_with_a_server_error_is_said() -> None:
    code = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500)
http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""
    with forwarded(code) as found:
        assert found.until("NOTE=").startswith("NOTE=answers GET / with 500 Internal Server Error")
        found.until("READY=1")


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_exception(message: bytes) -> None:
    said = streamlit_session.read(message)
    assert len(said.raised) < 700


@settings(max_examples=30)
@given(st.text(max_size=600), st.text(max_size=600))
def test_what_an_exception_says_is_one_line_of_bounded_length(kind: str, text: str) -> None:
    def long(number: int, data: bytes) -> bytes:
        size, head = len(data), bytearray((number << 3 | 2,))
        while size > 0x7F:
            head.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes((*head, size)) + data

    said = streamlit_session.exception(long(1, kind.encode()) + long(2, text.encode()))
    assert "\n" not in said
    assert len(said) <= 620


def test_a_warning_that_the_script_shows_is_no_exception() -> None:
    assert streamlit_session.read(
        raised("Warning", "soon gone", field(5, 1)) + ENDED
    ) == streamlit_session.Said("", True)
