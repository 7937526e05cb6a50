"""Finding a container's processes from this machine's side, and signalling them, never a stranger with a reused number.

inside   in a container's directory: number and start time of process 1 of its process namespace
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from corten.store.disk import write_atomically

INSIDE = "inside"


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


def children(pid: int) -> list[int]:
    """The children of a process. Raises OSError when there is no such one."""
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/children") as file:
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


def send(pid: int, number: int) -> bool:
    """Send a signal; False when the process has ended. Raises PermissionError."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_for_end(pid: int, deadline: float | None) -> bool:
    """Wait until a process that need not be a child has ended; False when `deadline` (monotonic) passes first."""
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        return bool(poll.poll(left))
    finally:
        os.close(descriptor)


def _start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc(5)), in clock ticks since the machine started."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19])


def _numbers(pid: int) -> list[str]:
    """The numbers of a process, from this namespace to its own."""
    with open(f"/proc/{pid}/status") as file:
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
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
    except (OSError, StopIteration):
        return None


def handles(pid: int, number: int) -> bool:
    """Whether a process handles or ignores the signal (proc(5), SigCgt and SigIgn); also when it has just ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return True
    masks = int(fields.get("SigCgt", "0"), 16) | int(fields.get("SigIgn", "0"), 16)
    return bool(masks >> (number - 1) & 1)
