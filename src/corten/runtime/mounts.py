"""What a container sees beside its image: binds, named volumes, temporary file systems and devices; how people write them.

Nothing here touches the store. Whether a bind's source and a device exist is looked up when they are read, so that a
mistake is told before anything starts.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterable, Sequence

from corten.errors import UsageError
from corten.lazy import regex
from corten.values import dataclass

VOLUME_NAME = regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
_SIZE = regex(r"([0-9]{1,15})([kmgt]?)b?|([0-9]{1,3})%", re.IGNORECASE)
_TAKEN = ("/proc", "/sys", "/dev")
_FLAGS = ("ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime")
_DEVICES = 256
_USUAL = ("console", "full", "null", "ptmx", "random", "tty", "urandom", "zero")
IDLE = {
    "z": "no SELinux label is set",
    "Z": "no SELinux label is set",
    "U": "the owner of the folder stays; without -u the command runs as that owner",
    "cached": "files are shared as they are",
    "delegated": "files are shared as they are",
    "consistent": "files are shared as they are",
}
"""Options of a volume that docker and podman know and that change nothing here, and why."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A file or folder of this machine shown inside. `source` is absolute and exists; `target` is absolute."""

    source: str
    target: str
    writable: bool = True


@dataclass(frozen=True, slots=True)
class NamedVolume:
    """A volume of the store shown inside, made when there is none of that name. `seeded`: a new one starts with what
    the image has at `target`. `per_user`: each user ID inside has a folder of its own in it."""

    name: str
    target: str
    writable: bool = True
    seeded: bool = True
    per_user: bool = False


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A file system in memory. `options` are mount(8)'s, complete."""

    target: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """A device node of this machine at `target` inside. `kind` is `c` or `b`, `access` some of `rwm`, `mode` its
    permissions."""

    source: str
    target: str
    access: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


def parse_volume(text: str, directory: str | None = None) -> Volume | NamedVolume:
    """`SRC:DST[:OPTION,…]`: SRC is a path, relative to `directory` (default: the working directory), or without any `/` the
    name of a volume. Options that change nothing here are let go of: `idle_options` names them. Raises UsageError when a
    source does not exist or the form is another."""
    parts = text.split(":")
    options = _volume_options(parts.pop(), text) if len(parts) > 2 else []
    if len(parts) != 2 or not all(parts):
        raise UsageError(
            f"'{text}' is not a volume",
            hint="write SOURCE:TARGET or SOURCE:TARGET:ro; a source is a path or a name",
        )
    source, target = parts
    mode = "ro" if "ro" in options else "rw"
    if VOLUME_NAME.fullmatch(source):
        place = os.path.join(directory or os.getcwd(), source)
        if os.path.exists(place):
            raise UsageError(
                f"'{source}' may be the folder here or the volume of that name",
                hint=f"write ./{source}:{target} for the folder, "
                f"or --mount type=volume,source={source},target={target}",
            )
        return NamedVolume(source, parse_target(target, "volume"), mode == "rw", "nocopy" not in options)
    return _bind(source, target, mode == "rw", directory)


def is_anonymous(text: str) -> bool:
    """Whether it is docker's volume without a name, `-v /PATH`: a folder that is writable and goes with the container."""
    return text.startswith("/") and ":" not in text


def idle_options(text: str) -> tuple[str, ...]:
    """Those options of `SRC:DST[:OPTION,…]` that change nothing here."""
    parts = text.split(":")
    return tuple(item for item in parts[2].split(",") if item in IDLE) if len(parts) == 3 else ()


def _volume_options(text: str, whole: str) -> list[str]:
    options = text.split(",")
    for option in options:
        if option not in ("ro", "rw", "nocopy", "copy", "exec", "private", "rprivate", *IDLE):
            raise UsageError(
                f"'{option[:40]}' of the volume '{whole[:120]}' is not among the options here",
                hint="use ro, rw or nocopy; z, Z, U, cached, delegated and consistent are accepted and change nothing",
            )
    return options


def parse_mount(text: str, directory: str | None = None) -> Volume | NamedVolume | Tmpfs:
    """`type=bind|volume|tmpfs,source=…,target=…[,readonly]` as docker and podman take it. Raises UsageError."""
    fields: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = item.strip().partition("=")
        key = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}.get(key, key)
        if key in fields:
            raise UsageError(f"'{key}' is given twice in '{text}'", hint="once is enough")
        fields[key] = value if equals else "true"
    kind = fields.pop("type", "volume")
    if kind == "bind" and fields.get("bind-propagation") in ("private", "rprivate"):
        del fields["bind-propagation"]
    fields.pop("consistency", None)
    known = {
        "bind": ("source", "target", "readonly"),
        "volume": ("source", "target", "readonly", "volume-nocopy"),
        "tmpfs": ("target", "readonly", "tmpfs-size", "tmpfs-mode"),
    }
    if kind not in known:
        raise UsageError(
            f"'{kind[:40]}' is no type of a mount", hint="use type=bind, type=volume or type=tmpfs"
        )
    for key in fields:
        if key not in known[kind]:
            raise UsageError(
                f"a mount of type {kind} has no '{key[:40]}'", hint=f"it takes {', '.join(known[kind])}"
            )
    if "target" not in fields:
        raise UsageError(f"'{text}' has no target", hint="add target=/PATH, the place inside")
    readonly = _boolean(fields, "readonly")
    if kind == "tmpfs":
        options = ["ro"] if readonly else []
        options += [f"{key}={fields[f'tmpfs-{key}']}" for key in ("size", "mode") if f"tmpfs-{key}" in fields]
        return _tmpfs(fields["target"], options)
    if not fields.get("source"):
        raise UsageError(f"'{text}' has no source", hint="add source=PATH, or source=NAME for type=volume")
    if kind == "bind":
        return _bind(fields["source"], fields["target"], not readonly, directory)
    name = parse_volume_name(fields["source"])
    copied = not _boolean(fields, "volume-nocopy")
    return NamedVolume(name, parse_target(fields["target"], "volume"), not readonly, copied)


def parse_tmpfs(text: str) -> Tmpfs:
    """`PATH[:OPTION,…]` with mount(8)'s options for a tmpfs. Raises UsageError."""
    target, _, options = text.partition(":")
    return _tmpfs(target, [item for item in options.split(",") if item])


def parse_device(text: str) -> list[Device]:
    """`PATH[:PATH inside][:ACCESS]`, ACCESS some of `rwm`; a folder stands for the devices in it. Raises UsageError."""
    parts = text.split(":")
    access = parts.pop() if len(parts) > 1 and not parts[-1].startswith("/") else "rwm"
    if (
        len(parts) not in (1, 2)
        or not all(part.startswith("/") for part in parts)
        or not access
        or set(access) - set("rwm")
    ):
        raise UsageError(
            f"'{text[:80]}' is not a device", hint="write /dev/NAME or /dev/NAME:/dev/INSIDE:rwm"
        )
    source, target = parts[0], os.path.normpath(parts[-1])
    try:
        mode = os.stat(source).st_mode
        names = sorted(os.listdir(source)) if stat.S_ISDIR(mode) else [""]
    except OSError as error:
        raise UsageError(
            f"the device '{source}' is not there: {(error.strerror or '').lower()}",
            hint="'ls /dev' shows those of this machine; a driver may have to be loaded",
        ) from error
    found = []
    for name in names[:_DEVICES]:
        place = os.path.join(source, name) if name else source
        status = os.stat(place)
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            found.append(_device(place, os.path.join(target, name) if name else target, access, status))
    if not found:
        raise UsageError(f"'{source}' is not a device", hint="use -v for files and folders")
    return found


def machine_devices(root: str = "/dev") -> list[Device]:
    """The devices of this machine that every container does not have anyway: all for root, else those that everybody may use."""
    found: list[Device] = []
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - {"pts", "shm", "mqueue", "hugepages", "fd", "char", "block"})
        for name in sorted(names):
            place = os.path.join(directory, name)
            if os.path.relpath(place, root) in _USUAL:
                continue
            try:
                status = os.lstat(place)
            except OSError:  # it has been taken away
                continue
            kind = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
            if kind and (os.geteuid() == 0 or status.st_mode & 0o6 == 0o6):
                found.append(_device(place, place, "rwm", status))
    return found


def _device(source: str, target: str, access: str, status: os.stat_result) -> Device:
    return Device(
        source=source,
        target=target,
        access=access,
        kind="c" if stat.S_ISCHR(status.st_mode) else "b",
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )


def parse_volume_name(text: str) -> str:
    """A volume's name. Raises UsageError for what could not be part of a path."""
    if not VOLUME_NAME.fullmatch(text):
        raise UsageError(
            f"'{text[:80]}' is not a volume's name",
            hint="use letters, digits, '_', '.' and '-', 64 at most; a folder is written as ./FOLDER",
        )
    return text


def parse_target(text: str, what: str) -> str:
    """A place inside where `what` may be mounted, normalised. Raises UsageError."""
    target = os.path.normpath(text or ".")
    if not target.startswith("/") or "\x00" in target:
        raise UsageError(
            f"the target '{text[:80]}' of a {what} is not an absolute path", hint="as in ./data:/data"
        )
    target = "/" + target.lstrip("/")
    if target == "/" or (
        target != "/dev/shm" and any(target == place or target.startswith(place + "/") for place in _TAKEN)
    ):
        hint = "use a folder of its own, such as /data"
        if target.startswith("/dev/"):
            hint = f"a device is given with --device {target}"
        raise UsageError(f"a {what} cannot be mounted at '{target}'", hint=hint)
    return target


def check_targets(mounts: Iterable[Volume | NamedVolume | Tmpfs]) -> None:
    """Raise UsageError when two of them are to lie at the same place."""
    seen: set[str] = set()
    for item in mounts:
        if item.target in seen:
            raise UsageError(f"two mounts are to lie at '{item.target}'", hint="leave one of them out")
        seen.add(item.target)


def split_mounts(
    mounts: Sequence[Volume | NamedVolume | Tmpfs],
) -> tuple[tuple[Volume, ...], tuple[NamedVolume, ...], tuple[Tmpfs, ...]]:
    """The mounts by kind. Raises UsageError when two are to lie at the same place."""
    check_targets(mounts)
    return (
        tuple(item for item in mounts if isinstance(item, Volume)),
        tuple(item for item in mounts if isinstance(item, NamedVolume)),
        tuple(item for item in mounts if isinstance(item, Tmpfs)),
    )


def _bind(source: str, target: str, writable: bool, directory: str | None) -> Volume:
    target = parse_target(target, "volume")
    place = os.path.realpath(os.path.join(directory or os.getcwd(), os.path.expanduser(source)))
    if not os.path.exists(place):
        raise UsageError(
            f"the source '{source}' of a volume does not exist",
            hint=f"make it first, or correct the path: mkdir -p {shlex.quote(source)}",
        )
    return Volume(place, target, writable)


def _tmpfs(target: str, options: list[str]) -> Tmpfs:
    """docker's defaults: no set-uid programs, no devices, no programs, open to everybody."""
    place = parse_target(target, "tmpfs")
    chosen = {"suid": "nosuid", "dev": "nodev", "exec": "noexec", "mode": "mode=1777"}
    for option in options:
        key, equals, value = option.partition("=")
        if option in _FLAGS:
            chosen[{"rw": "ro"}.get(option, option.removeprefix("no"))] = option
        elif equals and _fits(key, value):
            chosen[key] = option
        else:
            raise UsageError(
                f"'{option[:40]}' is not an option of a tmpfs",
                hint="such as size=64m, mode=1777, uid=1000, gid=1000, nr_inodes=10k, ro, exec",
            )
    return Tmpfs(place, tuple(chosen.values()))


def _fits(key: str, value: str) -> bool:
    if key == "size":
        return _SIZE.fullmatch(value) is not None
    if key == "mode":
        return re.fullmatch(r"[0-7]{3,5}", value) is not None
    if key in ("uid", "gid"):
        return re.fullmatch(r"[0-9]{1,10}", value) is not None
    return key == "nr_inodes" and re.fullmatch(r"[0-9]{1,12}[kmg]?", value) is not None


def _boolean(fields: dict[str, str], key: str) -> bool:
    value = fields.get(key, "false")
    if value not in ("true", "false", "1", "0"):
        raise UsageError(
            f"'{key}={value[:40]}' is neither true nor false", hint=f"write {key}, or leave it out"
        )
    return value in ("true", "1")
