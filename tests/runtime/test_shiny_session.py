"""When an application of Shiny counts as ready: its server function has run in a session and raised nothing. A program that speaks as Shiny does
stands in for it; tests/corpus has the real one."""

from __future__ import annotations

from corten.runtime.forwarder import SHINY
from support.forwarded import forwarded

SERVER = """
import socket, threading
def serve(connection):
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        head += connection.recv(1)
    if b" /websocket/ " not in head.split(b"\\r\\n")[0] or not UPGRADES:
        connection.sendall(b"HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n")
        return connection.close()
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n")
    connection.sendall(frame(b'{"config":{}}'))
    size = connection.recv(2)[1] & 0x7f
    mask, data = connection.recv(4), connection.recv(size)
    assert bytes(a ^ b for a, b in zip(data, mask * 20)) == b'{"method":"init","data":{}}'
    for message in MESSAGES:
        connection.sendall(message)
    while connection.recv(1 << 16):
        pass
def frame(data, first=0x81):
    return bytes((first, len(data))) + data
UPGRADES, MESSAGES = {upgrades}, {messages}
listener = socket.create_server(("127.0.0.1", 8080))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"""
BUSY, VALUES, CLOSE = b'\x81\x0f{"busy":"busy"}', b'\x81\x0d{"values":{}}', b"\x88\x02\x03\xe9"


def program(*messages: bytes, upgrades: bool = True) -> str:
    return SERVER.replace("{upgrades}", str(upgrades)).replace("{messages}", repr(list(messages)))


def test_a_server_function_that_raises_nothing_is_ready() -> None:
    with forwarded(program(BUSY, VALUES), SHINY) as found:
        found.until("READY=1")
        assert not [word for word in found.words if word.startswith(("NOTE", "FAILED"))]


def test_a_server_function_that_raises_ends_the_start() -> None:
    with forwarded(program(BUSY, CLOSE), SHINY) as found:
        assert found.until("FAILED=") == (
            "FAILED=shows an exception instead of its page: its server function raises, or an output of it"
        )
        assert "READY=1" not in found.words


def test_another_program_is_ready_and_that_is_said() -> None:
    with forwarded(program(upgrades=False), SHINY) as found:
        found.until("NOTE=answers, but opens no session, so its script was not tried")
        found.until("READY=1")
