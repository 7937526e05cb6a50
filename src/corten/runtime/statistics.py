"""What a container uses: from its control groups where it has some, else from its processes (cgroups(7), proc(5)).

Version 1 has one directory for every controller, version 2 one for all. A plain user's container often has none of its own;
then its processes are summed up, and those that have ended since are missing from the sum.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from corten.runtime import cgroups
from corten.runtime.processes import children, first_of, has_own_numbers, inside, parent, read_proc, tree
from corten.values import dataclass

_ROOT = "/sys/fs/cgroup"
_NANOSECONDS, _MICROSECONDS = 1e-9, 1e-6
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Usage:
    """At the moment `at` (monotonic seconds): `cpu` seconds so far, bytes of memory without what the kernel can drop,
    the limit if there is one, bytes read from and written to disks, the number of processes and threads."""

    at: float
    cpu: float
    memory: int
    memory_limit: int | None
    read: int
    written: int
    pids: int


def usage(directory: Path) -> Usage | None:
    """What the container in `directory` uses now; None when it does not run."""
    monitor = inside(directory)
    if monitor is None:
        return None
    first = first_of(directory)
    if first is None:
        if (directory / "bundle" / "config.json").exists():
            return None
        traced = _traced_beside(monitor)
        return _of_processes(traced) if traced else None
    places = _places(first, directory.name)
    if "memory" in places:
        return _of_groups(places)
    return _of_processes([first, *tree(first)])


def _traced_beside(guard: int) -> list[int]:
    """What PRoot traces, beside its guard (fallback/shim.py): the children of the guard's siblings, and all below them. None
    where `guard` is the first of a process namespace, whose container is only being made."""
    shim = parent(guard)
    if shim is None or has_own_numbers(guard):
        return []
    try:
        return [pid for sibling in children(shim) if sibling != guard for pid in tree(sibling)]
    except OSError:
        return []


def processors(before: Usage, after: Usage) -> float:
    """How many processors were busy between two moments: 1.0 is one."""
    passed = after.at - before.at
    return max(0.0, (after.cpu - before.cpu) / passed) if passed > 0 else 0.0


def _places(pid: int, name: str) -> dict[str, str]:
    """Controller → directory, of those groups of the process that are the container's own."""
    found: dict[str, str] = {}
    try:
        with read_proc(pid, "cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    unified = cgroups.version() == "v2"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if name not in path.split("/"):
            continue
        if unified and not controllers:
            return dict.fromkeys(("memory", "cpu", "pids", "io"), f"{_ROOT}{path}")
        for controller in controllers.split(","):
            place = f"{_ROOT}/{controllers}{path}"
            place = place if os.path.isdir(place) else f"{_ROOT}/{controller}{path}"
            if controller and os.path.isdir(place):
                found[{"cpuacct": "cpu", "blkio": "io", "cpu": "quota"}.get(controller, controller)] = place
    return found


def _of_groups(places: dict[str, str]) -> Usage:
    if cgroups.version() == "v2":
        place = places["memory"]
        memory = _number(f"{place}/memory.current") - _fields(f"{place}/memory.stat").get("inactive_file", 0)
        limit = _number(f"{place}/memory.max", _UNLIMITED)
        cpu = _fields(f"{place}/cpu.stat").get("usage_usec", 0) * _MICROSECONDS
        read, written = _io_v2(f"{place}/io.stat")
    else:
        place = places["memory"]
        dropped = _fields(f"{place}/memory.stat").get("total_inactive_file", 0)
        memory = _number(f"{place}/memory.usage_in_bytes") - dropped
        limit = _number(f"{place}/memory.limit_in_bytes", _UNLIMITED)
        cpu = _number(f"{places.get('cpu', '')}/cpuacct.usage") * _NANOSECONDS
        read, written = _io_v1(f"{places.get('io', '')}/blkio.throttle.io_service_bytes")
    pids = _number(f"{places.get('pids', '')}/pids.current")
    return Usage(
        time.monotonic(), cpu, max(0, memory), limit if limit < _UNLIMITED else None, read, written, pids
    )


def _of_processes(pids: list[int]) -> Usage:
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGESIZE")
    cpu = memory = read = written = threads = 0
    for pid in pids:
        try:
            with read_proc(pid, "stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        # Fields 14 and 15 are the process's own time, 16 and 17 that of its ended children; 20 threads, 24 pages.
        cpu += sum(map(int, fields[11:15]))
        threads += int(fields[17])
        memory += int(fields[21]) * page
        io = _fields(f"/proc/{pid}/io")
        read += io.get("read_bytes:", 0)
        written += io.get("write_bytes:", 0)
    return Usage(time.monotonic(), cpu / ticks, memory, None, read, written, threads)


def _io_v1(path: str) -> tuple[int, int]:
    totals = {"Read": 0, "Write": 0}
    for words in _lines(path):
        if len(words) == 3 and words[1] in totals:
            totals[words[1]] += int(words[2])
    return totals["Read"], totals["Write"]


def _io_v2(path: str) -> tuple[int, int]:
    totals = {"rbytes": 0, "wbytes": 0}
    for words in _lines(path):
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key in totals:
                totals[key] += int(value)
    return totals["rbytes"], totals["wbytes"]


def _fields(path: str) -> dict[str, int]:
    return {words[0]: int(words[1]) for words in _lines(path) if len(words) == 2 and words[1].isdigit()}


def _lines(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8") as file:
            return [line.split() for line in file]
    except OSError:
        return []


def _number(path: str, otherwise: int = 0) -> int:
    """The number in a file; `otherwise` where there is none, or `max`."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read().strip()
    except OSError:
        return otherwise
    return int(text) if text.isdigit() else otherwise
