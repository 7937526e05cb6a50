"""What comes in is hostile: bounded, refused in order, and never anybody else's problem."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from corten.registry.server import wire
from support.commander import until
from support.embedded import Client, digest_of, serving

DATA = b"x" * 1000
DIGEST = digest_of(DATA)


def raw(client: Client, *pieces: bytes, timeout: float = 20) -> bytes:
    """Send bytes as they are, then read until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", client.port), timeout) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer else 0


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"GET /v2/ HTTP/2.0\r\n\r\n",
        b"get /v2/ HTTP/1.1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nbad name: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nname : x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\na: x\r\n folded: y\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\na: x\0y\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_what_is_not_http(client: Client, head: bytes) -> None:
    assert status(raw(client, head)) == 400
    assert client("GET", "/v2/").status == 200


def test_whoever_tries_https_first_is_told_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that may use plain http begin with a handshake, and go on when they get something else."""
    monkeypatch.setattr(wire, "HEAD_SECONDS", 1000.0)
    with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
        connection.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03")
        assert status(connection.recv(65536)) == 400


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\na: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"GET /v2/ HTTP/1.1\r\n" + b"a: b\r\n" * 1_000_000,
    ],
)
def test_heads_without_end(client: Client, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
        try:
            connection.sendall(head)
        except OSError:
            pass  # the server had seen enough
        else:
            assert status(connection.recv(65536)) == 431
    assert client("GET", "/v2/").status == 200


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n",
        b"5\r\nhello!!\r\n0\r\n\r\n",
        b"f" * 17 + b"\r\n",
        b"5;" + b"x" * 5000,
    ],
)
def test_bad_chunks(client: Client, chunks: bytes) -> None:
    place = client.begin("a")
    head = f"PATCH {place} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert status(raw(client, head + chunks)) == 400
    assert client("GET", "/v2/").status == 200


def test_a_body_that_is_cut_is_kept_so_far(client: Client) -> None:
    place = client.begin("a")
    assert raw(client, f"PATCH {place} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n".encode(), DATA[:400]) == b""
    assert client("GET", place).headers["range"] == "0-399"
    chunked = f"PATCH {place} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert raw(client, chunked, b"64\r\n" + DATA[400:500] + b"\r\nffff\r\n" + DATA[500:600]) == b""
    assert client("GET", place).headers["range"] == "0-599"
    assert (
        raw(client, f"PUT {place}?digest={DIGEST} HTTP/1.1\r\nContent-Length: 400\r\n\r\n".encode(), b"x")
        == b""
    )
    assert client("HEAD", f"/v2/a/blobs/{DIGEST}").status == 404
    said = client("PUT", f"{place}?digest={DIGEST}", DATA[601:], {"Content-Range": "601-999"})
    assert said.status == 201
    assert client("GET", f"/v2/a/blobs/{DIGEST}").body == DATA


def test_a_cut_post_leaves_nothing(client: Client) -> None:
    head = f"POST /v2/a/blobs/uploads/?digest={DIGEST} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    assert raw(client, head.encode(), DATA[:10]) == b""
    assert list(client.root.rglob("_uploads/*")) == []


def test_continue_is_said_only_when_the_body_is_wanted(client: Client) -> None:
    place = client.begin("a")
    with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
        head = "PATCH {} HTTP/1.1\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.format(place).encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(DATA)
        assert status(connection.recv(1000)) == 202
        connection.sendall(head.format("/v2/A/blobs/uploads/x").encode())
        answer = connection.recv(65536)
        assert status(answer) in (400, 404)
        assert b"Connection: close" in answer


def test_requests_in_one_piece_are_answered_in_turn(client: Client) -> None:
    place = client.begin("a")
    wire_bytes = (
        f"PATCH {place} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n".encode()
        + DATA
        + f"PUT {place}?digest={DIGEST} HTTP/1.1\r\n\r\nGET /v2/a/blobs/{DIGEST} HTTP/1.1\r\nConnection: close\r\n\r\n".encode()
    )
    answer = raw(client, wire_bytes)
    assert [answer.count(code) for code in (b"HTTP/1.1 202", b"HTTP/1.1 201", b"HTTP/1.1 200")] == [1, 1, 1]
    assert answer.endswith(DATA)


def test_a_refused_body_does_not_become_a_request(client: Client) -> None:
    smuggled = f"DELETE /v2/a/blobs/{client.push_blob('a', DATA)} HTTP/1.1\r\n\r\n".encode()
    head = f"PUT /v2/a/tags/list HTTP/1.1\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    answer = raw(client, head + smuggled)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert status(answer) == 405
    assert client("HEAD", f"/v2/a/blobs/{DIGEST}").status == 200


def test_a_large_refused_body_gets_its_answer(client: Client) -> None:
    said = client("POST", "/v2/A/blobs/uploads/?digest=x", b"y" * 3_000_000)
    assert said.code == "NAME_INVALID"


def test_slow_heads_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\na: ")
        try:
            while True:
                connection.sendall(b"x")
                connection.settimeout(0.05)
                try:
                    assert connection.recv(100) == b""
                    break
                except TimeoutError:
                    continue
        except OSError:
            pass


def test_slow_and_stalled_bodies_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "IDLE", 0.2)
    place = client.begin("a")
    with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
        connection.sendall(f"PATCH {place} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n".encode() + b"x")
        assert connection.recv(100) == b""
    with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
        connection.sendall(f"PATCH {place} HTTP/1.1\r\nContent-Length: 100000\r\n\r\n".encode())
        ended = False
        for _ in range(400):  # of 0.05 seconds, where the server allows 0.2
            if ended:
                break
            try:
                connection.sendall(b"x")
                connection.settimeout(0.05)
                ended = connection.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended


def test_idle_connections_make_room(tmp_path: Path) -> None:
    with serving(tmp_path, most_connections=2) as client:
        held = [socket.create_connection(("127.0.0.1", client.port), 20) for _ in range(2)]
        for connection in held:
            connection.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")
            assert status(connection.recv(65536)) == 200
            # The client has its answer a moment before the server counts the connection as idle.
            until(lambda: all(item.idle_since is not None for item in client.server.connections()))
        assert status(raw(client, b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n")) == 200
        assert held[0].recv(1) == b""
        held[1].setblocking(False)
        with pytest.raises(BlockingIOError):
            held[1].recv(1)
        for connection in held:
            connection.close()


def test_no_more_work_than_allowed(tmp_path: Path) -> None:
    with serving(tmp_path, most_connections=3) as client:
        places = [client.begin("a") for _ in range(3)]
        held = [socket.create_connection(("127.0.0.1", client.port), 20) for _ in places]
        for connection, place in zip(held, places, strict=True):
            head = "PATCH {} HTTP/1.1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
            connection.sendall(head.format(place).encode())
            assert b"100 Continue" in connection.recv(65536)
        answer = raw(client, b"GET /v2/ HTTP/1.1\r\n\r\n")
        assert status(answer) == 503
        assert b"Retry-After" in answer
        for connection in held:
            connection.sendall(b"0123456789")
            assert status(connection.recv(65536)) == 202
            connection.close()
        assert client.another()("GET", "/v2/").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/",
        "/v2",
        "/v2/a",
        "/v2//manifests/x",
        "/v2/a/blobs/sha256:../../x",
        "/v2/a/blobs/..%2f..%2f..%2fetc%2fpasswd",
        "/v2/..%2f..%2fetc/manifests/x",
        "/v2/a/blobs/uploads/..",
        "/v2/a/blobs/uploads/%2e%2e%2f%2e%2e",
        "/v2/a/manifests/..%2f..%2f_blobs%2fx",
        "/v2/%00/tags/list",
        "/v2/a%0d%0aX:y/tags/list",
        "/v2/%ff/tags/list",
        "/v2/a/tags/list?" + "&".join(f"k{number}=1" for number in range(50)),
        "/v2/a/tags/list?last=%ff",
        "//[",
    ],
)
def test_addresses_from_hell(client: Client, path: str) -> None:
    (client.root.parent / "secret").write_text("secret")
    for method in ("GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"):
        said = client.another()(method, path)
        assert 400 <= said.status < 500 or path == "/v2", (method, path, said)
        assert b"secret" not in said.body
    assert {item.name for item in client.root.parent.iterdir()} == {"root", "secret"}


def test_pages_in_a_browser_change_nothing(client: Client) -> None:
    origin = {"Origin": "https://example.com"}
    said = client("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA, origin)
    assert (said.status, said.code) == (403, "DENIED")
    said = client("GET", "/v2/_catalog", headers={"Host": "rebound.example.com:5000"})
    assert (said.status, said.code) == (403, "DENIED")
    for host in ("localhost:5000", "127.0.0.1:5000", "[::1]:5000", "127.0.0.1"):
        assert client("GET", "/v2/", headers={"Host": host}).status == 200
