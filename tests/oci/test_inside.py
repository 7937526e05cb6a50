"""Paths inside a tree: nothing outside is read, written or made, whatever links the tree has."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from corten.errors import FormatError
from corten.oci.inside import Inside


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A place of this machine with a file that no tree may reach."""
    place = tmp_path / "outside"
    (place / "deep").mkdir(parents=True)
    (place / "secret").write_text("secret")
    return place


@pytest.fixture
def tree(tmp_path: Path, outside: Path) -> Path:
    """A tree with links out of it: absolute, relative, as a directory, as a file."""
    root = tmp_path / "tree"
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/file").write_text("inside")
    (root / "absolute").symlink_to(outside)
    (root / "relative").symlink_to("../outside")
    (root / "usr/lib/link").symlink_to(outside / "secret")
    (root / "lib").symlink_to("/usr/lib")
    (root / "loop").symlink_to("loop")
    return root


def test_files_are_read(tree: Path) -> None:
    with Inside(tree) as inside:
        assert inside.read("usr/lib/file", 100) == b"inside"
        assert inside.read("/usr//lib/./file", 3) == b"ins"
        assert inside.read("usr/lib/file", 6) == b"inside"
        assert inside.listing("usr") == ["lib"]


@pytest.mark.parametrize("path", ["absolute/secret", "relative/secret", "usr/lib/link", "lib/file", "loop/x"])
def test_no_link_is_followed(tree: Path, outside: Path, path: str) -> None:
    before = sorted(outside.rglob("*"))
    with Inside(tree) as inside:
        with pytest.raises(OSError):
            inside.read(path, 100)
        with pytest.raises(OSError):
            inside.write(path, b"changed")
        with pytest.raises(OSError):
            inside.chmod(path, 0o600)
    assert (outside / "secret").read_text() == "secret"
    assert sorted(outside.rglob("*")) == before


def test_nothing_is_made_through_a_link(tree: Path, outside: Path) -> None:
    with Inside(tree) as inside:
        for path in ("absolute/new/file", "relative/file", "lib/new"):
            with pytest.raises(NotADirectoryError):
                inside.write(path, b"")
            with pytest.raises(NotADirectoryError):
                inside.symlink(path, "x")
            with pytest.raises(NotADirectoryError):
                inside.directory(path, make=True)
        inside.write("usr/lib/link", b"mine", replace=True)
    assert (tree / "usr/lib/link").read_text() == "mine"
    assert not (tree / "usr/lib/link").is_symlink()
    assert (outside / "secret").read_text() == "secret"


def test_a_path_does_not_lead_up(tree: Path) -> None:
    with Inside(tree) as inside:
        for path in ("../outside/secret", "usr/../../outside/secret", "usr/.."):
            with pytest.raises(FormatError, match="leads out"):
                inside.read(path, 100)


def test_a_directory_that_becomes_a_link_is_not_followed(tree: Path, outside: Path) -> None:
    """The descriptor of the directory that was there is kept."""
    with Inside(tree) as inside:
        inside.write("opt/one", b"1")
        os.rename(tree / "opt", tree / "aside")
        (tree / "opt").symlink_to(outside)
        inside.write("opt/two", b"2")
    assert (tree / "aside/two").read_bytes() == b"2"
    assert not (outside / "two").exists()


def test_paths_mean_what_they_mean_in_the_container(tree: Path) -> None:
    (tree / "up").symlink_to("../../../usr/lib")
    (tree / "gone").symlink_to("/nothing")
    with Inside(tree) as inside:
        assert inside.resolve("/lib/file") == "usr/lib/file"
        assert inside.resolve("up/file") == "usr/lib/file"
        assert inside.resolve("/") == ""
        assert inside.resolve("absolute/secret") is None
        assert inside.resolve("loop") is None
        assert inside.resolve("gone") is None
        assert inside.resolve("usr/lib/file/x") is None


def test_pipes_and_devices_are_no_files(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with Inside(tree) as inside:
        for path in ("pipe", "usr"):
            with pytest.raises(OSError):
                inside.read(path, 1)
        status = inside.status("pipe")
        assert status is not None
        assert stat.S_ISFIFO(status.st_mode)
        assert inside.status("usr/nothing") is None
        assert inside.status("lib/file") is None


def test_a_walk_passes_links_over(tree: Path) -> None:
    (tree / "usr/lib/b/c").mkdir(parents=True)
    (tree / "usr/lib/b/x").write_text("")
    (tree / "usr/lib/dir").symlink_to("b")
    with Inside(tree) as inside:
        found = {parent: (sorted(names), sorted(files)) for parent, names, files in inside.walk("/usr/lib/")}
        assert list(inside.walk("lib")) == []
        assert list(inside.walk("nothing")) == []
    assert found == {
        "usr/lib": (["b"], ["file"]),
        "usr/lib/b": (["c"], ["x"]),
        "usr/lib/b/c": ([], []),
    }


@pytest.mark.parametrize("umask", [0, 0o077, 0o777 - 0o700])
def test_modes_are_exact(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        with Inside(tmp_path) as inside:
            inside.write("a/b/file", b"", 0o755)
            inside.write("a/b/other", b"")
            inside.chmod("a", 0o1777)
    finally:
        os.umask(old)
    modes = {
        name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/file", "a/b/other")
    }
    assert modes == {"a": 0o1777, "a/b": 0o755, "a/b/file": 0o755, "a/b/other": 0o644}


def test_replacing_spares_directories(tree: Path) -> None:
    with Inside(tree) as inside:
        with pytest.raises(FileExistsError):
            inside.write("usr/lib/file", b"")
        with pytest.raises(IsADirectoryError):
            inside.write("usr/lib", b"", replace=True)


def test_many_and_deep_directories(tmp_path: Path) -> None:
    """More than are kept open at once, and no descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    deep = "/".join(["d"] * 200)
    with Inside(tmp_path) as inside:
        for number in range(300):
            inside.write(f"{number % 3}/{number}/file", b"%d" % number)
        inside.write(f"{deep}/file", b"deep")
        for number in range(300):
            assert inside.read(f"{number % 3}/{number}/file", 10) == b"%d" % number
        assert inside.read(f"{deep}/file", 10) == b"deep"
    assert len(os.listdir("/proc/self/fd")) == before
