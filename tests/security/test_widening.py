"""What the command line opens is the caller's own to give: it makes nobody stronger than who starts the container."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from corten.errors import RuntimeFailure
from corten.runtime import archives, tree_stream
from support.command import Corten
from support.runner import Plain

pytestmark = pytest.mark.e2e


def test_a_privileged_container_of_a_plain_user_has_only_that_users_rights(plain_runner: Plain) -> None:
    look = "id -u; cat /host/etc/shadow; echo x > /host/etc/corten-was-here; cat /dev/kmsg; ls /dev"
    done = plain_runner(
        "run", "--privileged", "-u", "0", "-v", "/:/host", "runner", "sh", "-c", look, timeout=60
    )
    words = done.stdout.split()
    assert words[0] == "0"
    assert "root:" not in done.stdout
    assert not os.path.exists("/etc/corten-was-here")
    for name in words[1:]:
        place = Path("/dev") / name
        if name != "console" and (place.is_char_device() or place.is_block_device()):
            assert place.stat().st_mode & 0o6 == 0o6, f"{place} is not everybody's"


def test_no_option_is_on_without_being_asked_for(corten: Corten, runner: str) -> None:
    """Neither a folder nor an image widens: the same container without options has none of it."""
    look = "grep -E 'Seccomp:|CapBnd|NoNewPrivs' /proc/self/status; ls /dev/kmsg; readlink /proc/self/ns/ipc /proc/self/ns/pid; id -G"
    done = corten("run", runner, "sh", "-c", look, code=None)
    words = done.stdout.split()
    assert words[:6] == ["CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]
    assert words[6] != os.readlink("/proc/self/ns/ipc")
    assert words[7] != os.readlink("/proc/self/ns/pid")
    assert words[8:] == ["65532"]
    assert "/dev/kmsg" in done.stderr


def test_an_archive_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    """Through a link of its own, too."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "target").mkdir()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        link = tarfile.TarInfo("door")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("door/file"))
    stream = io.BytesIO()
    archives.to_tree(io.BytesIO(data.getvalue()), stream)
    with pytest.raises(RuntimeFailure, match="in the way"):
        tree_stream.receive(io.BytesIO(stream.getvalue()), str(tmp_path / "target"), "")
    assert list((tmp_path / "outside").iterdir()) == []
