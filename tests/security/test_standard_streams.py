"""A file that a container gets as its standard stream is read or written, and nothing else can be done to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import Corten
from support.escapes import HOSTILE_TO_STREAMS

SCRIPT = """
import os, sys
from corten.runtime.streams import replaced_files
streams = replaced_files()
pid = os.fork()
if pid == 0:
    streams.take()
    os.execv(sys.executable, [sys.executable, "-c", os.environ["INNER"]])
streams.release()
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
streams.finish()
sys.exit(code)
"""


def check(command: list[str], tmp_path: Path, environment: dict[str, str], size: int) -> None:
    given, printed = tmp_path / "given", tmp_path / "printed"
    text = "0123456789\n" * (size // 11)
    given.write_text(text)
    given.chmod(0o600)
    with given.open() as source, printed.open("w") as target:
        done = subprocess.run(
            command,
            stdin=source,
            stdout=target,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            timeout=60,
        )
    assert done.returncode == 3, done.stderr
    assert "was" not in done.stderr
    assert given.read_text() == printed.read_text() == text
    assert given.stat().st_mode & 0o7777 == 0o600
    assert printed.stat().st_mode & 0o7000 == 0


def test_a_program_gets_pipes_in_place_of_files(tmp_path: Path) -> None:
    check([sys.executable, "-c", SCRIPT], tmp_path, {**os.environ, "INNER": HOSTILE_TO_STREAMS}, 3_000_000)


def test_only_the_streams_that_are_asked_for_are_read(tmp_path: Path) -> None:
    """A loop of a shell over the lines of a file keeps its file."""
    (tmp_path / "list").write_text("one\ntwo\n")
    script = "from corten.runtime.streams import replaced_files; print(replaced_files((1, 2)).ends)"
    with (tmp_path / "list").open() as source:
        done = subprocess.run([sys.executable, "-c", script], stdin=source, capture_output=True, check=True)
        assert os.lseek(source.fileno(), 0, os.SEEK_CUR) == 0
    assert done.stdout == b"()\n"


def test_output_and_errors_in_one_file_keep_their_order(tmp_path: Path) -> None:
    inner = "import os\nfor number in range(50): os.write(1 + number % 2, b'%d ' % number)"
    with (tmp_path / "both").open("wb") as both:
        command = [sys.executable, "-c", SCRIPT]
        subprocess.run(command, stdout=both, stderr=both, env={**os.environ, "INNER": inner}, check=True)
    assert (tmp_path / "both").read_bytes().split() == [b"%d" % number for number in range(50)]


@pytest.mark.e2e
@pytest.mark.parametrize("engine", ["runc", "bwrap"])
def test_a_container_can_do_nothing_else_to_a_file_that_is_its_stream(
    corten: Corten, runner: str, tmp_path: Path, engine: str
) -> None:
    command = corten.command(
        "run", "-q", "--engine", engine, runner, "--", "python", "-c", HOSTILE_TO_STREAMS
    )
    check(command, tmp_path, corten.variables(), 300_000)


@pytest.mark.e2e
def test_a_command_in_a_container_can_do_nothing_else_to_it(
    corten: Corten, runner: str, tmp_path: Path
) -> None:
    corten("run", "-d", "-q", "--engine", "runc", "--name", "streams", runner, "--", "sleep", "100")
    try:
        command = corten.command("exec", "-i", "-u", "0", "streams", "python", "-c", HOSTILE_TO_STREAMS)
        check(command, tmp_path, corten.variables(), 300_000)
    finally:
        corten("rm", "--force", "streams")
