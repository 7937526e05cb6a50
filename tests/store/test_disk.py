"""What is written to a disk and removed from it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from corten.errors import StoreError
from corten.store.disk import explained, remove_tree


def nested(top: Path, count: int, mode: int = 0o755) -> None:
    """`count` directories within each other, each beside a file; the names lead far beyond PATH_MAX."""
    top.mkdir()
    place = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(count):
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=place))
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place)
        os.fchmod(place, mode)
        os.close(place)
        place = inner
    os.close(place)


class TestRemoveTree:
    @pytest.mark.parametrize("mode", [0o755, 0o500, 0o000])
    def test_directories_nested_deeper_than_calls_can_be(self, tmp_path, mode):
        nested(tmp_path / "top", 1500, mode)
        remove_tree(tmp_path / "top")
        assert list(tmp_path.iterdir()) == []

    def test_links_are_removed_and_not_followed(self, tmp_path):
        kept = tmp_path / "kept"
        kept.mkdir()
        (kept / "file").write_text("x")
        kept.chmod(0o500)
        top = tmp_path / "top"
        top.mkdir()
        (top / "folder").symlink_to(kept)
        (top / "file").symlink_to(kept / "file")
        remove_tree(top)
        assert not top.exists()
        assert (kept / "file").read_text() == "x"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o500

    def test_a_link_in_the_place_of_the_directory_goes_alone(self, tmp_path):
        kept = tmp_path / "kept"
        kept.mkdir()
        (kept / "file").write_text("x")
        (tmp_path / "link").symlink_to(kept)
        remove_tree(tmp_path / "link")
        assert not (tmp_path / "link").is_symlink()
        assert (kept / "file").read_text() == "x"

    def test_what_is_not_there_is_no_error(self, tmp_path):
        remove_tree(tmp_path / "nothing")

    @pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
    def test_closed_directories_are_removed_where_there_is_no_proc(self, tmp_path):
        """As in a container's shim, whose /proc is that of a process namespace that has ended."""
        nested(tmp_path / "top", 3, 0o000)
        remove = f"from pathlib import Path; from corten.store.disk import remove_tree; remove_tree(Path({str(tmp_path / 'top')!r}))"
        script = 'mount -t tmpfs none /proc && exec "$@"'
        subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", remove], check=True)
        assert list(tmp_path.iterdir()) == []


def test_a_file_outside_the_store_is_named_and_not_the_store(tmp_path):
    """What is read from elsewhere says nothing of the store's disk."""
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(StoreError, match=r"'/.*/file/below' cannot be used: not a directory"),
        explained(tmp_path / "store"),
    ):
        (tmp_path / "file/below").read_bytes()
    with pytest.raises(StoreError, match="cannot write to the store at"), explained(tmp_path):
        (tmp_path / "file/below").read_bytes()
