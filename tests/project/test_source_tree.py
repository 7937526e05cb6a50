"""Which files of a package's folder are its source."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.source_tree import copy_source, digest_of


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_what_tools_leave_there_is_no_source(tmp_path: Path) -> None:
    own = ("setup.py", "x/__init__.py", "x/build/a.py", "x/data.txt")
    left = (
        ".git/config",
        "build/lib/x.py",
        "dist/x.whl",
        "x.egg-info/PKG-INFO",
        "x/__pycache__/a.cpython-311.pyc",
        ".venv/bin/a",
        "x/a.pyc",
    )
    one, other = made(tmp_path / "one", *own), made(tmp_path / "other", *reversed(own), *left)
    (tmp_path / "copy").mkdir()
    copy_source(other, tmp_path / "copy")
    assert sorted(
        path.relative_to(tmp_path / "copy").as_posix()
        for path in (tmp_path / "copy").rglob("*")
        if path.is_file()
    ) == sorted(own)
    # Neither times nor the umask count.
    os.utime(other / "setup.py", (1, 1))
    (other / "setup.py").chmod(0o600)
    assert digest_of(one) == digest_of(other)
    (other / "x/data.txt").write_text("changed")
    assert digest_of(one) != digest_of(other)


def test_a_link_out_is_refused_and_one_inside_is_kept(tmp_path: Path) -> None:
    folder = made(tmp_path / "x", "setup.py")
    (folder / "inner").symlink_to("setup.py")
    (tmp_path / "copy").mkdir()
    copy_source(folder, tmp_path / "copy")
    assert os.readlink(tmp_path / "copy/inner") == "setup.py"
    (folder / "out").symlink_to("../../etc")
    (tmp_path / "again").mkdir()
    with pytest.raises(ProjectError, match="'x/out' is a link that leads out of its folder"):
        copy_source(folder, tmp_path / "again")
