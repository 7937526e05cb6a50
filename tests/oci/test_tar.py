"""The canonical tar form, checked against Python's and GNU's readers."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.errors import FormatError
from corten.oci import tar
from corten.oci.digest import Digest

NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=130
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 250)


def stream(tree: Path) -> bytes:
    return b"".join(tar.stream(tar.scan(tree), tree))


def make_tree(root: Path) -> None:
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_text("#!/bin/sh\n")
    (root / "bin/tool").chmod(0o755)
    (root / "bin-other").write_bytes(b"")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "link").symlink_to("bin/tool")
    (root / "größe").write_text("ü")
    deep = root / ("d" * 90) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x" * 1000)


def test_python_reads_what_is_written(tmp_path: Path) -> None:
    make_tree(tmp_path)
    with tarfile.open(fileobj=io.BytesIO(stream(tmp_path))) as archive:
        members = {member.name: member for member in archive}
        assert members["bin/tool"].mode == 0o755
        assert members["tmp"].mode == 0o1777
        assert members["link"].linkname == "bin/tool"
        assert archive.extractfile(members["größe"]).read() == "ü".encode()  # type: ignore[union-attr]
        assert members["d" * 90 + "/" + "e" * 120 + "/file"].size == 1000
        assert {member.mtime for member in members.values()} == {tar.EPOCH}
        assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "")}


def test_gnu_tar_lists_parents_before_children(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    (tmp_path / "layer.tar").write_bytes(stream(tmp_path / "tree"))
    listed = subprocess.run(
        ["tar", "-tf", tmp_path / "layer.tar", "--quoting-style=literal"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert listed.index("bin/") < listed.index("bin/tool") < listed.index("bin-other")
    assert len(listed) == len(set(listed)) == 9


def test_the_stream_depends_on_contents_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    make_tree(first)
    old = os.umask(0o077)
    try:
        make_tree(second)
    finally:
        os.umask(old)
    os.utime(second / "bin/tool", (1, 1))
    (second / "bin-other").chmod(0o600)
    assert stream(first) == stream(second)


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.binary(max_size=700))
@settings(max_examples=60, deadline=None)
def test_any_utf8_name_survives(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: bytes
) -> None:
    tree = tmp_path_factory.mktemp("names")
    for name in names:
        (tree / name).write_bytes(data)
    with tarfile.open(fileobj=io.BytesIO(stream(tree)), encoding="utf-8") as archive:
        assert sorted(member.name for member in archive) == sorted(names)
        assert all(member.size == len(data) for member in archive)


def test_entries_survive_their_file() -> None:
    entries = [
        tar.Entry("a\nb", "file", 0o644, 12),
        tar.Entry("d", "directory", 0o1777),
        tar.Entry("l", "symlink", 0o777, 0, "ü"),
    ]
    lines = tar.encode_entries(entries).decode().splitlines()
    assert list(tar.decode_entries(lines)) == entries


def test_sizes_beyond_ustar_have_a_pax_header() -> None:
    blocks = tar.header(tar.Entry("weights", "file", 0o644, 10 << 30))
    with tarfile.open(fileobj=io.BytesIO(blocks + bytes(1024))) as archive:
        member = archive.next()
        assert member is not None
        assert member.size == 10 << 30


def test_a_file_that_shrank_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    entries = tar.scan(tmp_path)
    (tmp_path / "file").write_bytes(b"x" * 50)
    with pytest.raises(FormatError, match="shorter"):
        tar.digest(entries, tmp_path)


def test_special_files_and_foreign_names_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="'pipe'"):
        tar.scan(tmp_path)
    (tmp_path / "pipe").unlink()
    (tmp_path / os.fsdecode(b"\xff")).write_text("")
    with pytest.raises(FormatError, match="not UTF-8"):
        stream(tmp_path)


def test_the_digest_is_that_of_the_stream(tmp_path: Path) -> None:
    make_tree(tmp_path)
    data = stream(tmp_path)
    heard: list[int] = []
    assert tar.digest(tar.scan(tmp_path), tmp_path, heard.append) == (Digest.of(data), len(data))
    assert sum(heard) == len(data)


def test_a_folder_that_everybody_may_write_to(tmp_path: Path) -> None:
    (tmp_path / "app" / "data").mkdir(parents=True)
    (tmp_path / "app" / "run.sh").touch(0o700)
    (tmp_path / "app" / "data" / "notes.db").touch()
    (tmp_path / "app" / "link").symlink_to("data")
    (tmp_path / "apple").touch()
    modes = {entry.path: entry.mode for entry in tar.settle(tmp_path, "app")}
    assert modes == {
        "app": 0o777,
        "app/data": 0o777,
        "app/data/notes.db": 0o666,
        "app/link": 0o777,
        "app/run.sh": 0o777,
        "apple": 0o644,
    }
    assert (tmp_path / "app" / "data" / "notes.db").stat().st_mode & 0o777 == 0o666
    assert {entry.mode for entry in tar.settle(tmp_path)} == {0o644, 0o755, 0o777}
