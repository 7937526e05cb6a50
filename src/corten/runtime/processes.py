"""Finding a container's processes from this machine's side, and signalling them, never a stranger with a reused number.

inside   in a container's directory: number and start time of process 1 of its process namespace
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from corten.store.disk import write_atomically

INSIDE = "inside"
FIRST = "bundle/pid"
_LOOKS = 10


def note_inside(directory: str) -> None:
    """Write down this process, the first of a container's process namespace, while /proc is still the machine's. What
    it executes later keeps number and start time."""
    pid = int(os.readlink("/proc/self"))
    write_atomically(Path(directory, INSIDE), f"{pid} {_start_time(pid)}".encode())


def inside(directory: Path) -> int | None:
    """The process that `note_inside` wrote down, if it lives."""
    try:
        pid, started = (directory / INSIDE).read_text().split()
        return int(pid) if _start_time(int(pid)) == int(started) else None
    except (OSError, ValueError):
        return None


def was_inside(directory: Path) -> bool:
    """Whether a process ever was the first of the container's namespace."""
    return (directory / INSIDE).exists()


def first_process(pid: int) -> int | None:
    """The container's own first process: the child of `pid`, which is 1 outside of it, that is 1 in a deeper namespace."""
    try:
        own = len(_numbers(pid))
        for child in children(pid):
            numbers = _numbers(child)
            if len(numbers) > own and numbers[-1] == "1":
                return child
    except OSError:
        pass
    return None


def first_of(directory: Path) -> int | None:
    """The own first process of the container in `directory`, if it lives. One that shares process numbers is 1 nowhere: its engine,
    which has it for a child, writes its number down."""
    watcher = inside(directory)
    if watcher is None:
        return None
    found = first_process(watcher)
    if found is not None or has_own_numbers(watcher):
        return found
    try:
        pid = int((directory / FIRST).read_text())
    except (OSError, ValueError):
        return None
    return pid if parent(pid) == watcher else None


def children(pid: int) -> list[int]:
    """The children of a process. Raises OSError when there is no such one."""
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="utf-8") as file:
                found += map(int, file.read().split())
        except FileNotFoundError:
            continue
    return found


def tree(pid: int) -> list[int]:
    """All processes below `pid`, as far as they live."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            below = children(waiting.pop())
        except OSError:
            continue
        found += below
        waiting += below
    return found


def send(find: Callable[[], int | None], number: int) -> bool:
    """Send a signal to the process that `find` names; False when there is none, or it has ended. Raises PermissionError."""
    descriptor = handle(find)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_for_end(find: Callable[[], int | None], deadline: float | None) -> bool:
    """Wait until the process that `find` names, which need not be a child, has ended; False when `deadline` (monotonic)
    passes first."""
    descriptor = handle(find)
    if descriptor is None:
        return True
    try:
        return has_ended(descriptor, deadline)
    finally:
        os.close(descriptor)


def has_ended(descriptor: int, deadline: float | None) -> bool:
    """`wait_for_end` for a process that `handle` gave a descriptor of."""
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    return bool(poll.poll(left))


def handle(find: Callable[[], int | None]) -> int | None:
    """A descriptor (pidfd_open(2)) of the process that `find` names; None when there is none, or it has ended. A number
    says nothing for certain until it is asked for once more with the descriptor open: the process may have ended in
    between, and the number be a stranger's."""
    pid = find()
    while pid is not None:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        try:
            again = find()
        except BaseException:
            os.close(descriptor)
            raise
        if again == pid:
            return descriptor
        os.close(descriptor)
        pid = again
    return None


def _start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc(5)), in clock ticks since the machine started."""
    with read_proc(pid, "stat") as file:
        fields = file.read().rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19])


def _numbers(pid: int) -> list[str]:
    """The numbers of a process, from this namespace to its own."""
    with read_proc(pid, "status") as file:
        return next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])


def has_own_numbers(pid: int) -> bool:
    """Whether a process is in a deeper process namespace than this one. Also when it has just ended."""
    try:
        return len(_numbers(pid)) != len(_numbers(os.getpid()))
    except OSError:
        return True


def parent(pid: int) -> int | None:
    """The parent of a process; None when there is no such process."""
    try:
        with read_proc(pid, "status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
    except (OSError, StopIteration):
        return None


def handles(pid: int, number: int, pause: Callable[[float], None] = time.sleep) -> bool:
    """Whether a process gets the signal: it handles it, ignores it, or blocks it to wait for it, as every init does. Also when
    it has just ended, and where the kernel does not tell: no program is ended in a guess."""
    try:
        for _ in range(_LOOKS):
            if _is_in(pid, number, "SigCgt", "SigIgn"):
                return True
            if not _is_in(pid, number, "SigBlk"):
                break
            # A C library blocks every signal for the moment of a fork, and what is only blocked then is dropped after it.
            pause(0.002)
        else:
            return True
        # What was waiting then may have gone on before the second look.
        return _waits_for_signals(pid) or _is_in(pid, number, "SigCgt", "SigIgn")
    except OSError:
        return True


def _is_in(pid: int, number: int, *masks: str) -> bool:
    fields = _status(pid)
    return any(int(fields.get(name, "0"), 16) >> (number - 1) & 1 for name in masks)


def _waits_for_signals(pid: int) -> bool:
    """Whether a process is in sigwait(3). The kernel drops no signal that is waited for, but shows it as not blocked meanwhile
    (signal.c, do_sigtimedwait and sig_ignored). Only the first thread counts."""
    for _ in range(_LOOKS):
        with read_proc(pid, "wchan") as file:
            place = file.read()
        if place not in ("", "0"):
            return "sigtimedwait" in place
        if _status(pid).get("State", "").strip().startswith("R"):
            return False
        # It has gone to sleep between the two looks, or the kernel does not tell this user where it sleeps.
        time.sleep(0.001)
    return True


def _status(pid: int) -> dict[str, str]:
    with read_proc(pid, "status") as file:
        return dict(line.split(":", 1) for line in file if ":" in line)


def read_proc(pid: int | str, name: str) -> TextIO:
    """Open a file of a process in /proc as text. Any bytes may be in it: a program gives itself the name that stands there,
    and the kernel cuts that after 15 bytes, also within a character. Raises OSError."""
    return open(f"/proc/{pid}/{name}", encoding="latin-1")
