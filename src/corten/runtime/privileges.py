"""What a container's processes may do: capabilities, seccomp, new privileges, hidden kernel files, resource limits of processes.

Capabilities: capabilities(7). A process that is root inside has a few by default (`spec.ROOT_CAPABILITIES`), any other none;
one that is named with `--cap-add` works for any user, also one that is not root (it is made ambient, as podman does).
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Collection, Sequence

from corten.errors import UsageError
from corten.sandbox import kernel
from corten.values import dataclass

_IN_ORDER = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(_IN_ORDER.split())
"""In the order of their numbers (linux/capability.h)."""

ULIMITS = {
    "as": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}
UNLIMITED = 2**64 - 1
_CAP_SYS_RESOURCE = 24
_PROFILE_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Security:
    """`seccomp`: None is the default profile, `unconfined` none at all, else the text of one in docker's form. `mask` are
    paths to hide beside the default ones, `unmask` patterns of those to show; `all` shows all."""

    no_new_privileges: bool = True
    seccomp: str | None = None
    mask: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A resource limit of each process (getrlimit(2)); `UNLIMITED` for none."""

    name: str
    soft: int
    hard: int


def parse_capability(text: str) -> str:
    """A capability with or without `CAP_`, in any case, or `ALL`. Raises UsageError."""
    name = text.strip().upper().removeprefix("CAP_")
    if name == "ALL":
        return name
    if name not in CAPABILITIES:
        import difflib

        close = difflib.get_close_matches(name, CAPABILITIES, 1)
        hint = (
            f"did you mean '{close[0]}'?" if close else "capabilities(7) lists them, such as NET_BIND_SERVICE"
        )
        raise UsageError(f"'{text[:40]}' is not a capability", hint=hint)
    return f"CAP_{name}"


def granted(
    default: Collection[str], added: Sequence[str], dropped: Sequence[str], held: int
) -> tuple[str, ...]:
    """The capabilities of a container whose user has `default`: without the `dropped`, then with the `added`. `held` is the
    bit mask of those that can be given; `ALL` are these. Raises UsageError for one by name that cannot."""
    names = set() if "ALL" in dropped else set(default) - set(dropped)
    possible = {f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if held >> number & 1}
    for name in added:
        if name == "ALL":
            names |= possible - set(dropped)
        elif name not in possible:
            raise UsageError(
                f"the capability '{name}' cannot be given: this process does not have it",
                hint="leave it out, or run where it is had",
            )
        else:
            names.add(name)
    return tuple(f"CAP_{name}" for name in CAPABILITIES if f"CAP_{name}" in names)


def held_capabilities() -> int:
    """The bit mask of the capabilities that this process could pass on (its bounding set)."""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next((int(line.split()[1], 16) for line in file if line.startswith("CapBnd:")), 0)


def parse_security(texts: Sequence[str], directory: str | None = None) -> Security:
    """The values of `--security-opt`: `no-new-privileges[=true|false]`, `seccomp=unconfined|FILE`, `mask=PATH:…`,
    `unmask=ALL|PATTERN:…`. Raises UsageError, also for those of docker and podman that mean nothing here."""
    no_new, seccomp = True, None
    mask: list[str] = []
    unmask: list[str] = []
    for text in texts:
        key, _, value = text.partition("=" if "=" in text else ":")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            no_new = value != "false"
        elif key == "seccomp" and value:
            seccomp = value if value == "unconfined" else _read_profile(value, directory)
        elif key in ("mask", "unmask") and value:
            paths = value.split(":")
            if value.lower() == "all" and key == "unmask":
                paths = ["all"]
            elif not all(path.startswith("/") and "\x00" not in path for path in paths):
                raise UsageError(
                    f"'{value[:80]}' is not a list of absolute paths", hint=f"as in {key}=/proc/acpi"
                )
            (mask if key == "mask" else unmask).extend(paths)
        elif (key, value) == ("systempaths", "unconfined"):
            unmask.append("all")
        elif (key, value) in (("apparmor", "unconfined"), ("label", "disable")):
            continue  # so it is: no profile and no label is set
        elif key in ("apparmor", "label", "systempaths", "proc-opts"):
            raise UsageError(
                f"'{key}={value[:40]}' is not among the security options here",
                hint="unmask=ALL is what systempaths=unconfined is"
                if key == "systempaths"
                else "leave it out",
            )
        else:
            raise UsageError(
                f"'{text[:80]}' is not a security option",
                hint="no-new-privileges=false, seccomp=unconfined, seccomp=FILE, mask=PATH, unmask=PATH or unmask=ALL",
            )
    return Security(no_new, seccomp, tuple(mask), tuple(unmask))


def _read_profile(path: str, directory: str | None) -> str:
    place = os.path.join(directory or os.getcwd(), os.path.expanduser(path))
    try:
        with open(place, "rb") as file:
            profile = json.loads(file.read(_PROFILE_LIMIT))
    except OSError as error:
        raise UsageError(
            f"the seccomp profile '{path}' cannot be read: {(error.strerror or '').lower()}",
            hint="check its path, or write seccomp=unconfined",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the seccomp profile '{path}' is not JSON", hint="it has docker's form") from error
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise UsageError(f"'{path}' is not a seccomp profile", hint="docker's form begins with defaultAction")
    return json.dumps(profile)


def parse_ulimit(text: str) -> Ulimit:
    """`NAME=SOFT[:HARD]`, -1 or `unlimited` for none. Raises UsageError."""
    name, _, value = text.partition("=")
    soft_text, colon, hard_text = value.partition(":")
    name = name.removeprefix("RLIMIT_").lower()
    if name not in ULIMITS:
        raise UsageError(f"'{name[:40]}' is not a resource limit", hint=f"use one of {', '.join(ULIMITS)}")
    soft = _amount(soft_text)
    hard = _amount(hard_text) if colon else soft
    if soft is None or hard is None:
        raise UsageError(f"'{text[:80]}' is not a resource limit", hint="write it as nofile=1024:4096")
    if soft > hard:
        raise UsageError(f"the soft limit of '{text[:80]}' is above the hard one", hint="soft comes first")
    return Ulimit(name, soft, hard)


def _amount(text: str) -> int | None:
    if text in ("-1", "unlimited"):
        return UNLIMITED
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def check_ulimits(ulimits: Sequence[Ulimit], may_raise: bool) -> None:
    """Raise UsageError for a hard limit above this process's own, unless it `may_raise` it."""
    for item in ulimits:
        own = resource.getrlimit(ULIMITS[item.name])[1]
        own = UNLIMITED if may_raise or own == resource.RLIM_INFINITY else own
        if item.name == "nofile":
            # Even root may not have more (proc(5), /proc/sys/fs/nr_open).
            own = min(own, _most_files())
        if item.hard > own:
            raise UsageError(
                f"the limit {item.name}={_shown(item.hard)} is above what this process may set, {_shown(own)}",
                hint=f"use at most {_shown(own)}, or raise the limit of this session (as root: /etc/security/limits.conf)",
            )


def may_raise_limits(privileged: bool) -> bool:
    """Whether the kernel lets the engine raise hard limits: only with CAP_SYS_RESOURCE outside every user namespace."""
    return privileged and kernel.has_capability(_CAP_SYS_RESOURCE) and kernel.in_initial_user_namespace()


def _most_files() -> int:
    try:
        with open("/proc/sys/fs/nr_open", encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return UNLIMITED


def _shown(value: int) -> str:
    return "unlimited" if value == UNLIMITED else str(value)
