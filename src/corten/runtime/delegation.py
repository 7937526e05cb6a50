"""A control group for a plain user: systemd's scope of a container (org.freedesktop.systemd1(5), systemd.scope(5)).

The user's own systemd starts the scope with the shim in it and hands it over (`Delegate=`). The shim then steps aside into
a group of its own, so that the kernel lets the scope have groups with controllers ("no internal processes",
the kernel's cgroup-v2 document), and the engine makes the container's group there as it does for root.
"""

from __future__ import annotations

import os
import time

from corten.errors import RuntimeFailure
from corten.runtime import cgroups
from corten.runtime.identity import find_program, run_quietly
from corten.runtime.processes import read_proc

_ASIDE = "shim"
_PATIENCE = 5.0
_HINT = "run 'corten doctor'; or add --best-effort"


def scope_command(program: str, scope: str, pid: int) -> list[str]:
    """What asks systemd for the scope `scope` with the process `pid` in it, delegated."""
    call = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
    properties = [
        "PIDs",
        "au",
        "1",
        str(pid),
        "Delegate",
        "b",
        "true",
        "CollectMode",
        "s",
        "inactive-or-failed",
    ]
    return [
        program,
        "--user",
        "--quiet",
        "call",
        *call,
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        scope,
        "fail",
        "3",
        *properties,
        "0",
    ]


def start_scope(scope: str, pid: int) -> None:
    """Put the process `pid` into a new scope. Raises RuntimeFailure when systemd refuses, or the process is not in it after
    some seconds: a limit that is not there would not be noticed later."""
    os.environ.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    program = find_program("busctl") or "busctl"
    status, said = run_quietly(scope_command(program, scope, pid))
    if status != 0:
        raise RuntimeFailure(
            f"systemd gives this user no cgroup: {said or f'exit code {status}'}", hint=_HINT
        )
    deadline = time.monotonic() + _PATIENCE
    while not own_group(pid).endswith(f"/{scope}"):
        if time.monotonic() > deadline:
            raise RuntimeFailure("systemd has not started the container's cgroup", hint=_HINT)
        time.sleep(0.005)


def own_group(pid: int | str = "self") -> str:
    """The group of a process in the hierarchy of version 2, empty where there is none (cgroups(7), /proc/PID/cgroup)."""
    with read_proc(pid, "cgroup") as file:
        return next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")


def step_aside(needed: frozenset[str], root: str = cgroups.ROOT) -> str:
    """Leave this process's scope to groups with the controllers `needed`; returns its path. Raises RuntimeFailure."""
    scope = own_group()
    try:
        os.mkdir(f"{root}{scope}/{_ASIDE}")
        _write(f"{root}{scope}/{_ASIDE}/cgroup.procs", "0")
        _write(f"{root}{scope}/cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(needed)))
    except OSError as error:
        raise RuntimeFailure(
            f"limits cannot be enforced in '{scope}': {(error.strerror or '').lower()}", hint=_HINT
        ) from error
    return scope


def scope_of_shim() -> str:
    """The scope that this process has left to its container."""
    return own_group().removesuffix(f"/{_ASIDE}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
