"""Real registries for tests: Debian's docker-registry (the distribution project's server), one process each.

Fixtures are defined here and imported by the conftest of every folder that uses them.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from support.certificates import Authority, Certificate
from support.tokens import ISSUER, SERVICE, TokenServer, User, serving_tokens

SERVER = "/usr/bin/docker-registry"
USER = "robot"
PASSWORD = 'pass:wörd with €, "quotes" & a %3A'
"""What the protected registries of the fixtures ask for; it has everything that an encoding could damage."""
READER = "reader"
READER_PASSWORD = "may-only-look"
"""At the registry with tokens: may pull everything and push nothing."""


@dataclass(frozen=True)
class Protected:
    """A registry that asks for a name and a password."""

    address: str
    user: str
    password: str


@dataclass(frozen=True)
class Secured:
    """A registry that speaks https with a certificate of `ca`, a PEM file."""

    address: str
    ca: Path


@dataclass(frozen=True)
class Tokened:
    """A registry that accepts the tokens of `tokens` alone."""

    address: str
    user: str
    password: str
    tokens: TokenServer


@contextmanager
def distribution(
    directory: Path,
    *,
    htpasswd: Mapping[str, str] | None = None,
    tls: Certificate | None = None,
    token: TokenServer | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """A registry that keeps everything below `directory`, and its address, `127.0.0.1:PORT`, once it answers.

    `htpasswd`: names and passwords. `settings` are put over the configuration, top-level key by key (`proxy`, …).
    The log is `directory/log`. The process ends with the block, and with this process at the latest.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for _ in range(5):
        address = f"127.0.0.1:{free_port()}"
        document = {**_configuration(directory, address, htpasswd, tls, token), **(settings or {})}
        configuration = directory / "config.yml"
        configuration.write_text(json.dumps(document))  # JSON is YAML
        with open(directory / "log", "ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", SERVER, "serve", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            # Another process may take the port first: then this one ends at once, and the next port is tried.
            if _answers(process, address):
                yield address
                return
        finally:
            process.kill()
            process.wait()
    raise AssertionError(f"no registry: {(directory / 'log').read_text()[-2000:]}")


def stored_blobs(directory: Path) -> dict[str, int]:
    """Digests (`sha256:…`) and sizes in bytes of the blobs in a registry's directory, manifests included."""
    blobs = directory / "storage" / "docker" / "registry" / "v2" / "blobs"
    return {
        f"{data.parents[2].name}:{data.parent.name}": data.stat().st_size for data in blobs.glob("*/*/*/data")
    }


def stored_bytes(directory: Path) -> int:
    """Bytes of all blobs in a registry's directory."""
    return sum(stored_blobs(directory).values())


def free_port() -> int:
    """A port of the loopback interface that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _configuration(
    directory: Path,
    address: str,
    htpasswd: Mapping[str, str] | None,
    tls: Certificate | None,
    token: TokenServer | None,
) -> dict[str, Any]:
    http: dict[str, Any] = {
        "addr": address,
        "secret": "the tests'",
        # Locations without a host: a client behind a proxy of the tests stays there.
        "relativeurls": True,
    }
    if tls is not None:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    document: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "formatter": "text"},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "storage")},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": http,
    }
    if htpasswd is not None:
        path = directory / "htpasswd"
        lines = [
            f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
            for user, password in htpasswd.items()
        ]
        path.write_text("".join(lines))
        document["auth"] = {"htpasswd": {"realm": "the tests", "path": str(path)}}
    if token is not None:
        document["auth"] = {
            "token": {
                "realm": token.url,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(token.certificate),
            }
        }
    return document


def _answers(process: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until something speaks HTTP there (to a registry with TLS plain HTTP is answered by 400) and `process` lives."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        connection = HTTPConnection(address, timeout=60)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
        except (OSError, HTTPException):
            time.sleep(0.02)
        else:
            return process.poll() is None
        finally:
            connection.close()
    return False


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry that lets everybody do everything, by plain http."""
    with distribution(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def registry_with_login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Protected]:
    """A registry with basic authentication (htpasswd)."""
    with distribution(tmp_path_factory.mktemp("registry-login"), htpasswd={USER: PASSWORD}) as address:
        yield Protected(address, USER, PASSWORD)


@pytest.fixture(scope="session")
def registry_with_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokened]:
    """A registry with token authentication. Everybody may pull from `public/…`; USER may do everything, READER pull."""
    directory = tmp_path_factory.mktemp("registry-token")
    users = {
        "": User("", {"public/*": ("pull",)}),
        USER: User(PASSWORD),
        READER: User(READER_PASSWORD, {"*": ("pull",)}),
    }
    with (
        serving_tokens(directory / "tokens", users) as tokens,
        distribution(directory, token=tokens) as address,
    ):
        yield Tokened(address, USER, PASSWORD, tokens)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority behind the registries with TLS."""
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def registry_with_tls(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Secured]:
    """A registry with a certificate for localhost and 127.0.0.1."""
    tls = authority.issue("registry")
    with distribution(tmp_path_factory.mktemp("registry-tls"), tls=tls) as address:
        yield Secured(address, authority.ca)


@pytest.fixture(scope="session")
def registry_with_wrong_host(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Secured]:
    """A registry with a certificate for another host."""
    tls = authority.issue("other", ["other.example"])
    with distribution(tmp_path_factory.mktemp("registry-other"), tls=tls) as address:
        yield Secured(address, authority.ca)


@pytest.fixture(scope="session")
def registry_with_expired_certificate(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Secured]:
    """A registry with a certificate that ended yesterday."""
    tls = authority.issue("expired", expired=True)
    with distribution(tmp_path_factory.mktemp("registry-expired"), tls=tls) as address:
        yield Secured(address, authority.ca)
