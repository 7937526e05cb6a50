"""An image and options → the OCI runtime specification of a container (runtime-spec 1.0, config.md): pure.

What every container has: process, mount, IPC, UTS and network namespaces of its own, no new privileges, the default seccomp
profile, masked and read-only kernel files, a read-only root with temporary file systems where programs write, and a user
that is not root unless the image or the caller says so. What no container has by default: capabilities. A process that is
root inside has the seven of `ROOT_CAPABILITIES`, unless it is root only because a folder of root's is mounted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from corten.runtime.bounds import HOME, RUN, SHARED, TEMPORARY, tmpfs_options
from corten.runtime.identity import Identity, Mapping
from corten.runtime.options import Limits
from corten.runtime.users import User
from corten.values import dataclass

if TYPE_CHECKING:
    from corten.runtime.cdi.model import Edits
    from corten.runtime.mounts import Device, Tmpfs, Volume
    from corten.runtime.privileges import Security, Ulimit

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
    "/proc/dynamic_debug",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""Masked and read-only kernel files: what docker or podman masks is masked, what they make read-only is read-only. Beside them
/proc/dynamic_debug, which root inside could write to without any capability."""

_SAFE = ["nosuid", "noexec", "nodev"]


@dataclass(frozen=True, slots=True)
class Container:
    """Everything that a specification depends on, decided. `files` are small files of this container's own as (place on
    this machine, place inside); `network`: `none` for a new one with loopback, `host`, or `given` for the one that the
    engine is started in; `home` is where it may write, and `home_is_kept` that the image has files there, which stay visible;
    `kernel` is the kernel's version; `cgroup` is its place below the cgroup root, None where this user has none; `edits`
    are what its vendors' devices need; `capabilities`: None are those that `capable` gives; `rooms` are folders of the root
    that are writable though the root is not; `memory` are the machine's bytes, of which temporary file systems have shares;
    `processes` is how many each user inside may have, where no control group says it; `masked` are this machine's kernel
    files to hide beside `MASKED`; `pid` and `ipc` are `private`, `host`, or the path of another container's namespace, and `shared_memory`
    is that one's /dev/shm; `privileged`: no device of the machine is forbidden to it."""

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
    seccomp: dict[str, Any] | None
    edits: Edits | None = None
    capabilities: tuple[str, ...] | None = None
    security: Security | None = None
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int | None = None
    tmpfs: tuple[Tmpfs, ...] = ()
    devices: tuple[Device, ...] = ()
    rooms: tuple[str, ...] = ()
    memory: int = 0
    processes: int | None = None
    masked: tuple[str, ...] = ()
    pid: str = "private"
    ipc: str = "private"
    shared_memory: str | None = None
    privileged: bool = False


def runtime_spec(container: Container) -> dict[str, Any]:
    """The specification of `container`."""
    security = container.security
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
        "capabilities": _capabilities(container),
        "noNewPrivileges": security is None or security.no_new_privileges,
    }
    if container.ulimits or container.processes is not None:
        process["rlimits"] = _rlimits(container)
    if container.terminal and container.size:
        process["consoleSize"] = {"width": container.size[0], "height": container.size[1]}
    kinds = {"pid": container.pid, "mount": "private", "ipc": container.ipc, "uts": "private"}
    namespaces = [
        {"type": kind, "path": place} if place.startswith("/") else {"type": kind}
        for kind, place in kinds.items()
        if place != "host"
    ]
    if container.network == "none":
        namespaces.append({"type": "network"})
    if container.identity.inner_uids:
        namespaces.append({"type": "user"})
    masked = (*MASKED, *container.masked)
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "maskedPaths": [*hidden(masked, security), *security.mask] if security else list(masked),
        "readonlyPaths": hidden(READ_ONLY, security) if security else list(READ_ONLY),
    }
    if container.identity.inner_uids:
        linux["uidMappings"] = _id_mappings(container.identity.inner_uids)
        linux["gidMappings"] = _id_mappings(container.identity.inner_gids)
    if container.seccomp is not None:
        linux["seccomp"] = container.seccomp
    if container.devices and container.identity.kind == "root":
        linux["devices"] = [_node(device) for device in container.devices]
    if container.network == "none":
        # Its own network has no ports that anybody else could want.
        linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    if container.cgroup is not None:
        linux["cgroupsPath"] = container.cgroup
        linux["resources"] = _resources(container)
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


def _id_mappings(mappings: Sequence[Mapping]) -> list[dict[str, int]]:
    return [{"containerID": first, "hostID": outside, "size": count} for first, outside, count in mappings]


def hidden(paths: Sequence[str], security: Security) -> list[str]:
    """`paths` as `security` wants them: without the unmasked ones."""
    if "all" in security.unmask:
        return []
    import fnmatch

    return [path for path in paths if not any(fnmatch.fnmatch(path, item) for item in security.unmask)]


def _rlimits(container: Container) -> list[dict[str, Any]]:
    limits = [(item.name, item.soft, item.hard) for item in container.ulimits]
    if container.processes is not None and all(name != "nproc" for name, _, _ in limits):
        limits.append(("nproc", container.processes, container.processes))
    return [{"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard} for name, soft, hard in limits]


def _capabilities(container: Container) -> dict[str, list[str]]:
    names = container.capabilities
    if names is None:
        names = ROOT_CAPABILITIES if container.capable and container.user.uid == 0 else ()
    sets = {key: list(names) for key in ("bounding", "effective", "permitted")}
    if names and container.user.uid != 0:
        # The kernel takes them from whoever is not root at execve(2), unless they are ambient (capabilities(7)).
        sets |= {key: list(names) for key in ("inheritable", "ambient")}
    return sets


def _mounts(container: Container) -> list[dict[str, Any]]:
    plain = container.identity.kind == "root"
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if plain or container.identity.has_gid(5):
        terminals.append("gid=5")
    mounts = [
        # Only who has a right over a process namespace may mount its files: a plain user has none over the machine's.
        _mount("/proc", "bind", "/proc", ["rbind", "rslave", *_SAFE])
        if container.pid == "host" and not plain
        else _mount("/proc", "proc", "proc", _SAFE),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", terminals),
        *_memory_shared_by_processes(container),
    ]
    # With a user namespace below the shim's, a network that the shim made belongs to another one than the container's.
    shown = container.network != "none" if container.identity.inner_uids else container.network == "host"
    if plain or not shown:
        access = "rw" if container.privileged and plain else "ro"
        mounts.append(_mount("/sys", "sysfs", "sysfs", [*_SAFE, access]))
    else:
        # A plain user may mount a sysfs only for a network of its own; the machine's is shown read-only instead.
        # `ro` alone leaves what is mounted below it writable: the groups that systemd gives to this user.
        below = ["rro"] if container.kernel >= (5, 12) else []
        mounts.append(_mount("/sys", "none", "/sys", ["rbind", "rslave", *_SAFE, "ro", *below]))
    mounts += [
        _mount(
            place, "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=1777", *tmpfs_options(kind, container.memory)]
        )
        for place, kind in _scratch(container)
    ]
    kept = [container.home] if container.home and container.home_is_kept else []
    if not container.read_write:
        # The root's own directory again: it stays writable when the root is made read-only.
        mounts += [
            _mount(place, "bind", container.root + place, ["bind", "rw", "nosuid", "nodev"])
            for place in sorted({*kept, *container.rooms})
        ]
    mounts += [
        # They lie on this machine's disk: who could write to them would fill it.
        _mount(inside, "bind", place, ["rbind", "rprivate", "nosuid", "nodev", "noexec", "ro"])
        for place, inside in container.files
    ]
    asked = [_volume(volume, container.kernel) for volume in container.volumes]
    asked += [_mount(item.target, "tmpfs", "tmpfs", list(item.options)) for item in container.tmpfs]
    mounts += sorted(asked, key=lambda item: str(item["destination"]))
    if container.identity.kind != "root":
        # A plain user may not make nodes: the machine's own is shown.
        mounts += [
            _mount(device.target, "bind", device.source, ["bind", "nosuid", "noexec"])
            for device in container.devices
        ]
    return mounts


def _memory_shared_by_processes(container: Container) -> list[dict[str, Any]]:
    if container.ipc == "host":
        # Message queues belong to the IPC namespace, so a new mount would show the machine's; a plain user may not make one.
        return [_mount("/dev/shm", "bind", "/dev/shm", ["rbind", "rprivate", "rw", *_SAFE])]
    memory = _mount("/dev/shm", "tmpfs", "shm", [*_SAFE, "mode=1777", *_shared(container)])
    if container.shared_memory is not None:
        memory = _mount("/dev/shm", "bind", container.shared_memory, ["rbind", "rprivate", "rw", *_SAFE])
    return [memory, _mount("/dev/mqueue", "mqueue", "mqueue", _SAFE)]


def _shared(container: Container) -> list[str]:
    if container.shm_size is None:
        return tmpfs_options(SHARED, container.memory)
    return [f"size={container.shm_size}"]


def _volume(volume: Volume, kernel: tuple[int, int]) -> dict[str, Any]:
    # `ro` alone leaves what is mounted below the source writable; `rro` (Linux 5.12) does not.
    access = ["rw"] if volume.writable else ["ro", "rro"] if kernel >= (5, 12) else ["ro"]
    return _mount(volume.target, "bind", volume.source, ["rbind", "rprivate", "nosuid", "nodev", *access])


def _node(device: Device) -> dict[str, Any]:
    return {
        "path": device.target,
        "type": device.kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    }


def _scratch(container: Container) -> Iterable[tuple[str, str]]:
    """Where programs write, and what it is in `SHARES`: temporary file systems, so that the root may stay read-only. Not where
    the caller wants one of another size."""
    places = [("/tmp", TEMPORARY), ("/run", RUN)]
    if container.home and not container.home_is_kept and not container.read_write:
        places.append((container.home, HOME))
    asked = {item.target for item in container.tmpfs}
    return [(place, kind) for place, kind in places if place not in asked]


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _resources(container: Container) -> dict[str, Any]:
    limits, devices = container.limits, container.devices
    resources: dict[str, Any] = {
        "devices": [
            {"allow": container.privileged, "access": "rwm"},
            *(
                {
                    "allow": True,
                    "type": device.kind,
                    "major": device.major,
                    "minor": device.minor,
                    "access": device.access,
                }
                for device in devices
            ),
        ]
    }
    if limits.memory is not None:
        resources["memory"] = {"limit": limits.memory}
        if limits.swap != 0:
            resources["memory"]["swap"] = limits.memory if limits.swap is None else limits.swap
    if limits.reservation is not None:
        resources.setdefault("memory", {})["reservation"] = limits.reservation
    if limits.cpus is not None:
        resources["cpu"] = {"quota": int(limits.cpus * 100_000), "period": 100_000}
    if limits.cpuset is not None:
        resources.setdefault("cpu", {})["cpus"] = limits.cpuset
    if limits.pids is not None:
        resources["pids"] = {"limit": limits.pids}
    return resources
