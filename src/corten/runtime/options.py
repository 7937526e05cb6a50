"""What a caller asks of a container, as values; and how people write them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from corten.errors import UsageError
from corten.lazy import regex
from corten.values import dataclass

if TYPE_CHECKING:
    # Few containers ask for these, and every start would pay for their classes.
    from corten.runtime.cdi.choose import Gpus
    from corten.runtime.mounts import Device, NamedVolume, Tmpfs, Volume
    from corten.runtime.network.ports import Port
    from corten.runtime.privileges import Security, Ulimit

_MEMORY = regex(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_CPUSET = regex(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*")
_HOST = regex(r"[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)*")
_NAME = regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
_VARIABLE = regex(r"[^=\x00]+")
MEMORY_FLOOR = 6 << 20
"""Below this many bytes an engine cannot even start the process (docker's floor too)."""
ANY_NUMBER = -1
SECRET_LIMIT = 1 << 20
"""The most bytes of a secret."""
HOST_GATEWAY = "host-gateway"
"""docker's word for this machine's address, as a container's network reaches it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory` in bytes, `swap` those of memory and swap together (None: no swap beside the memory; -1: any amount; 0: it
    cannot be limited), `reservation` what it keeps when memory is short, `cpus` in processors, `cpuset` which of them,
    `pids` in processes and threads (None: the default of `bounds.py`; -1: any number). None: no limit."""

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    swap: int | None = None
    reservation: int | None = None
    cpuset: str | None = None

    def __bool__(self) -> bool:
        pids = None if self.pids == ANY_NUMBER else self.pids
        return any(
            value is not None for value in (self.memory, self.cpus, pids, self.reservation, self.cpuset)
        )


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run an image. Without a value the image decides what runs inside; it never decides what the container may reach.

    `entrypoint`: None is the image's own, an empty tuple none at all. `network`: None is `project_network`, which is what the
    project's own pyproject.toml says where a project's folder is run, else `none`; `ports` are published from a private one.
    `project_environment` are variables of the project's own `.env`, where the image does not have them and nothing else sets them;
    with `env_file_given` there are none. `project_secrets` are files of the project's folder that no image has, as (folder, path in it, place inside).
    `shm_size` and `project_shm_size`, `named_volumes` and `project_volumes` go together in the same way. `environment` comes after the image's own and wins. `gpus` and `vendor_devices` (full CDI names) are looked up
    in `cdi_directories`, empty for the machine's own. `storage`: the most bytes that it may write beside volumes and temporary
    file systems; they are kept in memory then. `rooms` are folders of its root that are writable and go with it. `read_only`: not even an application's /app is. `groups` are those
    that its user is in beside its own, by number or by the image's names. `ipc`: `host` is this machine's shared memory and
    System V IPC, `container:NAME` another one's, and `private` lets no other have its own. `pid`: `host` or `container:NAME`, whose
    processes it sees. `userns`: `keep-id` or `keep-id:uid=N,gid=N`. `secrets` are files of this machine as (name, path), read at each start. `privileged`: every device and
    capability, and no filter. `log_size`: the bytes at which the log of a
    detached one begins anew, and `log_files` how many files it may have; without `log` it has none. `stop_signal` comes before the image's own, and `stop_timeout` are the seconds between
    that and a kill."""

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    workdir: str | None = None
    user: str | None = None
    volumes: tuple[Volume, ...] = ()
    network: str | None = None
    project_network: str | None = None
    limits: Limits = Limits()
    read_write: bool = False
    read_only: bool = False
    name: str | None = None
    named_volumes: tuple[NamedVolume, ...] = ()
    project_volumes: tuple[NamedVolume, ...] = ()
    project_environment: tuple[tuple[str, str], ...] = ()
    project_secrets: tuple[tuple[str, str, str], ...] = ()
    env_file_given: bool = False
    secrets: tuple[tuple[str, str], ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    devices: tuple[Device, ...] = ()
    hostname: str | None = None
    hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int | None = None
    project_shm_size: int | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security: Security | None = None
    init: str | None = None
    best_effort: bool = False
    gpus: Gpus | None = None
    vendor_devices: tuple[str, ...] = ()
    cdi_directories: tuple[str, ...] = ()
    storage: int | None = None
    engine: str | None = None
    ports: tuple[Port, ...] = ()
    rooms: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    ipc: str | None = None
    pid: str | None = None
    userns: str | None = None
    privileged: bool = False
    log_size: int | None = None
    log_files: int | None = None
    log: bool = True
    stop_signal: str | None = None
    stop_timeout: float | None = None

    @property
    def every_volume(self) -> tuple[NamedVolume, ...]:
        """The named volumes with the project's own, which make way where the caller mounts something else."""
        if not self.project_volumes:
            return self.named_volumes
        taken = {item.target for part in (self.volumes, self.named_volumes, self.tmpfs) for item in part}
        return (*self.named_volumes, *(item for item in self.project_volumes if item.target not in taken))


def parse_memory(text: str) -> int:
    """`512m`, `1.5g`, `2GiB` or bytes, in powers of 1024. Raises UsageError."""
    match = _MEMORY.fullmatch(text.strip())
    if not match or len(text) > 32:
        raise UsageError(f"'{text[:40]}' is not an amount of memory", hint="write it as 512m or 2g")
    value = int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))
    if not MEMORY_FLOOR <= value < 1 << 62:
        raise UsageError(f"a container cannot run with '{text}' of memory", hint="give it at least 6m")
    return value


def parse_cpus(text: str) -> float:
    """A number of processors such as `2` or `0.5`. Raises UsageError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 8192:
        raise UsageError(f"'{text[:40]}' is not a number of processors", hint="write it as 2 or 0.5")
    return value


def parse_pids(text: str) -> int:
    """A number of processes, at least 1; -1 for any number. Raises UsageError."""
    if text == "-1":
        return ANY_NUMBER
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) < 1:
        raise UsageError(f"'{text[:40]}' is not a number of processes", hint="write it as 200, or -1 for any")
    return int(text)


def parse_swap(text: str, memory: int | None) -> int:
    """Bytes of memory and swap together, at least `memory`; -1 for any amount of swap. Raises UsageError."""
    if memory is None:
        raise UsageError("--memory-swap is a limit beside --memory", hint="add --memory, such as --memory 2g")
    if text == "-1":
        return -1
    swap = parse_memory(text)
    if swap < memory:
        raise UsageError(
            f"'{text}' of memory and swap together is below the memory's own limit",
            hint="--memory-swap counts both: give it at least what --memory has",
        )
    return swap


def parse_cpuset(text: str, online: Collection[int]) -> str:
    """Processors by number, such as `0-2,4`, all of them `online`. Raises UsageError."""
    if not _CPUSET.fullmatch(text) or len(text) > 256:
        raise UsageError(f"'{text[:40]}' is not a list of processors", hint="write it as 0-2 or 0,2")
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) < int(first):
            raise UsageError(f"'{part}' is not a range of processors", hint="the smaller number comes first")
        if not {int(first), int(last or first)} <= set(online):
            raise UsageError(
                f"this machine has no processor {part} for '{text[:40]}'",
                hint=f"there are: {', '.join(map(str, sorted(online)[:64]))}",
            )
    return text


def parse_shm_size(text: str) -> int:
    """The size of /dev/shm in bytes. Raises UsageError."""
    return parse_size(text, "/dev/shm")


def parse_size(text: str, what: str) -> int:
    """The size of `what` in bytes, 4096 at least. Raises UsageError."""
    match = _MEMORY.fullmatch(text.strip())
    value = int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")) if match else 0
    if not 4096 <= value < 1 << 62 or len(text) > 32:
        raise UsageError(f"'{text[:40]}' is not a size for {what}", hint="write it as 256m or 2g")
    return value


def parse_secret(text: str) -> tuple[str, str]:
    """`NAME=FILE`, or `id=NAME,src=FILE` as `docker build` has it: a file to show as /run/secrets/NAME. Raises UsageError where it
    cannot be read."""
    name, equals, path = text.partition("=")
    if name == "id" and ",src=" in path:
        name, _, path = path.partition(",src=")
    if not equals or not path or not _NAME.fullmatch(name):
        raise UsageError(
            f"'{text[:80]}' is not a secret", hint="write NAME=FILE; it is /run/secrets/NAME inside"
        )
    place = os.path.realpath(os.path.expanduser(path))
    try:
        if not os.path.isfile(place):
            raise FileNotFoundError(2, "there is no such file")
        with open(place, "rb") as file:
            if len(file.read(SECRET_LIMIT + 1)) > SECRET_LIMIT:
                raise UsageError(
                    f"the secret '{name}' is longer than {SECRET_LIMIT >> 10} KiB",
                    hint="mount a large file with -v",
                )
    except OSError as error:
        raise UsageError(
            f"the file '{path}' of the secret '{name}' cannot be read: {(error.strerror or '').lower()}",
            hint="check its path",
        ) from error
    return name, place


def parse_hostname(text: str) -> str:
    """A host name (RFC 1123), 63 characters at most. Raises UsageError."""
    if not _HOST.fullmatch(text) or len(text) > 63:
        raise UsageError(
            f"'{text[:80]}' is not a host name", hint="use letters, digits, '-' and '.', 63 at most"
        )
    return text


def parse_host(text: str) -> tuple[str, str]:
    """`HOST:ADDRESS` or `HOST=ADDRESS` for /etc/hosts, ADDRESS of either family, also in brackets, or `host-gateway` for this
    machine's own. Raises UsageError."""
    name, _, address = text.partition("=" if "=" in text else ":")
    address = address.removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(name) or not (address == HOST_GATEWAY or _is_address(address)):
        raise UsageError(
            f"'{text[:80]}' is not a host and its address",
            hint=f"write it as db:10.0.0.5, or db:{HOST_GATEWAY} for this machine",
        )
    return name, address


def parse_dns(text: str) -> str:
    """The address of a name server. Raises UsageError."""
    if not _is_address(text):
        raise UsageError(f"'{text[:80]}' is not the address of a name server", hint="write it as 9.9.9.9")
    return text


def _is_address(text: str) -> bool:
    # Few ask for this, and every start would pay for it.
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, text)
            return True
    return False


def parse_name(text: str) -> str:
    """A container's name. Raises UsageError for what cannot be part of a path and a host name."""
    if not _NAME.fullmatch(text) or text.endswith(".lock"):
        raise UsageError(
            f"'{text[:80]}' is not a container's name",
            hint="use letters, digits, '_', '.' and '-', 64 at most, and no '.lock' at its end",
        )
    return text


def parse_variable(text: str, outside: Mapping[str, str]) -> tuple[str, str] | None:
    """`K=V`, or `K` for the value that it has in `outside` (None when it has none). Raises UsageError."""
    name, equals, value = text.partition("=")
    if not _VARIABLE.fullmatch(name) or "\x00" in value:
        raise UsageError(f"'{text[:80]}' is not a variable", hint="write NAME=VALUE, or NAME to pass it on")
    if equals:
        return name, value
    return (name, outside[name]) if name in outside else None


def parse_variables_file(text: str, path: str, outside: Mapping[str, str]) -> list[tuple[str, str]]:
    """The lines of a file for `--env-file`: `K=V` or `K`, `#` at the start of a line for comments; values are taken
    as they are, as docker does. Raises UsageError naming the line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        if re.search(r"\s", line.partition("=")[0]):
            raise UsageError(
                f"line {number} of '{path}' is not a variable", hint="write NAME=VALUE without spaces"
            )
        variable = parse_variable(line, outside)
        if variable is not None:
            found.append(variable)
    return found
