"""Copying and remembering the project's own files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corten.build.sources import Digests, copy_file, copy_source
from corten.errors import BuildError
from corten.oci.digest import Digest
from corten.oci.inside import Inside
from corten.project.model import SourceFile


def described(root: Path, name: str) -> SourceFile:
    status = os.lstat(root / name)
    return SourceFile(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, False)


def copied(source: Path, target: Path, executable: bool = False, name: str = "") -> None:
    with Inside(target.parent) as tree:
        copy_file(source, tree, target.name, executable, name)


def test_a_sparse_file_stays_sparse(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with open(source, "wb") as file:
        file.seek(200 << 20)
        file.write(b"end")
        file.seek(100 << 20)
        file.write(b"middle")
        file.truncate(300 << 20)
    copied(source, target)
    assert target.stat().st_size == 300 << 20
    assert target.stat().st_blocks * 512 < 1 << 20
    with open(target, "rb") as file:
        file.seek(100 << 20)
        assert file.read(6) == b"middle"
        file.seek(200 << 20)
        assert file.read(4) == b"end\0"


def test_modes_do_not_follow_the_umask(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("x")
    (tmp_path / "source").chmod(0o600)
    old = os.umask(0o077)
    try:
        copied(tmp_path / "source", tmp_path / "plain")
        copied(tmp_path / "source", tmp_path / "tool", executable=True)
    finally:
        os.umask(old)
    assert (tmp_path / "plain").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "tool").stat().st_mode & 0o7777 == 0o755


def test_unchanged_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"weights")
    os.utime(tmp_path / "w", ns=(10**18, 10**18))
    time.sleep(0.06)
    digests = Digests(tmp_path, tmp_path / "memory")
    heard: list[int] = []
    assert digests.of(described(tmp_path, "w"), heard.append) == Digest.of(b"weights")
    digests.save()
    again = Digests(tmp_path, tmp_path / "memory")
    assert again.of(described(tmp_path, "w"), heard.append) == Digest.of(b"weights")
    assert heard == [7]
    (tmp_path / "w").write_bytes(b"Weights")
    os.utime(tmp_path / "w", ns=(10**18, 10**18))
    assert again.of(described(tmp_path, "w"), heard.append) == Digest.of(b"Weights")


def test_a_file_written_just_now_is_read_again(tmp_path: Path) -> None:
    """Within one tick of the file system's clock a second write leaves no trace in the times (git's racy files)."""
    (tmp_path / "w").write_bytes(b"weights")
    digests = Digests(tmp_path, tmp_path / "memory")
    digests.of(described(tmp_path, "w"))
    digests.save()
    assert not (tmp_path / "memory").exists()


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"weights")
    before = described(tmp_path, "w")
    (tmp_path / "w").write_bytes(b"more weights")
    with pytest.raises(BuildError, match="changed while it was read"):
        Digests(tmp_path, tmp_path / "memory").of(before)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    with open(tmp_path / "w", "wb") as file:
        file.truncate(10 << 30)
    limit = 400 << 20
    code = (
        "import sys; from pathlib import Path; from corten.build.sources import copy_file\n"
        "from corten.oci import tar; from corten.oci.inside import Inside\n"
        "root = Path(sys.argv[1]); (root / 'fs').mkdir(); copy_file(root / 'w', Inside(root / 'fs'), 'w')\n"
        "assert tar.scan(root / 'fs')[0].size == 10 << 30\n"
        "print(sum(len(piece) for _, piece in zip(range(500), tar.stream(tar.scan(root / 'fs'), root / 'fs'))))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "fs/w").stat().st_blocks * 512 < 1 << 20


def test_a_weight_that_changed_since_it_was_hashed_is_no_copy_of_it(tmp_path: Path) -> None:
    """Its layer would be called by the digest of the old bytes, for every project."""
    (tmp_path / "w").write_bytes(b"weights")
    before = described(tmp_path, "w")
    tree = Inside(tmp_path)
    copy_source(tmp_path, before, tree, "copy")
    (tmp_path / "w").write_bytes(b"Weights")
    os.utime(tmp_path / "w", ns=(before.mtime_ns, before.mtime_ns))
    with pytest.raises(BuildError, match="'w' changed while it was read"):
        copy_source(tmp_path, before, tree, "other")
    tree.close()


def test_what_is_no_plain_file_any_more(tmp_path: Path) -> None:
    """A name, no path; and no waiting for the other end of a pipe."""
    (tmp_path / "loop").symlink_to("loop")
    for name in ("gone", "loop"):
        with pytest.raises(BuildError, match=f"'{name}'"):
            copied(tmp_path / name, tmp_path / "target", name=name)
    assert not (tmp_path / "target").exists()
    os.mkfifo(tmp_path / "pipe")
    copied(tmp_path / "pipe", tmp_path / "target")


@pytest.mark.parametrize("memory", ["[]", '{"w": 5}', '{"w": []}', '{"w": {}}', "\\xff", ""])
def test_a_damaged_memory_is_none(tmp_path: Path, memory: str) -> None:
    (tmp_path / "w").write_bytes(b"weights")
    (tmp_path / "memory").write_text(memory)
    assert Digests(tmp_path, tmp_path / "memory").of(described(tmp_path, "w")) == Digest.of(b"weights")
