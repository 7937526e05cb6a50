"""Processes of a server that its master starts again and again, seen from /proc."""

from __future__ import annotations

import os
from contextlib import suppress


class Restarts:
    """Counts, from one look to the next, the processes that ended and whose parent, which is the same program, lives on: the
    workers of a pre-fork server. Other programs that a program starts and waits for are not counted.

    Only this process's siblings and what is below them are looked at: in a container's process namespace that is all of it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], int] = {}
        self._ended: dict[int, int] = {}

    def look(self) -> int:
        """How many have ended below the master that lost the most."""
        now: dict[tuple[int, str], int] = {}
        try:
            if os.readlink("/proc/self") != str(os.getpid()):
                return 0  # It is not mounted yet for this process namespace.
            processes = {pid: found for pid in _numbers() if (found := _read(pid)) is not None}
        except OSError:
            return 0
        for pid, (parent, started, program) in processes.items():
            above = processes.get(parent)
            if above is not None and program and above[2] == program and _is_below(pid, processes):
                now[pid, started] = parent
        for key, parent in self._known.items():
            if key not in now and parent in processes:
                self._ended[parent] = self._ended.get(parent, 0) + 1
        self._known = now
        return max(self._ended.values(), default=0)


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int) -> tuple[int, str, str] | None:
    """Parent, start time and program of a process: the first word of its command line, `gunicorn:` or an interpreter's path."""
    with suppress(OSError, ValueError, IndexError):
        # As bytes, which need no codec (see listening.py).
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].decode().split()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            program = file.read(4096).split(b"\0", 1)[0].split(b" ", 1)[0].decode(errors="replace")
        # A zombie has ended.
        return None if fields[0] in "ZX" else (int(fields[1]), fields[19], program)
    return None


def _is_below(pid: int, processes: dict[int, tuple[int, str, str]]) -> bool:
    """Whether it is below the parent of this process, which is 0 for one from outside of the process namespace."""
    top = os.getppid()
    for _ in range(64):
        if pid == top:
            return True
        if pid not in processes:
            return pid == 0 == top
        pid = processes[pid][0]
    return False
