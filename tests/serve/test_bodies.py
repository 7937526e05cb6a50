"""Bodies on their way: files that are closed while they are written, and clients that fall silent."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import threading
import time
from typing import Any

from corten_serve.server.bodies import Body, _File


def test_a_file_that_is_being_written_keeps_its_number_until_that_is_over():
    reader, writer = os.pipe()
    size = 1 << 20  # More than a pipe holds: the thread waits in the middle.
    file = _File(writer)
    thread = threading.Thread(target=file.write, args=([b"a" * size, b"b" * size],))
    thread.start()
    assert os.read(reader, 1) == b"a"
    file.close()
    other = os.open("/dev/null", os.O_RDWR)
    assert other != writer, "its number is not free while somebody writes to it"
    received = 1
    while data := os.read(reader, 1 << 16):
        assert set(data) <= {ord("a")}, "and what was not begun is not written any more"
        received += len(data)
    thread.join(10)
    assert 1 < received <= size
    os.close(other)
    os.close(reader)
    file.close()
    file.write([b"late"])  # To nowhere: another file may have the number by now.


class Silent:
    """A client's request whose body never comes."""

    def __call__(self) -> Any:
        return asyncio.get_running_loop().create_future()

    def __aiter__(self) -> Any:
        return self

    def __anext__(self) -> Any:
        return asyncio.get_running_loop().create_future()


def test_the_rest_of_a_refused_body_is_not_awaited_for_ever():
    for length in ("100", "100000000", None):
        body = Body(Silent(), length)  # type: ignore[arg-type]
        begun = time.monotonic()
        asyncio.run(asyncio.wait_for(body.discard(0.05), 10))
        assert time.monotonic() - begun < 5


def test_a_server_ends_although_a_refused_client_is_silent(start):
    server = start("def predict(x: int) -> int: return x", CORTEN_BODY_LIMIT="1Ki")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\nhalf")
        assert b" 413 " in client.recv(1000)
        server.signal(signal.SIGTERM)
        assert server.wait(60) == 0


def test_a_server_ends_although_a_client_falls_silent_in_its_body(start):
    server = start("def predict(x: int) -> int: return x", CORTEN_BODY_SECONDS="4")
    bodies = (
        b"Content-Length: 50\r\n\r\nhalf",
        b"Content-Length: 500000\r\n\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    )
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
    *silent, slow = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(4)]
    for client, body in zip(silent, bodies, strict=True):
        client.sendall(head + body)
    slow.sendall(head + b'Transfer-Encoding: chunked\r\n\r\n7\r\n{"x": 1\r\n')
    time.sleep(0.2)
    server.signal(signal.SIGTERM)
    waiting = list(silent)
    while waiting:
        slow.sendall(b"1\r\n \r\n")
        for client in select.select(waiting, [], [], 0.1)[0]:
            assert b" 408 " in client.recv(1000)
            waiting.remove(client)
            client.close()
    slow.sendall(b"1\r\n}\r\n0\r\n\r\n")
    answer = slow.recv(1000)
    assert b" 200 " in answer, "who goes on sending is waited for"
    assert answer.endswith(b"\r\n\r\n1")
    slow.close()
    assert server.wait(60) == 0


def test_a_server_ends_although_clients_do_not_read_their_answers(start):
    code = """
        from collections.abc import Iterator
        from corten_serve import endpoint

        class Model:
            def predict(self) -> str:
                return "x" * 30_000_000

            @endpoint
            def stream(self) -> Iterator[str]:
                for _ in range(300):
                    yield "x" * 100_000
    """
    server = start(code, "predict:Model")
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(3)]
    for client, path in zip(clients, (b"/predict", b"/predict", b"/stream"), strict=True):
        head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson, */*;q=0.5\r\n" % path
        client.sendall(head + b"Content-Length: 2\r\n\r\n{}")
        assert b" 200 " in client.recv(100)
    server.signal(signal.SIGTERM)
    received = 0
    while data := clients[0].recv(1 << 20):
        received += len(data)
    assert received > 30_000_000, "who reads gets the whole of it"
    clients[0].close()
    assert server.wait(30) == 0, "before the minute that a client may otherwise take"
    for client in clients[1:]:
        client.close()
