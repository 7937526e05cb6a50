"""What a container may use of the machine though nobody limits it: files in memory and processes. Pure, but for the questions to
the machine at the end.

Files in memory. The kernel lets each temporary file system grow to half of the memory. A container has four of them, so here
they share that half: /dev/shm has the most, because data loaders pass batches through it. Each may also hold one file for
every 16 KiB, because empty files take memory too. What is in them counts towards --memory, where there is such a limit.

Processes. podman allows 2,048 processes and threads, docker any number. Numerical libraries start a thread for each processor
in each process, so a fixed number is too few on a large machine: here it grows with the processors.
"""

from __future__ import annotations

import os

SHARED, TEMPORARY, HOME, RUN = "/dev/shm", "/tmp", "home", "/run"
SHARES = {SHARED: 20, TEMPORARY: 15, HOME: 10, RUN: 5}
"""Per cent of the machine's memory; together what one of them could take before."""
_FILE = 16 << 10
_FEWEST_FILES = 1 << 16
_FEWEST_PROCESSES = 4096
_EACH_PROCESSOR = 128


def share(place: str, memory: int) -> int:
    """How many bytes the temporary file system at `place` may hold on a machine with `memory`; 0 where that is not known."""
    return memory * SHARES[place] // 100 & -4096


def tmpfs_options(place: str, memory: int) -> list[str]:
    """The same as options of mount(8); none where the memory is not known."""
    size = share(place, memory)
    return [f"size={size}", f"nr_inodes={max(size // _FILE, _FEWEST_FILES)}"] if size else []


def processes(processors: int) -> int:
    """How many processes and threads a container may have on a machine with so many `processors`."""
    return max(_FEWEST_PROCESSES, _EACH_PROCESSOR * processors)


def machine_memory() -> int:
    """The bytes of memory of this machine; 0 where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def machine_processes() -> int:
    """`processes` for this machine."""
    return processes(os.cpu_count() or 1)


def throttle_files(root: str = "/sys/devices/system/cpu") -> tuple[str, ...]:
    """The counters of each processor's heat, which tell what others compute; few machines but real ones have them."""
    if not os.path.exists(f"{root}/cpu0/thermal_throttle"):
        return ()
    names = (name for name in sorted(os.listdir(root)) if name[3:].isdigit())
    return tuple(f"{root}/{name}/thermal_throttle" for name in names)
