"""A file that a container gets as its standard stream is read or written, and nothing else can be done to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import Corten

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
HOSTILE = """
import os, sys
def tried(name, action):
    try: action()
    except OSError: return
    print(name, file=sys.stderr)
sys.stdout.write(sys.stdin.read())
tried("stdin was written", lambda: open("/proc/self/fd/0", "r+").write("changed"))
os.fchmod(0, 0o777); os.fchmod(1, 0o4777)
tried("stdout was read", lambda: open("/proc/self/fd/1", "r+").read())
sys.exit(3)
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
    check([sys.executable, "-c", SCRIPT], tmp_path, {**os.environ, "INNER": HOSTILE}, 3_000_000)


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
    command = corten.command("run", "-q", "--engine", engine, runner, "--", "python", "-c", HOSTILE)
    check(command, tmp_path, corten.variables(), 300_000)
