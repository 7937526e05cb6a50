"""Which limits hold for whom, decided from a description of the machine: pure, but for `describe`.

root                   the engine makes the container's control group below `/corten`, on every version of cgroups
a plain user, v2       its systemd is asked for a scope of its own, delegated; the group lies in there (`delegation.py`)
a plain user, else     nobody lets it make control groups

What cannot be enforced is an error, or with best effort a warning that names it; it is never left out in silence.
"""

from __future__ import annotations

import os

from corten.errors import RuntimeFailure
from corten.runtime import cgroups
from corten.runtime.identity import Identity, find_program
from corten.runtime.options import ANY_NUMBER, Limits
from corten.sandbox import kernel
from corten.values import dataclass, replace

DROP_IN = (
    "as root: mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' > "
    "/etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload; then log in again"
)
_FLAGS = {
    "memory": "--memory",
    "swap": "--memory-swap",
    "reservation": "--memory-reservation",
    "cpus": "--cpus",
    "cpuset": "--cpuset-cpus",
    "pids": "--pids-limit",
}
_CONTROLLERS = {
    "memory": "memory",
    "swap": "swap",
    "reservation": "memory",
    "cpus": "cpu",
    "cpuset": "cpuset",
    "pids": "pids",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine can limit. `controllers` are those of `cgroups.NAMES`, `swap` among them where swap is counted;
    `writable`: this process may make groups at the root; `delegated` are the controllers that systemd has given to this user,
    None where the user has no systemd of its own that can be asked. `counts_by_namespace`: RLIMIT_NPROC counts a user's
    processes in each user namespace by themselves (Linux 5.14); before, it counts those of the whole machine."""

    version: cgroups.Version
    controllers: frozenset[str]
    writable: bool
    delegated: frozenset[str] | None = None
    counts_by_namespace: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """How the limits of a container are enforced: `limits` are those that hold, `dropped` the flags of those that do not,
    `reason` why. `cgroup` is the place of its group, None where it has none; with `scope` that is below the scope of this
    name, which is to be started. `processes`: the default number of them is a limit of each user inside; `unbounded`: why
    not even that holds."""

    limits: Limits
    cgroup: str | None
    scope: str | None = None
    dropped: tuple[str, ...] = ()
    reason: str = ""
    hint: str = ""
    processes: int | None = None
    unbounded: str = ""


def plan_limits(
    machine: Machine,
    identity: Identity,
    name: str,
    limits: Limits,
    best_effort: bool = False,
    usual: int | None = None,
) -> Plan:
    """How `limits` of the container `name` are enforced, and that of `usual` processes where nothing is said of them. Raises
    RuntimeFailure for those that cannot be, unless `best_effort`. The usual limit is no reason to refuse."""
    if limits.pids is not None:
        usual = None
    if limits.pids == ANY_NUMBER:
        limits = replace(limits, pids=None)
    asked = [key for key in _FLAGS if getattr(limits, key) is not None]
    available, reason, hint = _available(machine, identity)
    missing = [key for key in asked if _CONTROLLERS[key] not in available]
    if missing and available:
        names = ", ".join(sorted({_CONTROLLERS[key] for key in missing}))
        reason = f"there is no '{names}' cgroup controller {'for this user' if identity.kind != 'root' else 'here'}"
    dropped = tuple(_FLAGS[key] for key in missing)
    if missing and not best_effort:
        raise RuntimeFailure(
            f"{_listed(dropped)} cannot be enforced: {reason}", hint=f"{hint}; or add --best-effort"
        )
    kept = replace(limits, **dict.fromkeys(missing, None))
    if kept.memory is None and kept.swap is not None:
        kept = replace(kept, swap=None)
    if kept.memory is not None and "swap" not in available:
        # The engine would fail to write what the kernel does not count.
        kept = replace(kept, swap=0)
    processes, unbounded = None, ""
    if usual is not None:
        if "pids" in available and (identity.kind == "root" or kept or not machine.counts_by_namespace):
            kept = replace(kept, pids=usual)
        elif identity.kind != "root" and machine.counts_by_namespace:
            # Cheaper than a group of systemd's, which every start would wait for.
            processes = usual
        else:
            unbounded = reason or "there is no 'pids' cgroup controller here"
    below = f"/{cgroups.BELOW}" if kept.memory is not None else ""
    if identity.kind != "root":
        scope = f"corten-{name}.scope" if kept else None
        place = f"/{name}{below}" if kept else None
        return Plan(kept, place, scope, dropped, reason, hint, processes, unbounded)
    path = f"{cgroups.PREFIX}/{name}{below}" if machine.writable and machine.version != "none" else None
    return Plan(kept, path, None, dropped, reason, hint, processes, unbounded)


def _available(machine: Machine, identity: Identity) -> tuple[frozenset[str], str, str]:
    """The controllers that hold for containers of `identity`; and where there are none, why, and how to mend it."""
    if identity.kind == "root":
        if machine.version == "none" or not machine.writable:
            return frozenset(), "cgroups cannot be made here", "leave the limits out"
        return (
            machine.controllers,
            "",
            "run 'corten doctor', or leave that limit out",
        )
    if machine.version != "v2":
        return (
            frozenset(),
            f"a plain user cannot make cgroups of version {machine.version}",
            "run as root, or start this machine with systemd.unified_cgroup_hierarchy=1",
        )
    if machine.delegated is None:
        return (
            frozenset(),
            "this user has no systemd that could be asked for a cgroup",
            "log in by ssh or a console (not by su), or as root: loginctl enable-linger USER",
        )
    if not machine.delegated:
        return frozenset(), "systemd has given no cgroup controllers to this user", DROP_IN
    swap = {"swap"} if "memory" in machine.delegated and "swap" in machine.controllers else set()
    return machine.delegated | swap, "", DROP_IN


def enforceable(machine: Machine, identity: Identity) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """The flags that hold for this user, those that do not, and how to mend that."""
    available, _, hint = _available(machine, identity)
    holds = tuple(flag for key, flag in _FLAGS.items() if _CONTROLLERS[key] in available)
    lacks = tuple(flag for key, flag in _FLAGS.items() if _CONTROLLERS[key] not in available)
    return holds, lacks, hint if lacks else None


def describe(identity: Identity, root: str = cgroups.ROOT) -> Machine:
    """This machine as it is for this user."""
    version = cgroups.version(root)
    delegated = None
    if identity.kind != "root" and version == "v2" and find_program("busctl"):
        delegated = _delegated(os.getuid(), root)
    counts = kernel.version() >= (5, 14)
    return Machine(version, cgroups.controllers(root), os.access(root, os.W_OK), delegated, counts)


def _delegated(uid: int, root: str) -> frozenset[str] | None:
    if not os.path.exists(f"/run/user/{uid}/bus"):
        return None
    try:
        with open(
            f"{root}/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers", encoding="utf-8"
        ) as file:
            return frozenset(cgroups.NAMES) & frozenset(file.read().split())
    except OSError:
        return None


def prepare_group(name: str, limits: Limits, base: str = cgroups.PREFIX) -> None:
    """Make the group above the container's own that tells whether memory ran out. Raises RuntimeFailure."""
    try:
        cgroups.prepare(name, limits, base)
    except OSError as error:
        raise RuntimeFailure(
            f"the memory limit cannot be enforced: {error.strerror}", hint="leave --memory out"
        ) from error


def place_of(plan: Plan, name: str) -> str | None:
    """The container's group in the hierarchy, to be asked for in the shim: it makes way there where it has a scope."""
    if plan.scope is None:
        return plan.cgroup
    from corten.runtime.delegation import step_aside

    needed = {_CONTROLLERS[key] for key in _FLAGS if getattr(plan.limits, key) is not None} - {"swap"}
    scope = step_aside(frozenset(needed))
    prepare_group(name, plan.limits, scope)
    return f"{scope}{plan.cgroup}"


def _listed(flags: tuple[str, ...]) -> str:
    return flags[0] if len(flags) == 1 else f"{', '.join(flags[:-1])} and {flags[-1]}"
