"""The terminal that a container gets, and giving it back."""

from __future__ import annotations

import os
import pty
import sys

GUARDED = """
import os, signal, termios, tty
from corten.runtime.terminals import guarded_terminal
with guarded_terminal(True):
    (guard,) = map(int, open(f"/proc/self/task/{os.getpid()}/children").read().split())
    if KILLED:
        os.kill(guard, signal.SIGKILL)
        os.waitid(os.P_PID, guard, os.WEXITED | os.WNOWAIT)
print("passed")
"""


def said(code: str) -> tuple[bytes, int]:
    """What `code` prints on a terminal of its own, and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    output = b""
    try:
        while piece := os.read(terminal, 4096):
            output += piece
    except OSError:  # How a terminal ends on Linux.
        pass
    os.close(terminal)
    return output, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_ran_ends_as_it_did_whoever_guards_the_terminal() -> None:
    assert said(GUARDED.replace("KILLED", "False")) == (b"passed\r\n", 0)
    assert said(GUARDED.replace("KILLED", "True")) == (b"passed\r\n", 0)
