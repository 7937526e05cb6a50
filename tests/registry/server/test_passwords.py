"""Who may: htpasswd files, Basic authentication, and what is refused about them."""

from __future__ import annotations

import base64
from pathlib import Path

import bcrypt
import pytest

from corten.errors import UsageError
from corten.registry.server.passwords import Passwords
from support.embedded import serving


def entry(user: str, password: str, prefix: bytes = b"2y") -> str:
    hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).replace(
        b"$2b$", b"$" + prefix + b"$", 1
    )
    return f"{user}:{hashed.decode()}\n"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text("# people\n\n" + entry("ann", "secret:ü") + entry("bob", "b" * 100, b"2b"))
    return path


def test_who_may(file: Path) -> None:
    users = Passwords.read(file)
    for _ in range(2):  # the second time from memory
        assert users.admit(basic("ann", "secret:ü"))
        assert users.admit(basic("ann", "secret:ü").replace("Basic", "basic"))
        assert users.admit(basic("bob", "b" * 100))
        assert users.admit(basic("bob", "b" * 72))
        for wrong in (
            None,
            "",
            "Basic",
            "Basic ???",
            "Basic YQ==",
            "Bearer " + basic("ann", "secret:ü")[6:],
            basic("ann", "secret"),
            basic("ann", ""),
            basic("bob", "secret:ü"),
            basic("eve", "secret:ü"),
            basic("", ""),
            basic("ann", "secret:ü\0"),
        ):
            assert not users.admit(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "ann:secret",
        "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "ann:$apr1$x$y",
        "ann:$2y$05$short",
        "ann",
        ":" + entry("", "x").strip()[1:],
        entry("ann", "x").strip() + "x",
    ],
    ids=["plain", "sha", "apr1", "short", "no password", "no name", "long"],
)
def test_other_entries_are_refused_by_their_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "users"
    path.write_text(entry("good", "x") + line + "\n")
    with pytest.raises(UsageError) as caught:
        Passwords.read(path)
    assert "line 2 " in caught.value.message
    assert "ann" not in caught.value.message + str(caught.value.hint)
    assert "secret" not in caught.value.message


def test_work_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(entry("ann", "x").replace("$04$", "$31$"))
    with pytest.raises(UsageError, match="more work"):
        Passwords.read(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nobody\n")
    for name in ("empty", "missing", "."):
        with pytest.raises(UsageError):
            Passwords.read(tmp_path / name)


def test_every_address_asks(file: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "root", passwords=Passwords.read(file)) as client:
        for method, path in (
            ("GET", "/v2/"),
            ("GET", "/v2/_catalog"),
            ("GET", "/v2/a/tags/list"),
            ("HEAD", "/v2/a/manifests/x"),
            ("POST", "/v2/a/blobs/uploads/"),
            ("GET", "/elsewhere"),
        ):
            said = client(method, path)
            assert (said.status, said.headers["www-authenticate"][:6]) == (401, "Basic ")
        assert client("GET", "/v2/").code == "UNAUTHORIZED"
        assert client("PUT", "/v2/a/manifests/x", b"x" * 5_000_000).status == 401
        ann = client.another(Authorization=basic("ann", "secret:ü"))
        assert ann("GET", "/v2/").status == 200
        ann.push_image("a", "v1", b"layer")
        eve = client.another(Authorization=basic("eve", "x"))
        assert eve("GET", "/v2/a/manifests/v1").status == 401


def test_passwords_are_not_guessed_by_host(file: Path, tmp_path: Path) -> None:
    """With passwords the server may be called by any name."""
    with serving(tmp_path / "root", passwords=Passwords.read(file)) as client:
        said = client(
            "GET", "/v2/", headers={"Host": "box.example.com", "Authorization": basic("ann", "secret:ü")}
        )
        assert said.status == 200


def test_read_only(tmp_path: Path) -> None:
    with serving(tmp_path / "root") as client:
        digest = client.push_image("a", "v1", b"layer")
        pending = client.begin("a")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*")}
    with serving(tmp_path / "root", read_only=True) as client:
        assert client("GET", "/v2/a/manifests/v1").status == 200
        assert client("GET", f"/v2/a/manifests/{digest}").status == 200
        for method, path in (
            ("POST", "/v2/a/blobs/uploads/"),
            ("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a"),
            ("PATCH", pending),
            ("PUT", f"{pending}?digest={digest}"),
            ("DELETE", pending),
            ("PUT", "/v2/a/manifests/v2"),
            ("DELETE", "/v2/a/manifests/v1"),
            ("DELETE", f"/v2/a/blobs/{digest}"),
        ):
            said = client(method, path, b"x")
            assert (said.status, said.code) == (405, "UNSUPPORTED"), (method, path)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*")}


def test_reading_alone_creates_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "root", read_only=True) as client:
        assert client("GET", "/v2/_catalog").json == {"repositories": []}
    assert not (tmp_path / "root").exists()
