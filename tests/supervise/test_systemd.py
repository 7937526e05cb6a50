"""Units for systemd: what they say, by systemd's own judgement, and whether words survive its syntax."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import UsageError
from corten.supervise import systemd
from corten.supervise.systemd import Units, argument, environment_file, files, quoted
from support.properties import thorough

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
        UNITS.name,
        UNITS.description,
        UNITS.command,
        UNITS.listen,
        UNITS.environment,
        None,
        per_user,
        (("TOKEN", "s3cret"),),
        str(tmp_path / '100% "x" $HOME'),
    )
    paths = []
    for name, file in files(units).items():
        (tmp_path / name).write_text(file.text)
        if file.mode == 0o644:
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
    assert "ListenStream=127.0.0.1:8000" in found["corten-iris.socket"].text
    service = found["corten-iris.service"].text
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


_SHARED = sorted(Path("/usr/lib").glob("**/systemd/libsystemd-shared-*.so"))


def as_systemd_reads_it(path: Path) -> dict[str, str]:
    """The variables that systemd itself takes from a file for `EnvironmentFile=`."""
    library = ctypes.CDLL(str(_SHARED[-1]))
    found = ctypes.POINTER(ctypes.c_char_p)()
    assert library.load_env_file(None, os.fsencode(path), ctypes.byref(found)) >= 0
    items = []
    while found and (item := found[len(items)]) is not None:
        items.append(item.decode())
    return dict(item.split("=", 1) for item in items)


VALUES = [
    "",
    " ",
    "a b",
    "'",
    '"',
    "\\",
    "\\\\n",
    "\\\n",
    "two\nlines\n",
    "$HOME ${A} `id`",
    "100% %h %%",
    "#;",
    "é\t🐍",
    "x\\",
]


@pytest.mark.parametrize("value", [*VALUES, " ".join(VALUES)])
def test_systemd_reads_back_every_value_of_the_environment_file(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.env"
    path.write_text(environment_file([("A", value), ("B", "after it")]))
    assert as_systemd_reads_it(path) == {"CORTEN_ENV_A": value, "CORTEN_ENV_B": "after it"}


@thorough(200)
@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=20))
def test_systemd_reads_back_any_text_of_the_environment_file(value: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x.env")
        path.write_text(environment_file([("A", value)]))
        assert as_systemd_reads_it(path) == {"CORTEN_ENV_A": value}


def test_the_units_hold_no_variable_of_the_container() -> None:
    found = files(
        Units("iris", "x", ("/bin/true",), "1", variables=(("TOKEN", "s3cret"),), directory="/etc/a b 5%")
    )
    assert [(name, file.mode) for name, file in found.items()] == [
        ("corten-iris.socket", 0o644),
        ("corten-iris.service", 0o644),
        ("corten-iris.env", 0o600),
    ]
    service = found["corten-iris.service"].text
    assert "EnvironmentFile=/etc/a b 5%%/corten-iris.env\n" in service
    assert "s3cret" not in service
    assert "EnvironmentFile" not in files(UNITS)["corten-iris.service"].text


@pytest.mark.parametrize(("name", "value"), [("a.b", "1"), ("A", "\udcff")])
def test_what_systemd_would_ignore_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError):
        environment_file([(name, value)])


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
