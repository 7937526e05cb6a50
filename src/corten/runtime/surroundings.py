"""Whether this process is in a container or a pod already, which isolates what runs here from a machine: decided by a pure
function from what is seen.

It matters for PRoot, which isolates nothing. A single mark would not do: /.dockerenv stays behind where a file system was
copied out of docker, a variable is easily set, toolboxes and `--pid=host` share the machine's processes and files. So the kernel
has to say it too: a container has a process namespace of its own.
"""

from __future__ import annotations

import os

from corten.values import dataclass

FIRST_PROCESS_NAMESPACE = "pid:[4026531836]"
"""The machine's own has this number on every kernel (PROC_PID_INIT_INO in <linux/proc_ns.h>)."""
_MARKS = ("/.dockerenv", "/run/.containerenv")
_VARIABLE = "KUBERNETES_SERVICE_HOST"
_SUBSYSTEM = "/run/WSL"
"""In Windows' own distributions: a machine to whoever works there, though it has a process namespace."""
_ROOTS = ("overlay", "fuse.fuse-overlayfs", "aufs")
_GROUPS = ("docker", "kubepods", "libpod", "containerd", "crio")


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of the surroundings: `processes` is the process namespace as /proc/self/ns/pid names it, `marks` are the
    files that engines leave in containers, `root` the type of the root's file system, `groups` the first process's control
    groups (/proc/1/cgroup)."""

    processes: str = FIRST_PROCESS_NAMESPACE
    marks: tuple[str, ...] = ()
    pod: bool = False
    root: str = ""
    groups: str = ""
    subsystem: bool = False


def is_contained(seen: Seen) -> bool:
    """Whether that is a container or a pod."""
    if seen.subsystem or not seen.processes or seen.processes == FIRST_PROCESS_NAMESPACE:
        return False
    named = any(name in seen.groups for name in _GROUPS)
    return bool(seen.marks) or seen.pod or seen.root in _ROOTS or named


def look() -> Seen:
    """The surroundings of this process."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return Seen(
        processes=processes,
        marks=tuple(mark for mark in _MARKS if os.path.exists(mark)),
        pod=_VARIABLE in os.environ,
        root=root_kind(_read("/proc/self/mountinfo")),
        groups=_read("/proc/1/cgroup"),
        subsystem=os.path.exists(_SUBSYSTEM),
    )


def root_kind(mountinfo: str) -> str:
    """The type of the file system at / (proc(5), /proc/PID/mountinfo); the last one that was mounted there counts."""
    kind = ""
    for line in mountinfo.splitlines():
        fields = line.split()
        if len(fields) > 6 and fields[4] == "/" and "-" in fields[6:]:
            after = fields[fields.index("-", 6) + 1 :]
            kind = after[0] if after else kind
    return kind


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
