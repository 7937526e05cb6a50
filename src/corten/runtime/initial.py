"""A small program as a container's first process, which reaps the dead and passes signals on (`--init`).

Machines have one of several. It is shown inside, so it must not need the machine's libraries: only a static one will do.
"""

from __future__ import annotations

import os
import struct

from corten.errors import RuntimeFailure

CANDIDATES = (
    "/usr/bin/docker-init",
    "/usr/bin/tini-static",
    "/usr/bin/catatonit",
    "/usr/libexec/podman/catatonit",
    "/usr/libexec/docker/docker-init",
    "/usr/local/bin/docker-init",
    "/usr/bin/tini",
    "/usr/bin/dumb-init",
)
INSIDE = "/run/corten-init"
_PT_INTERP = 3
_HEADERS = 64


def find_init(candidates: tuple[str, ...] = CANDIDATES) -> str:
    """The path of a static init on this machine. Raises RuntimeFailure where there is none."""
    for path in candidates:
        if os.access(path, os.X_OK) and is_static(path):
            return os.path.realpath(path)
    raise RuntimeFailure(
        "this machine has no small init to be the container's first process",
        hint="apt install tini (or catatonit); or leave --init out",
    )


def is_static(path: str) -> bool:
    """Whether `path` is a program that names no dynamic loader (elf(5), PT_INTERP); 64 bit, little-endian."""
    try:
        with open(path, "rb") as file:
            header = file.read(64)
            if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
                return False
            offset = struct.unpack_from("<Q", header, 32)[0]
            size, count = struct.unpack_from("<HH", header, 54)
            if size < 4 or count > _HEADERS:
                return False
            file.seek(offset)
            table = file.read(size * count)
    except (OSError, OverflowError):
        return False
    kinds = [struct.unpack_from("<I", table, place)[0] for place in range(0, len(table) - size + 1, size)]
    return bool(kinds) and _PT_INTERP not in kinds
