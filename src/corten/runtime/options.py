"""What a caller asks of a container, as values; and how people write them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from corten.errors import UsageError

if TYPE_CHECKING:
    from corten.runtime.cdi.choose import Gpus

Network = Literal["none", "host"]

_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
_VARIABLE = re.compile(r"[^=\x00]+")
MEMORY_FLOOR = 6 << 20
"""Below this many bytes an engine cannot even start the process (docker's floor too)."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A file or folder of this machine shown inside. `source` is absolute and exists; `target` is absolute."""

    source: str
    target: str
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory` in bytes (no swap beside it), `cpus` in processors, `pids` in processes and threads. None: no limit."""

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None

    def __bool__(self) -> bool:
        return self.memory is not None or self.cpus is not None or self.pids is not None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run an image. Without a value the image decides.

    `entrypoint`: None is the image's own, an empty tuple none at all. `network`: None is what the image's label says,
    else `none`. `environment` comes after the image's own and wins. `gpus` and `vendor_devices` (full CDI names) are looked up
    in `cdi_directories`, empty for the machine's own."""

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    workdir: str | None = None
    user: str | None = None
    volumes: tuple[Volume, ...] = ()
    network: str | None = None
    limits: Limits = Limits()
    read_write: bool = False
    name: str | None = None
    gpus: Gpus | None = None
    vendor_devices: tuple[str, ...] = ()
    cdi_directories: tuple[str, ...] = ()


def parse_volume(text: str, directory: str | None = None) -> Volume:
    """`SRC:DST[:ro|rw]`, SRC relative to `directory` (default: the working directory).

    Raises UsageError when the source does not exist or the form is another."""
    parts = text.split(":")
    mode = parts.pop() if len(parts) > 2 else "rw"
    if len(parts) != 2 or not all(parts) or mode not in ("ro", "rw"):
        raise UsageError(f"'{text}' is not a volume", hint="write SOURCE:TARGET or SOURCE:TARGET:ro")
    source = os.path.realpath(os.path.join(directory or os.getcwd(), os.path.expanduser(parts[0])))
    target = os.path.normpath(parts[1])
    if not os.path.exists(source):
        raise UsageError(
            f"the source '{parts[0]}' of a volume does not exist",
            hint="make it first, or correct the path before the colon",
        )
    if not target.startswith("/") or "\x00" in target:
        raise UsageError(
            f"the target '{parts[1]}' of a volume is not an absolute path", hint="as in ./data:/data"
        )
    target = "/" + target.lstrip("/")
    if target == "/" or any(
        target == place or target.startswith(place + "/") for place in ("/proc", "/sys", "/dev")
    ):
        raise UsageError(
            f"a volume cannot be mounted at '{target}'", hint="use a folder of its own, such as /data"
        )
    return Volume(source, target, mode == "rw")


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
    """A number of processes, at least 1. Raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) < 1:
        raise UsageError(f"'{text[:40]}' is not a number of processes", hint="write it as 200")
    return int(text)


def parse_name(text: str) -> str:
    """A container's name. Raises UsageError for what cannot be part of a path and a host name."""
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"'{text[:80]}' is not a container's name",
            hint="use letters, digits, '_', '.' and '-', 64 at most",
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
