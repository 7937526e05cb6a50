"""The server: where it listens and where it refuses to, TLS, its end, one root for one server, and a full disk."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from pathlib import Path

import pytest

from corten.errors import RegistryError, StoreError, UsageError
from corten.events import Event, Note
from corten.registry.server.passwords import Passwords
from corten.registry.server.server import Settings, listening
from support.certificates import Authority
from support.embedded import digest_of, serving


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_strangers_need_a_password_or_a_word(tmp_path: Path, host: str) -> None:
    with (
        pytest.raises(UsageError, match="anybody who reaches") as caught,
        listening(tmp_path, Settings(host=host, port=0)),
    ):
        pass
    assert "--htpasswd" in str(caught.value.hint)
    with listening(tmp_path, Settings(host=host, port=0, anyone=True)) as server:
        assert server.address


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    with pytest.raises(UsageError), listening(tmp_path, Settings(host="no such host", port=0)):
        pass
    with pytest.raises(RegistryError), listening(tmp_path, Settings(host="192.0.2.1", port=0, anyone=True)):
        pass


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RegistryError) as caught, listening(tmp_path, Settings(port=port)):
            pass
    assert str(port) in caught.value.message
    assert "--port" in str(caught.value.hint)


def test_a_root_has_one_server(tmp_path: Path) -> None:
    with serving(tmp_path):
        with pytest.raises(StoreError, match="another registry"), serving(tmp_path):
            pass
        with serving(tmp_path, read_only=True):
            pass


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError), serving(tmp_path / "file" / "root"):
        pass


def test_tls(tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue("server")
    data = os.urandom(5 << 20)
    with serving(tmp_path, tls=(issued.certificate, issued.key)) as client:
        client.tls = ssl.create_default_context(cafile=os.fspath(authority.ca))
        digest = client.push_blob("a", data)
        assert client("GET", f"/v2/a/blobs/{digest}").body == data
        part = client("GET", f"/v2/a/blobs/{digest}", headers={"Range": "bytes=1000000-4000000"})
        assert part.body == data[1_000_000:4_000_001]
        # One who never shakes hands keeps nobody else waiting.
        with socket.create_connection(("127.0.0.1", client.port)) as silent:
            assert client.another()("GET", "/v2/").status == 200
            silent.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")


def test_a_certificate_that_is_none(tmp_path: Path, authority: Authority) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    (tmp_path / "text").write_text("text")
    for files in (
        (one.certificate, other.key),
        (tmp_path / "text", one.key),
        (tmp_path / "missing", one.key),
    ):
        with pytest.raises(UsageError), listening(tmp_path / "root", Settings(port=0, tls=files)):
            pass


def test_what_is_in_flight_is_finished(tmp_path: Path) -> None:
    with listening(tmp_path, Settings(port=0)) as server:
        thread = threading.Thread(target=server.run, args=(20.0,))
        thread.start()
        port = int(server.address.rpartition(":")[2])
        idle = socket.create_connection(("127.0.0.1", port), 20)
        with socket.create_connection(("127.0.0.1", port), 20) as busy:
            data = b"x" * 1000
            head = f"POST /v2/a/blobs/uploads/?digest={digest_of(data)} HTTP/1.1\r\nContent-Length: 1000\r\n"
            busy.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
            assert b"100 Continue" in busy.recv(1000)
            server.stop()
            assert idle.recv(1) == b""
            assert thread.is_alive()
            busy.sendall(data)
            answer = busy.recv(65536)
            assert b" 201 Created" in answer
            assert b"Connection: close" in answer
        thread.join(20)
        assert not thread.is_alive()


def test_what_does_not_end_is_cut(tmp_path: Path) -> None:
    with listening(tmp_path, Settings(port=0)) as server:
        thread = threading.Thread(target=server.run, args=(0.1,))
        thread.start()
        with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), 20) as busy:
            busy.sendall(b"POST /v2/a/blobs/uploads/?digest=sha256:" + b"0" * 64 + b" HTTP/1.1\r\n")
            busy.sendall(b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
            assert b"100 Continue" in busy.recv(1000)
            server.stop()
            assert busy.recv(1) == b""
        thread.join(20)
        assert not thread.is_alive()
    assert list(tmp_path.rglob("_uploads/*")) == []


def test_a_line_for_each_request(tmp_path: Path) -> None:
    seen: list[Event] = []
    with listening(tmp_path, Settings(port=0), seen.append) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), 20) as client:
            client.sendall(b"GET /v2/_catalog HTTP/1.1\r\nAuthorization: Basic c2VjcmV0OnNlY3JldA==\r\n")
            client.sendall(b"Connection: close\r\n\r\n")
            while client.recv(1000):
                pass
        server.stop()
        thread.join()
    assert len(seen) == 1
    assert isinstance(seen[0], Note)
    assert seen[0].verbose
    assert "GET /v2/_catalog 200 " in seen[0].message
    assert "c2Vj" not in seen[0].message


def test_a_full_disk(tmp_path: Path) -> None:
    """/dev/full answers every write as a full disk does."""
    with serving(tmp_path) as client:
        place = client.begin("a")
        upload = tmp_path / "repositories/a/_uploads" / place.rpartition("/")[2]
        upload.unlink()
        upload.symlink_to("/dev/full")
        said = client("PATCH", place, b"x" * 100_000)
        assert (said.status, said.code) == (507, "UNKNOWN")
        assert "full" in said.json["errors"][0]["message"]
        assert os.strerror(errno.ENOSPC) not in said.json["errors"][0]["message"]
        assert client("GET", place).status == 404
        assert list(tmp_path.rglob("_uploads/*")) == []


def test_passwords_in_the_clear_are_warned_about(tmp_path: Path) -> None:
    import bcrypt

    users = tmp_path / "users"
    users.write_bytes(b"ann:" + bcrypt.hashpw(b"x", bcrypt.gensalt(4)))
    seen: list[Event] = []
    settings = Settings(host="0.0.0.0", port=0, passwords=Passwords.read(users))
    with listening(tmp_path / "root", settings, seen.append):
        pass
    assert "unencrypted" in str(seen[0])
