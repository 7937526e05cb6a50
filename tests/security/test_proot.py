"""PRoot isolates nothing: outside a container or a pod it is used only by whoever asks for it."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path

import pytest

from corten.runtime.fallback.confine import install_filter
from corten.runtime.surroundings import is_contained, look
from corten.store.store import Store
from support.command import Corten
from support.images import make_image

pytestmark = pytest.mark.e2e
_UNSHARE = {"x86_64": 272, "aarch64": 97}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_CLONE_NEWUSER = 0x10000000


def without_namespaces() -> None:
    """From here on no namespace can be made by this process, as in docker with its default profile."""
    machine = os.uname().machine
    steps = [
        (0x20, 0, 0, 0),
        (0x15, 4, 0, _UNSHARE[machine]),
        (0x15, 4, 0, _CLONE3),
        (0x15, 0, 4, _CLONE[machine]),
        (0x20, 0, 0, 16),
        (0x45, 0, 2, _CLONE_NEWUSER),
        (0x06, 0, 0, 0x00050001),  # EPERM
        (0x06, 0, 0, 0x00050026),  # ENOSYS: clone is used instead
        (0x06, 0, 0, 0x7FFF0000),
    ]
    install_filter(b"".join(struct.pack("<HBBI", *step) for step in steps))


@pytest.fixture
def machine() -> None:
    if is_contained(look()):
        pytest.skip("this is a container")


def test_proot_is_not_chosen_on_a_machine(machine: None, tmp_path: Path) -> None:
    command = Corten(tmp_path / "home")
    make_image(Store(command.home), "small", [{"bin/true": b""}])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return command(*arguments, code=None, preexec_fn=without_namespaces)

    done = run("run", "small", "--", "true")
    assert done.returncode == 125
    assert "no engine works on this machine" in done.stderr
    assert "isolates nothing: --engine proot" in done.stderr
    asked = run("run", "--engine", "proot", "small", "--", "true")
    assert asked.returncode == 126  # the image's file, which PRoot would have started
    assert "run only what you trust" in asked.stderr
    assert run("run", "small", "--", "true").returncode == 125
    doctor = run("doctor")
    assert doctor.returncode == 1
    assert "engine proot: not used by itself: it isolates nothing" in doctor.stdout


def test_an_engine_that_was_remembered_is_asked_about_again(
    machine: None, corten: Corten, runner: str
) -> None:
    """Earlier versions chose PRoot by themselves and wrote that down."""
    corten("run", runner, "--", "true")
    memory = corten.home / "caches" / "engine" / f"{os.geteuid()}-auto.json"
    known = json.loads(memory.read_text())
    path = Path("/usr/bin/proot")
    boot, space, _ = known["state"].split(" ")
    state = f"{boot} {space} {path.stat().st_mtime_ns}"
    memory.write_text(json.dumps({"name": "proot", "path": str(path), "state": state}))
    try:
        done = corten("run", runner, "--", "cat", "/proc/1/comm")
        assert done.stdout == "cat\n"
        assert json.loads(memory.read_text())["name"] != "proot"
    finally:
        memory.write_text(json.dumps(known))
