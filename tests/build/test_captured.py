"""What configured packages wrote becomes a layer: the same for every run, without what belongs to one machine."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tarfile
from pathlib import Path

import pytest

from corten.build.captured import Captured, capture, fixed_keys
from corten.errors import BuildError, FormatError

Entry = tuple[str, "bytes | str | None", int, int]
"""Path, bytes (a file), text (a link) or None (a folder), mode, owner."""


def archive(place: Path, entries: list[Entry]) -> Path:
    with tarfile.open(place, "w") as target:
        for path, value, mode, owner in entries:
            item = tarfile.TarInfo(path)
            item.mode, item.uid, item.gid, item.mtime = (
                mode,
                owner,
                owner,
                int.from_bytes(os.urandom(3), "big"),
            )
            data = b""
            if value is None:
                item.type = tarfile.DIRTYPE
            elif isinstance(value, str):
                item.type, item.linkname = tarfile.SYMTYPE, value
            else:
                data, item.size = value, len(value)
            target.addfile(item, io.BytesIO(data))
    return place


def captured(folder: Path, entries: list[Entry], *, owned: bool = True, name: str = "captured") -> Captured:
    lower = folder / "lower"
    for path, text in {"etc/passwd": "old\n", "usr/bin/tool": "x", "var/lib/kept/a": "a"}.items():
        (lower / path).parent.mkdir(parents=True, exist_ok=True)
        (lower / path).write_text(text)
    tools = folder / "tools"
    (tools / "usr/share/perl").mkdir(parents=True, exist_ok=True)
    (tools / "usr/share/perl/x.pm").write_text("1;")
    root = folder / name
    root.mkdir()
    return capture(archive(folder / f"{name}.tar", entries), root, [lower], tools, owned=owned)


def listed(value: Captured) -> dict[str, tuple[int, int]]:
    return {
        item.entry.path: (item.entry.mode, item.uid)
        for item in value.items
        if item.entry.path != "etc/ld.so.cache"
    }


def test_owners_and_modes_stay_and_nobody_gains_rights(tmp_path: Path) -> None:
    found = captured(
        tmp_path,
        [
            ("var", None, 0o755, 0),
            ("var/lib", None, 0o755, 0),
            ("var/lib/redis", None, 0o2750, 207),
            ("usr", None, 0o755, 0),
            ("usr/bin", None, 0o755, 0),
            ("usr/bin/tool", b"x", 0o4755, 0),
        ],
    )
    assert listed(found)["var/lib/redis"] == (0o750, 207)
    assert listed(found)["usr/bin/tool"] == (0o755, 0)


def test_what_belongs_to_one_machine_or_one_run_is_left_out(tmp_path: Path) -> None:
    gone = (
        "etc/machine-id",
        "etc/ssh/ssh_host_rsa_key",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "var/log/dpkg.log",
        "var/lib/dpkg/status",
        "var/cache/debconf/config.dat",
        "var/cache/ldconfig/aux-cache",
        "etc/passwd-",
        "usr/lib/python3/__pycache__/a.cpython-311.pyc",
        "usr/share/perl/x.pm",
        "tmp/rest",
        "var/lib/postgresql/15/main/PG_VERSION",
        "etc/postgresql/15/main/pg_hba.conf",
    )
    found = captured(
        tmp_path, [("etc/kept", b"1", 0o644, 0), *((path, b"secret", 0o600, 0) for path in gone)]
    )
    assert listed(found) == {"etc/kept": (0o644, 0)}
    keys = ("etc/ssh/ssh_host_rsa_key", "etc/ssl/private/ssl-cert-snakeoil.key")
    assert found.personal == (*keys, "var/lib/postgresql")


def test_folders_that_are_as_they_were_are_left_out(tmp_path: Path) -> None:
    found = captured(
        tmp_path, [("usr", None, 0o755, 0), ("usr/bin", None, 0o755, 0), ("etc/kept", b"1", 0o644, 0)]
    )
    assert list(listed(found)) == ["etc/kept"]


def test_removed_files_are_whiteouts_unless_only_the_tools_had_them(tmp_path: Path) -> None:
    found = captured(
        tmp_path,
        [
            ("usr/bin/.wh.tool", b"", 0o644, 0),
            ("usr/share/perl/.wh.x.pm", b"", 0o644, 0),
            ("etc/a", b"", 0o644, 0),
        ],
    )
    assert "usr/bin/.wh.tool" in listed(found)
    assert "usr/share/perl/.wh.x.pm" not in listed(found)


def test_two_runs_that_differ_in_time_and_order_give_one_digest(tmp_path: Path) -> None:
    one: list[Entry] = [
        ("etc/shadow", b"root:*:20001:0:99999:7:::\nredis:!:20001::::::\n", 0o640, 42),
        ("etc/gitconfig", b'[filter "lfs"]\n\tclean = a\n\tsmudge = b\n', 0o644, 0),
        ("etc/a", b"1", 0o644, 0),
    ]
    other: list[Entry] = [
        ("etc/a", b"1", 0o644, 0),
        ("etc/gitconfig", b'[filter "lfs"]\n\tsmudge = b\n\tclean = a\n', 0o644, 0),
        ("etc/shadow", b"root:*:20555:0:99999:7:::\nredis:!:20555::::::\n", 0o640, 42),
        ("var/log/alternatives.log", b"now", 0o644, 0),
    ]
    first, second = captured(tmp_path, one), captured(tmp_path, other, name="second")
    assert first.digest() == second.digest()
    assert hashlib.sha256(b"".join(first.stream())).hexdigest() == first.digest().hex


def test_without_other_users_everything_is_roots(tmp_path: Path) -> None:
    found = captured(tmp_path, [("etc/a", b"1", 0o644, 1000)], owned=False)
    assert listed(found) == {"etc/a": (0o644, 0)}


def test_an_alternative_to_a_program_of_the_tools_is_left_out(tmp_path: Path) -> None:
    found = captured(
        tmp_path,
        [
            ("etc/alternatives/pager", "/usr/bin/nothing", 0o777, 0),
            ("etc/alternatives/t", "/usr/bin/tool", 0o777, 0),
        ],
    )
    assert list(listed(found)) == ["etc/alternatives", "etc/alternatives/t"][-1:]


@pytest.mark.parametrize("name", ["../out", "/etc/../../out", "a//b", "a/./b", "a\nb"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError, match="refused"):
        captured(tmp_path, [(name, b"x", 0o644, 0)])
    assert not (tmp_path.parent / "out").exists()


def keys(entries: list[tuple[str, int, bytes]], kind: int = 2) -> bytes:
    body = struct.pack(">III", 0xFEEDFEED, 2, len(entries))
    for alias, date, certificate in entries:
        body += struct.pack(">IH", kind, len(alias)) + alias.encode() + struct.pack(">Q", date)
        body += struct.pack(">H", 5) + b"X.509" + struct.pack(">I", len(certificate)) + certificate
    return body + hashlib.sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()


def test_javas_key_store_has_one_date_and_one_order() -> None:
    one = keys([("a", 1, b"first"), ("b", 2, b"second")])
    other = keys([("b", 7, b"second"), ("a", 8, b"first")])
    assert one != other
    assert fixed_keys(one) == fixed_keys(other)
    assert fixed_keys(fixed_keys(one)) == fixed_keys(one)
    assert len(fixed_keys(one)) == len(one)


@pytest.mark.parametrize("data", [b"", b"PK", keys([("a", 1, b"x")], kind=1), keys([("a", 1, b"x")])[:-1]])
def test_a_key_store_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(BuildError, match="key store"):
        fixed_keys(data)
