"""What the machine has left for workers: processors, memory, accelerators, as this process may use them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_GROUP = "sys/fs/cgroup"


def cpus(root: Path = Path("/")) -> int:
    """Processors that this process may keep busy: those of its affinity, and no more than the quota of its cgroup (v2's
    cpu.max, v1's cpu.cfs_quota_us), at least 1."""
    count = len(os.sched_getaffinity(0))
    for name in ("cpu.max", "cpu/cpu.cfs_quota_us"):
        fields = _read(root / _GROUP / name).split()
        if name.endswith("quota_us"):
            fields += _read(root / _GROUP / "cpu/cpu.cfs_period_us").split()
        if len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit() and int(fields[1]):
            count = min(count, math.ceil(int(fields[0]) / int(fields[1])))
    return max(1, count)


def memory_left(root: Path = Path("/")) -> int:
    """Bytes that can still be used: what the machine has available, and no more than the limit of the cgroup leaves.
    Pages of files that the kernel can drop count as available."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    left = int(found[1]) << 10 if found else 1 << 62
    for limit, used, statistics in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        most, current = _read(root / _GROUP / limit).strip(), _read(root / _GROUP / used).strip()
        if most.isdigit() and current.isdigit():
            cache = re.search(
                r"^(?:total_)?inactive_file (\d+)", _read(root / _GROUP / statistics), re.MULTILINE
            )
            left = min(left, int(most) - int(current) + (int(cache[1]) if cache else 0))
    return max(0, left)


def accelerators(environment: Mapping[str, str], root: Path = Path("/")) -> tuple[str, ...]:
    """The values of CUDA_VISIBLE_DEVICES that each stand for one GPU which this container has; empty without any."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        devices = [part.strip() for part in chosen.split(",")]
        # CUDA stops at the first that it does not know, -1 by custom.
        end = next((at for at, device in enumerate(devices) if device in ("", "-1")), len(devices))
        return tuple(devices[:end])
    if environment.get("NVIDIA_VISIBLE_DEVICES", "all") in ("", "none", "void"):
        return ()
    try:
        nodes = [name for name in os.listdir(root / "dev") if re.fullmatch(r"nvidia\d+", name)]
    except OSError:
        return ()
    return tuple(str(number) for number in range(len(nodes)))


def resident(pid: int) -> int:
    """Bytes of memory that the process holds (proc(5), statm), 0 when it has ended."""
    fields = _read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * _PAGE if len(fields) > 1 else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
