"""Addresses of this machine and of its cloud's metadata are asked only where the user's own configuration names them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import FetchError, NotConfirmed
from corten.network.addresses import origin
from corten.network.reserved import is_loopback, reserved_host, reserved_url
from corten.network.settings import NetworkSettings
from corten.packages.http import Http, Patience
from corten.packages.simple import linked_files
from support.resolving import Desk
from support.web import Web, serving

RESERVED = [
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "127.0.0.1",
    "127.1.2.3",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "::1",
    "[::1]",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "169.254.169.254",
    "169.254.0.1",
    "2852039166",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "metadata.google.internal",
    "metadata.google.internal.",
    "instance-data",
]
OTHERS = [
    "packages.example",
    "10.0.0.5",
    "192.168.1.1",
    "172.16.0.1",
    "fd00::1",
    "2001:db8::1",
    "127.0.0.1.example",
    "1.2.3",
    "localhost.example",
]


@pytest.mark.parametrize("host", RESERVED)
def test_hosts_that_only_the_user_can_name(host: str) -> None:
    assert reserved_host(host)


@pytest.mark.parametrize("host", OTHERS)
def test_other_hosts_may_be_named(host: str) -> None:
    assert not reserved_host(host)


def test_loopback_is_narrower_than_reserved() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("[::1]")
    assert not is_loopback("169.254.169.254")
    assert not is_loopback("0.0.0.0")
    assert not reserved_url("file:///127.0.0.1")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving() as good:
        yield Desk(tmp_path, good)


@pytest.fixture
def inner() -> Iterator[Web]:
    """A service of this machine that trusts whoever reaches it."""
    with serving() as web:
        yield web


LINES = {
    "requirements.txt": [
        "--index-url {}/simple",
        "--extra-index-url {}/s",
        "--find-links {}/s",
        "alpha @ {}/alpha-1.0-py3-none-any.whl",
    ],
    "uv.toml": ['extra-index-url = ["{}/s"]', 'find-links = ["{}/s"]', '[[index]]\nurl = "{}/s"'],
}


@pytest.mark.parametrize(("file", "line"), [(file, line) for file, lines in LINES.items() for line in lines])
def test_a_project_cannot_name_them(desk: Desk, inner: Web, file: str, line: str) -> None:
    desk.environment["UV_DEFAULT_INDEX"] = desk.index
    desk.write("requirements.txt", "alpha\n")
    for address in (inner.url, inner.url.replace("127.0.0.1", "localhost"), "http://169.254.169.254"):
        desk.write(file, line.format(address) + "\n")
        with pytest.raises(NotConfirmed, match="an address of this machine or of the cloud"):
            desk.lock()
    assert inner.seen == []


def test_the_users_own_configuration_names_them(desk: Desk) -> None:
    desk.write("requirements.txt", f"--index-url {desk.index}\nalpha\n")
    with pytest.raises(NotConfirmed):
        desk.lock()
    desk.environment["PIP_INDEX_URL"] = desk.index
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]


def guarded(web: Web) -> Http:
    """The client of a project's indexes, where the user names `web`."""
    settings = NetworkSettings(reserved=frozenset({origin(web.url)}))
    return Http(settings, Patience(1, 1, 0.01, 0.01))


def test_a_redirect_does_not_lead_there(desk: Desk, inner: Web) -> None:
    inner.files["/latest/meta-data"] = b"secret"
    for path, target in (("/a", inner.url), ("/b", inner.url.replace("127.0.0.1", "127.1"))):
        desk.good.misbehave[path] = lambda handler, _, target=target: (  # type: ignore[misc]
            handler.reply(302, b"", {"Location": f"{target}/latest/meta-data"}) is None
        )
        with pytest.raises(FetchError, match="only your own configuration can name it"):
            guarded(desk.good).get(f"{desk.good.url}{path}", limit=100)
    assert inner.seen == []


def test_a_link_on_a_page_does_not_lead_there(desk: Desk, inner: Web, tmp_path: Path) -> None:
    inner.files["/alpha-1.0-py3-none-any.whl"] = b"x"
    desk.good.files["/links"] = f'<a href="{inner.url}/alpha-1.0-py3-none-any.whl">x</a>'.encode()
    http = guarded(desk.good)
    (found,) = linked_files(http, f"{desk.good.url}/links")
    with pytest.raises(FetchError, match="only your own configuration can name it"):
        http.download([found.url], tmp_path / "file", sha256="0" * 64)
    with pytest.raises(FetchError, match="only your own configuration can name it"):
        http.size(found.url)
    assert inner.seen == []


NAMED = """
import sys
from pathlib import Path
from corten.errors import FetchError
from corten.network.settings import NetworkSettings
from corten.packages.http import Http, Patience
from corten.sandbox import kernel
hosts, port = sys.argv[1:]
kernel.unshare(kernel.CLONE_NEWNS)
kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
kernel.bind(hosts, "/etc/hosts")
for reserved in (None, frozenset()):
    try:
        http = Http(NetworkSettings(reserved=reserved, environment={}), Patience(1, 1, 0.01, 0.01))
        print(http.get(f"http://wheels.example:{port}/file", limit=100))
    except FetchError as error:
        print(error.message)
"""


def test_a_name_that_stands_for_such_an_address_is_refused(inner: Web, tmp_path: Path) -> None:
    """By the address that was reached, whatever a look-up before it said."""
    inner.files["/file"] = b"secret"
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 wheels.example\n")
    command = [sys.executable, "-c", NAMED, str(hosts), inner.host.rpartition(":")[2]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "b'secret'"
    assert second.startswith("'wheels.example' is an address of this machine")
    assert len(inner.seen) == 1
