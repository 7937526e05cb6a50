"""A file that the kernel cannot run: a script without `#!`, and a program for another machine."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from corten.runtime.formats import is_unknown
from support.commander import Commander, start

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(is_unknown(b"") is False, reason="this kernel runs other formats too (binfmt_misc)"),
]


def elf_for_another_machine() -> bytes:
    """The header of a program for the S/390, which nothing here emulates."""
    header = b"\x7fELF\x02\x02\x01".ljust(16, b"\0")
    return header + struct.pack(">HHIQQQIHHHHHH", 2, 22, 1, 0, 0, 0, 0, 64, 56, 0, 0, 0, 0)


@pytest.fixture
def programs(open_directory: Path, command: Commander) -> Path:
    folder = open_directory / f"programs-{command.kind}"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    for name, data in (
        ("text", b"echo hello\n"),
        ("foreign", elf_for_another_machine()),
        ("empty", b""),
        ("script", b"#!/bin/sh\necho hello\n"),
    ):
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o755)
    return folder


def test_a_program_of_a_format_that_the_kernel_does_not_know_gives_126(
    command: Commander, programs: Path
) -> None:
    folder = ("-v", f"{programs}:/programs:ro")
    file = ("-v", f"{programs}/text:/programs/text:ro")
    for mounted, name in ((folder, "text"), (folder, "foreign"), (folder, "empty"), (file, "text")):
        for detached in ((), ("-d",)):
            done = command("run", *detached, *mounted, "runner", "--", f"/programs/{name}", code=126)
            assert f"'/programs/{name}' is neither a program for this machine" in done.stderr
    assert command("run", *folder, "runner", "--", "/programs/script").stdout == "hello\n"
    assert command.list() == {}


def test_exec_of_such_a_program_gives_126_too(command: Commander, programs: Path) -> None:
    """In a folder, in a volume that has a name, on the PATH, and through a link."""
    fill = "cp /programs/* /kept; ln -sf /kept/text /tmp/link; sleep 1000"
    mounted = ("-v", f"{programs}:/programs:ro", "-v", "life-kept:/kept", "-e", "PATH=/bin:/usr/bin:/kept")
    start(command, "life-format", "sh", "-c", fill, options=mounted)
    command("exec", "life-format", "--", "sh", "-c", "while [ ! -L /tmp/link ]; do :; done")
    for name in (
        "/programs/text",
        "/programs/foreign",
        "/programs/empty",
        "/kept/foreign",
        "text",
        "/tmp/link",
    ):
        for detached in ((), ("-d",)):
            done = command("exec", *detached, "life-format", "--", name, code=126)
            assert f"'{name}' is neither a program for this machine" in done.stderr
    assert command("exec", "life-format", "--", "script").stdout == "hello\n"
    assert command("exec", "life-format", "--", "/kept/script").stdout == "hello\n"
    command("rm", "--force", "life-format")
    # A new container finds them in the volume before it starts.
    for name in ("/kept/text", "foreign"):
        done = command(
            "run", "-v", "life-kept:/kept", "-e", "PATH=/bin:/kept", "runner", "--", name, code=126
        )
        assert "is neither a program for this machine" in done.stderr
    command("run", "--init", "-v", "life-kept:/kept", "runner", "--", "/kept/script")
    command("volume", "rm", "life-kept")
