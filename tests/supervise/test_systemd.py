"""Units for systemd: what they say, by systemd's own judgement, and whether words survive its syntax."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from corten.errors import UsageError
from corten.supervise import systemd
from corten.supervise.systemd import Units, argument, files, quoted

UNITS = Units(
    "iris",
    "iris, 100% of it",
    systemd.up_command(sys.executable, ["/srv/my iris", "--name", "iris", "-e", 'A=$x "y" %h \\z']),
    "127.0.0.1:8000",
    (("CORTEN_HOME", "/var/lib/a $b %c"),),
)


@pytest.mark.parametrize("per_user", [False, True])
def test_systemd_finds_no_fault_with_them(tmp_path: Path, per_user: bool) -> None:
    units = Units(
        UNITS.name, UNITS.description, UNITS.command, UNITS.listen, UNITS.environment, None, per_user
    )
    paths = []
    for name, text in files(units).items():
        (tmp_path / name).write_text(text)
        paths.append(str(tmp_path / name))
    assert [path.rpartition("/")[2] for path in paths] == ["corten-iris.socket", "corten-iris.service"]
    scope = ["--user"] if per_user else []
    done = subprocess.run(
        ["systemd-analyze", *scope, "verify", "--man=no", "--recursive-errors=no", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    own = [line for line in (done.stdout + done.stderr).splitlines() if "corten-iris" in line]
    assert own == []


def test_it_has_its_socket_from_systemd_and_tells_when_it_is_ready() -> None:
    found = files(UNITS)
    assert "ListenStream=127.0.0.1:8000" in found["corten-iris.socket"]
    service = found["corten-iris.service"]
    assert "Type=notify" in service
    assert "Requires=corten-iris.socket" in service
    assert "WantedBy=multi-user.target" in service


def test_words_keep_their_characters() -> None:
    assert quoted("/usr/bin/python3") == "/usr/bin/python3"
    assert quoted('a b"c\\d') == '"a b\\"c\\\\d"'
    assert quoted("100%") == "100%%"
    assert quoted("HOME=$HOME x") == '"HOME=$HOME x"'
    assert argument("A=$HOME") == '"A=$$HOME"'
    with pytest.raises(UsageError):
        quoted("two\nlines")


def test_a_name_that_is_no_units_is_refused() -> None:
    with pytest.raises(UsageError):
        files(Units("../x", "", (), "1"))


def test_systemd_is_told_where_it_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "n"))
        systemd.say({"NOTIFY_SOCKET": str(tmp_path / "n")}, "READY=1")
        assert heard.recv(100) == b"READY=1"
    systemd.say({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")
    systemd.say({}, "READY=1")
