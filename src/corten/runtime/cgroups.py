"""Control groups (cgroups(7)): which version this machine has, whether this user may make them, and which limits hold."""

from __future__ import annotations

import contextlib
import os
from typing import Literal

from corten.errors import RuntimeFailure
from corten.runtime.identity import Identity
from corten.runtime.options import Limits

Version = Literal["v2", "v1", "hybrid", "none"]
_ROOT = "/sys/fs/cgroup"
PREFIX = "/corten"
_BELOW = "limited"
_PAGE = 4096


def version(root: str = _ROOT) -> Version:
    """`v2`: one hierarchy with controllers; `v1`: one for each controller; `hybrid`: v1 with an empty v2 beside it."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        return "v2"
    if os.path.exists(f"{root}/unified/cgroup.controllers"):
        return "hybrid"
    return "v1" if any(os.path.isdir(f"{root}/{name}") for name in ("memory", "pids", "cpu")) else "none"


def controllers(root: str = _ROOT) -> frozenset[str]:
    """Which of `memory`, `cpu` and `pids` there are."""
    names = ("memory", "cpu", "pids")
    if version(root) == "v2":
        with open(f"{root}/cgroup.controllers") as file:
            available = file.read().split()
        return frozenset(name for name in names if name in available)
    return frozenset(name for name in names if os.path.isdir(f"{root}/{name}"))


def path_for(name: str, identity: Identity, limits: Limits, root: str = _ROOT) -> str | None:
    """The cgroup of the container `name`, or None where this user cannot have one.

    Raises RuntimeFailure when `limits` were asked for and cannot be enforced: they are never dropped silently."""
    missing = [kind for kind, value in _asked(limits) if value is not None and kind not in controllers(root)]
    if identity.kind == "root":
        if missing:
            raise RuntimeFailure(
                f"this machine has no '{missing[0]}' cgroup controller, so that limit cannot be enforced",
                hint="run 'corten doctor'; without the limit the container can run",
            )
        writable = version(root) != "none" and os.access(root, os.W_OK)
        if not writable and limits:
            raise RuntimeFailure(
                "cgroups cannot be made here, so limits cannot be enforced", hint="leave the limits out"
            )
        below = f"/{_BELOW}" if limits.memory is not None else ""
        return f"{PREFIX}/{name}{below}" if writable else None
    if limits:
        raise RuntimeFailure(
            "limits of a plain user's containers cannot be enforced on this machine",
            hint="run as root to use --memory, --cpus and --pids-limit",
        )
    return None


def prepare(name: str, limits: Limits, root: str = _ROOT) -> None:
    """Make the group above the container's own that tells afterwards whether memory ran out: the engine removes its own.

    Version 1 counts a failure only where the limit is hit first, so it is one page lower up here. Raises OSError."""
    if limits.memory is None:
        return
    group = _memory_group(name, root)
    os.makedirs(group, exist_ok=True)
    if version(root) != "v2":
        with open(f"{group}/memory.limit_in_bytes", "w") as file:
            file.write(str(limits.memory - _PAGE))


def memory_ran_out(name: str, code: int, root: str = _ROOT) -> bool:
    """Whether the memory limit ended the container `name`, whose exit code was `code`. Version 2 counts the kills below
    a group; version 1 only failed allocations there, which mean it together with a killed first process."""
    group = _memory_group(name, root)
    try:
        if version(root) == "v2":
            with open(f"{group}/memory.events") as file:
                return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in file)
        if code != 137:
            return False
        with open(f"{group}/memory.failcnt") as file:
            return file.read().strip() != "0"
    except OSError:
        return False


def remove(name: str, root: str = _ROOT) -> None:
    """Remove the groups of a container that has ended, wherever there are any."""
    with contextlib.suppress(OSError):
        hierarchies = [root] if version(root) == "v2" else [f"{root}/{item}" for item in os.listdir(root)]
        for place in hierarchies:
            for group in (f"{place}{PREFIX}/{name}/{_BELOW}", f"{place}{PREFIX}/{name}"):
                with contextlib.suppress(OSError):
                    os.rmdir(group)


def _memory_group(name: str, root: str) -> str:
    return f"{root}{PREFIX}/{name}" if version(root) == "v2" else f"{root}/memory{PREFIX}/{name}"


def _asked(limits: Limits) -> tuple[tuple[str, float | None], ...]:
    return (("memory", limits.memory), ("cpu", limits.cpus), ("pids", limits.pids))
