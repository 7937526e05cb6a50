"""Control groups (cgroups(7)): which version this machine has, those around a container's own, and whether memory ran out."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Literal

from corten.oci.digest import Digest
from corten.runtime.options import Limits

Version = Literal["v2", "v1", "hybrid", "none"]
ROOT = "/sys/fs/cgroup"
PREFIX = "/corten"
NAMES = ("memory", "cpu", "cpuset", "pids")
BELOW = "limited"
_PAGE = 4096
_TRIES, _BETWEEN = 50, 0.01


def version(root: str = ROOT) -> Version:
    """`v2`: one hierarchy with controllers; `v1`: one for each controller; `hybrid`: v1 with an empty v2 beside it."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        return "v2"
    if os.path.exists(f"{root}/unified/cgroup.controllers"):
        return "hybrid"
    return "v1" if any(os.path.isdir(f"{root}/{name}") for name in ("memory", "pids", "cpu")) else "none"


def controllers(root: str = ROOT) -> frozenset[str]:
    """Which of `NAMES` there are, and `swap` where swap is counted."""
    found = version(root)
    if found == "v2":
        with open(f"{root}/cgroup.controllers", encoding="utf-8") as file:
            available = frozenset(file.read().split()) & frozenset(NAMES)
        return available | {"swap"} if "memory" in available else available
    available = frozenset(name for name in NAMES if os.path.isdir(f"{root}/{name}"))
    counted = os.path.exists(f"{root}/memory/memory.memsw.limit_in_bytes")
    return available | {"swap"} if counted else available


def group_name(directory: Path) -> str:
    """What the group of the container in `directory` is called: another store may have a container of the same name."""
    store = Digest.of(os.fsencode(directory.parent)).hex[:8]
    return f"{directory.name}-{store}"


def prepare(name: str, limits: Limits, base: str = PREFIX, root: str = ROOT) -> None:
    """Make the group called `name` above the container's own that tells afterwards whether memory ran out: the engine removes its own.

    Version 1 counts a failure only where the limit is hit first, so it is one page lower up here. Raises OSError."""
    if limits.memory is None:
        return
    group = _memory_group(name, base, root)
    os.makedirs(group, exist_ok=True)
    if version(root) != "v2":
        with open(f"{group}/memory.limit_in_bytes", "w", encoding="utf-8") as file:
            file.write(str(limits.memory - _PAGE))


def memory_ran_out(name: str, code: int, base: str = PREFIX, root: str = ROOT) -> bool:
    """Whether the memory limit ended the container with the group `name`, whose exit code was `code`. Version 2 counts the kills below
    a group; version 1 only failed allocations there, which mean it together with a killed first process."""
    group = _memory_group(name, base, root)
    try:
        if version(root) == "v2":
            with open(f"{group}/memory.events", encoding="utf-8") as file:
                return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in file)
        if code != 137:
            return False
        with open(f"{group}/memory.failcnt", encoding="utf-8") as file:
            return file.read().strip() != "0"
    except OSError:
        return False


def watch_memory(name: str, base: str = PREFIX, root: str = ROOT) -> int | None:
    """A descriptor (eventfd(2)) that counts how often memory ran out in the group `name` or below it, with version 1, whose own counter
    is in the group that the engine removes. None where there is nothing to watch."""
    if version(root) == "v2":
        return None
    group = _memory_group(name, base, root)
    events = None
    try:
        with open(f"{group}/memory.oom_control", "rb") as control:
            events = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            with open(f"{group}/cgroup.event_control", "w", encoding="ascii") as file:
                file.write(f"{events} {control.fileno()}")
    except OSError:
        if events is not None:
            os.close(events)
        return None
    return events


def has_counted(events: int | None) -> bool:
    """Whether memory ran out since `watch_memory`, which is asked once: the descriptor is closed."""
    if events is None:
        return False
    try:
        return os.eventfd_read(events) > 0
    except BlockingIOError:
        return False
    finally:
        os.close(events)


def forbid_forks(name: str, root: str = ROOT) -> None:
    """Let no process of the groups called `name` start another one, where there are such groups: who kills them all is done soon."""
    with contextlib.suppress(OSError):
        place = root if version(root) == "v2" else f"{root}/pids"
        for group, _, _ in os.walk(f"{place}{PREFIX}/{name}"):
            with contextlib.suppress(OSError), open(f"{group}/pids.max", "w", encoding="ascii") as file:
                file.write("0")


def remove(name: str, root: str = ROOT) -> None:
    """Remove the groups called `name` of a container that has ended, wherever there are any, with those that it made below them.
    The kernel may still be ending its processes, which is waited for."""
    with contextlib.suppress(OSError):
        hierarchies = [root] if version(root) == "v2" else [f"{root}/{item}" for item in os.listdir(root)]
        for place in hierarchies:
            for group, _, _ in os.walk(f"{place}{PREFIX}/{name}", topdown=False):
                _remove_group(group)


def _remove_group(group: str) -> None:
    for _ in range(_TRIES):
        try:
            os.rmdir(group)
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
        time.sleep(_BETWEEN)


def _memory_group(name: str, base: str, root: str) -> str:
    return f"{root}{base}/{name}" if version(root) == "v2" else f"{root}/memory{base}/{name}"
