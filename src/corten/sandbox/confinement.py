"""What a program in a sandbox may have: values, and their form on the way to the process that builds the sandbox."""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from typing import Literal

from corten.errors import NoSandbox
from corten.sandbox import filters
from corten.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Bind:
    """`source` of this machine, a file or a directory, shown at `target`."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of address space for each process, bytes of the largest file that may be written, how many processes the user
    may have (1: none can be started), and seconds until everything is ended. None is without a limit."""

    memory: int | None = 4 << 30
    file_size: int | None = 0
    processes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Confinement:
    """`command` in a sandbox: its own mount, process, network, IPC and UTS namespaces, as a plain user a user namespace too;
    no capabilities, no new privileges, the filter `filters.refusing`, and no environment but `environment`.

    root         the directory that is its root, read-only; None: an empty one of its own with `binds` in it, and nothing else
    binds        what is shown in that empty root, parents first; read-only unless `writable`
    scratch      writable folders in it that are gone afterwards (tmpfs), each with its bytes at most
    proc         its own /proc in it, where this machine allows that
    devices      /dev with null, zero, full, random and urandom
    network      `none`, or `host`: the network of this machine, with everything on its loopback
    owner        the program keeps the caller's user ID where that is root's, without any capability, so that it can write to
                 binds that are root's; else it is `nobody`
    expendable   where memory is short, the kernel ends it before anything else
    directory    its working directory, inside
    isolation    `filter`: no namespaces but the filter `filters.reading` alone. As root the program is locked into `root`
                 (chroot) and runs as `nobody`; otherwise `unrooted` is run in place of `command`, and it can read what its
                 user can
    """

    command: tuple[str, ...]
    root: str | None = None
    binds: tuple[Bind, ...] = ()
    scratch: tuple[tuple[str, int], ...] = ()
    proc: bool = False
    devices: bool = False
    network: Literal["none", "host"] = "none"
    environment: Mapping[str, str] = field(default_factory=dict)
    owner: bool = False
    expendable: bool = False
    directory: str = "/"
    limits: Limits = Limits()
    isolation: Literal["namespaces", "filter"] = "namespaces"
    unrooted: tuple[str, ...] = ()


def encode(value: Confinement, machine: str) -> bytes:
    """What `enter.py` reads on a machine of this kind (uname(2)): the length in eight bytes, then a dictionary as `marshal`
    has it, because both ends are one interpreter and importing a JSON parser takes longer than all the rest. Raises NoSandbox
    where no filter is known, ValueError for other mounts in a given root: the places for them could be links of that tree."""
    if value.root is not None and (value.binds or value.scratch or value.proc or value.devices):
        raise ValueError("a sandbox in a given root has no other mounts")
    limits, spaces = value.limits, value.isolation == "namespaces"
    try:
        program = filters.refusing(machine) if spaces else filters.reading(machine)
    except KeyError:
        raise NoSandbox(f"Corten knows no system-call filter for '{machine}' machines") from None
    data = marshal.dumps(
        {
            "command": value.command,
            "unrooted": value.unrooted,
            "root": value.root,
            "binds": tuple((bind.source, bind.target, bind.writable) for bind in value.binds),
            "scratch": value.scratch,
            "proc": value.proc,
            "devices": value.devices,
            "network": value.network == "host",
            "environment": dict(value.environment),
            "owner": value.owner,
            "expendable": value.expendable,
            "directory": value.directory,
            "memory": limits.memory,
            "file_size": limits.file_size,
            "processes": limits.processes,
            "seconds": limits.seconds,
            "namespaces": spaces,
            "filter": program,
        }
    )
    return len(data).to_bytes(8, "little") + data
