"""A child of a container's program that the kernel kills as memory runs out, while the program goes on and returns 0."""

from __future__ import annotations

import pytest

from support.commander import Commander, without_conmon

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("whole", ["root"], indirect=True)]
SCRIPT = "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'x = bytearray(1 << 30)']).returncode)"
PROGRAM = ("--memory", "64m", "runner", "--", "python", "-c", SCRIPT)


@pytest.mark.parametrize("monitor", ["conmon", "shim"])
def test_a_child_that_memory_ended_is_told(command: Commander, monitor: str) -> None:
    runs = command if monitor == "conmon" else without_conmon(command)
    runs("run", "-d", "--name", "life-a", *PROGRAM)
    assert command("wait", "life-a").stdout == "0\n"
    assert command("logs", "life-a").stdout == "-9\n"
    assert command.list()["life-a"]["out_of_memory"] is True


def test_a_child_that_memory_ended_is_told_in_the_foreground(command: Commander) -> None:
    done = command("run", *PROGRAM)
    assert done.stdout == "-9\n"
    assert "a process of the container was killed: it used more than its 64 MiB of memory" in done.stderr
