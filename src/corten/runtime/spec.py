"""An image and options → the OCI runtime specification of a container (runtime-spec 1.0, config.md): pure.

What every container has: process, mount, IPC, UTS and network namespaces of its own, no new privileges, the default seccomp
profile, masked and read-only kernel files, a read-only root with temporary file systems where programs write, and a user
that is not root unless the image or the caller says so. What no container has by default: capabilities. A process that is
root inside has the seven of `ROOT_CAPABILITIES`, unless it is root only because a folder of root's is mounted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corten.runtime.identity import Identity
from corten.runtime.options import Limits, Volume
from corten.runtime.users import User

if TYPE_CHECKING:
    from corten.runtime.cdi.model import Edits

ROOT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
)
"""What root inside may do: own and read its own files, signal and become its own users, and use low ports."""

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""Masked and read-only kernel files, as docker and podman have them."""

_SAFE = ["nosuid", "noexec", "nodev"]


@dataclass(frozen=True, slots=True)
class Container:
    """Everything that a specification depends on, decided. `files` are small files of this container's own as (place on
    this machine, place inside); `network`: `none` for a new one with loopback, `host`, or `given` for the one that the
    engine is started in; `home` is where it may write, and `home_is_kept` that the image has files there, which stay visible;
    `kernel` is the kernel's version; `cgroup` is its place below the cgroup root, None where this user has none; `edits`
    are what its vendors' devices need."""

    root: str
    hostname: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    workdir: str
    user: User
    capable: bool
    home: str | None
    home_is_kept: bool
    identity: Identity
    network: str
    volumes: tuple[Volume, ...]
    files: tuple[tuple[str, str], ...]
    limits: Limits
    read_write: bool
    terminal: bool
    size: tuple[int, int] | None
    cgroup: str | None
    kernel: tuple[int, int]
    seccomp: dict[str, Any]
    edits: Edits | None = None


def runtime_spec(container: Container) -> dict[str, Any]:
    """The specification of `container`."""
    capabilities = list(ROOT_CAPABILITIES) if container.capable and container.user.uid == 0 else []
    process: dict[str, Any] = {
        "terminal": container.terminal,
        "user": {
            "uid": container.user.uid,
            "gid": container.user.gid,
            **({"additionalGids": list(container.user.groups)} if container.user.groups else {}),
        },
        "args": list(container.arguments),
        "env": [f"{key}={value}" for key, value in container.environment],
        "cwd": container.workdir,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        "noNewPrivileges": True,
    }
    if container.terminal and container.size:
        process["consoleSize"] = {"width": container.size[0], "height": container.size[1]}
    namespaces = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    if container.network == "none":
        namespaces.append({"type": "network"})
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "maskedPaths": list(MASKED),
        "readonlyPaths": list(READ_ONLY),
        "seccomp": container.seccomp,
    }
    if container.network == "none":
        # Its own network has no ports that anybody else could want.
        linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    if container.cgroup is not None:
        linux["cgroupsPath"] = container.cgroup
        linux["resources"] = _resources(container.limits)
    spec = {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": container.root, "readonly": not container.read_write},
        "hostname": container.hostname,
        "mounts": _mounts(container),
        "linux": linux,
    }
    if not container.edits:
        return spec
    # Few containers have devices, and every start would pay for this.
    from corten.runtime.cdi.apply import with_edits

    return with_edits(spec, container.edits, makes_nodes=container.identity.kind == "root")


def _mounts(container: Container) -> list[dict[str, Any]]:
    plain = container.identity.kind == "root"
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if plain or container.identity.has_gid(5):
        terminals.append("gid=5")
    mounts = [
        _mount("/proc", "proc", "proc", _SAFE),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", terminals),
        _mount("/dev/shm", "tmpfs", "shm", [*_SAFE, "mode=1777"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", _SAFE),
    ]
    if plain or container.network != "host":
        mounts.append(_mount("/sys", "sysfs", "sysfs", [*_SAFE, "ro"]))
    else:
        # A plain user may mount a sysfs only for a network of its own; the machine's is shown read-only instead.
        mounts.append(_mount("/sys", "none", "/sys", ["rbind", "rslave", *_SAFE, "ro"]))
    mounts += [
        _mount(place, "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=1777"]) for place in _scratch(container)
    ]
    if container.home and container.home_is_kept and not container.read_write:
        # The root's own directory again: it stays writable when the root is made read-only.
        own = container.root + container.home
        mounts.append(_mount(container.home, "bind", own, ["bind", "rw", "nosuid", "nodev"]))
    mounts += [
        _mount(inside, "bind", place, ["rbind", "rprivate", "nosuid", "nodev"])
        for place, inside in container.files
    ]
    for volume in sorted(container.volumes, key=lambda item: item.target):
        # `ro` alone leaves what is mounted below the source writable; `rro` (Linux 5.12) does not.
        access = ["rw"] if volume.writable else ["ro", "rro"] if container.kernel >= (5, 12) else ["ro"]
        mounts.append(
            _mount(volume.target, "bind", volume.source, ["rbind", "rprivate", "nosuid", "nodev", *access])
        )
    return mounts


def _scratch(container: Container) -> Sequence[str]:
    """Where programs write: temporary file systems, so that the root may stay read-only."""
    if container.read_write:
        return ("/tmp", "/run")
    places = ["/tmp", "/run"]
    if container.home and not container.home_is_kept:
        places.append(container.home)
    return places


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _resources(limits: Limits) -> dict[str, Any]:
    resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if limits.memory is not None:
        resources["memory"] = {"limit": limits.memory, "swap": limits.memory}
    if limits.cpus is not None:
        resources["cpu"] = {"quota": int(limits.cpus * 100_000), "period": 100_000}
    if limits.pids is not None:
        resources["pids"] = {"limit": limits.pids}
    return resources
