"""`corten login` and `logout`, as processes, against a real registry that asks for a password."""

from __future__ import annotations

import base64
import json
import os
import pty
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten
from support.registries import PASSWORD, USER, Protected, registry_with_login, registry_with_tls

__all__ = ["registry_with_login", "registry_with_tls"]

HELPER = """#!/usr/bin/env python3
import json, pathlib, sys
kept = pathlib.Path(__file__).with_name("kept.json")
data = json.loads(kept.read_text()) if kept.exists() else {}
given = sys.stdin.read().strip()
if sys.argv[1] == "store":
    entry = json.loads(given)
    data[entry["ServerURL"]] = entry
elif sys.argv[1] == "erase":
    data.pop(given)
elif given in data:
    print(json.dumps(data[given]))
else:
    print("credentials not found in native keychain")
    sys.exit(1)
kept.write_text(json.dumps(data))
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Docker's configuration file, which does not exist yet."""
    return tmp_path / "docker/config.json"


@pytest.fixture
def corten(tmp_path: Path, config: Path) -> Corten:
    environment = {
        "HOME": str(tmp_path),
        "DOCKER_CONFIG": str(config.parent),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "REGISTRY_AUTH_FILE": "",
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
    }
    return Corten(tmp_path / "home", environment)


Login = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def login(corten: Corten, registry_with_login: Protected) -> Login:
    """Log in with the password on standard input."""

    def run(password: str = PASSWORD, code: int = 0) -> subprocess.CompletedProcess[str]:
        arguments = ["login", registry_with_login.address, "-u", USER, "--password-stdin"]
        return corten(*arguments, code=code, stdin=None, input=password + "\n")

    return run


def kept(path: Path, host: str) -> str:
    """The user and password that a file has for a host."""
    return base64.b64decode(json.loads(path.read_text())["auths"][host]["auth"]).decode()


def test_login_and_logout(corten: Corten, login: Login, registry_with_login: Protected, config: Path) -> None:
    done = login()
    host = registry_with_login.address
    assert kept(config, host) == f"{USER}:{PASSWORD}"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert str(config) in done.stderr
    assert "not encrypted" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert host in corten("logout", host).stderr
    assert json.loads(config.read_text()) == {"auths": {}}
    assert "there is no login" in corten("logout", host).stderr


def test_a_wrong_password_is_not_kept(login: Login, config: Path) -> None:
    done = login("wrong-secret", code=1)
    assert "does not accept" in done.stderr
    assert "wrong-secret" not in done.stdout + done.stderr
    assert not config.exists()


def test_the_rest_of_the_file_stays_and_a_link_stays_a_link(
    corten: Corten, login: Login, registry_with_login: Protected, config: Path, tmp_path: Path
) -> None:
    before = {
        "psFormat": "table",
        "auths": {
            "other.example": {"auth": "eDp5"},
            f"https://{registry_with_login.address}": {"auth": "eDp5"},
        },
        "proxies": {"default": {"httpProxy": "http://proxy.example"}},
    }
    real = tmp_path / "dotfiles/docker.json"
    real.parent.mkdir()
    real.write_text(json.dumps(before))
    config.parent.mkdir()
    config.symlink_to(real)
    login()
    after = json.loads(real.read_text())
    assert config.is_symlink()
    assert list(after) == ["psFormat", "auths", "proxies"]
    assert set(after["auths"]) == {"other.example", registry_with_login.address}
    assert after["proxies"] == before["proxies"]
    corten("logout", "--all")
    assert json.loads(real.read_text()) == {**before, "auths": {}}
    assert [path.name for path in real.parent.iterdir()] == ["docker.json"]


@pytest.mark.parametrize("how", ["credsStore", "credHelpers"])
def test_a_helper_keeps_it(
    corten: Corten, login: Login, registry_with_login: Protected, config: Path, tmp_path: Path, how: str
) -> None:
    host = registry_with_login.address
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/docker-credential-tests"
    program.write_text(HELPER)
    program.chmod(0o755)
    config.parent.mkdir()
    config.write_text(json.dumps({how: "tests" if how == "credsStore" else {host: "tests"}}))
    done = login()
    assert "docker-credential-tests" in done.stderr
    assert "encrypted" not in done.stderr
    entries = json.loads((tmp_path / "bin/kept.json").read_text())
    assert (entries[host]["Username"], entries[host]["Secret"]) == (USER, PASSWORD)
    assert json.loads(config.read_text())["auths"] == {host: {}}
    corten("logout", "--all")
    assert json.loads((tmp_path / "bin/kept.json").read_text()) == {}


def test_podmans_file(corten: Corten, login: Login, registry_with_login: Protected, tmp_path: Path) -> None:
    path = tmp_path / "auth/auth.json"
    corten.environment["REGISTRY_AUTH_FILE"] = str(path)
    login()
    assert kept(path, registry_with_login.address) == f"{USER}:{PASSWORD}"


def test_a_file_that_wins_is_told(
    corten: Corten, login: Login, registry_with_login: Protected, tmp_path: Path
) -> None:
    other = tmp_path / "run/containers/auth.json"
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({"auths": {registry_with_login.address: {"auth": "eDp5"}}}))
    assert f"'{other}' has other credentials" in login().stderr
    assert f"'{other}' still has credentials" in corten("logout", registry_with_login.address).stderr


def test_a_broken_file_is_left_alone(login: Login, config: Path) -> None:
    config.parent.mkdir()
    config.write_text('{"auths": secret')
    done = login(code=1)
    assert str(config) in done.stderr
    assert config.read_text() == '{"auths": secret'


def test_what_docker_reads(login: Login, registry_with_login: Protected, config: Path) -> None:
    """skopeo, which reads the same files, gets in with what was kept."""
    login()
    done = subprocess.run(
        ["skopeo", "login", "--get-login", "--authfile", str(config), registry_with_login.address],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == USER


def test_on_a_terminal_it_asks_and_does_not_echo(
    corten: Corten, registry_with_login: Protected, config: Path
) -> None:
    command = corten.command("login", registry_with_login.address)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, corten.variables())
    seen = b""
    for prompt, answer in ((b"user: ", USER), (b"password of ", PASSWORD)):
        deadline = time.monotonic() + 30
        while prompt not in seen and time.monotonic() < deadline:
            seen += os.read(terminal, 4096)
        time.sleep(0.1)  # getpass drops what was typed before it has turned the echo off
        os.write(terminal, answer.encode() + b"\n")
    try:
        while data := os.read(terminal, 4096):
            seen += data
    except OSError:  # the end of a terminal
        pass
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, seen.decode()
    assert PASSWORD.encode() not in seen
    assert kept(config, registry_with_login.address) == f"{USER}:{PASSWORD}"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["login", "registry.example"], "a user's name is needed"),
        (["login", "registry.example", "-u", "x"], "there is no terminal"),
        (["login", "registry.example", "-u", "x", "--password-stdin"], "the password is empty"),
        (["login", "registry.example/path", "-u", "x"], "not a registry's host"),
        (["login", "registry.example", "--password", "x"], "unrecognized"),
        (["logout"], "either a registry or '--all'"),
    ],
)
def test_wrong_usage(corten: Corten, arguments: list[str], why: str) -> None:
    assert why in corten(*arguments, code=2).stderr


def test_what_is_no_registry(corten: Corten, config: Path) -> None:
    done = corten("login", "localhost:9", "-u", "x", "--password-stdin", code=1, stdin=None, input="y")
    assert "is down" in done.stderr
    assert not config.exists()
