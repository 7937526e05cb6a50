"""What git tracks, from its index (gitformat-index(5), versions 2 to 4). git itself is not run: a project's own
configuration could have it start programs."""

from __future__ import annotations

import os
import re
import stat
import struct

_MOST_BYTES = 256 << 20
_FIXED = 40
"""Bytes of an entry before its object's name: times, device, inode, mode, owner, size."""
_EXTENDED = 0x4000


class UnreadableIndex(Exception):
    """The index is damaged, too large, or of a form that is not known."""


def tracked(git_directory: str, common_directory: str) -> list[str]:
    """The paths of all tracked files, from the repository's folder; none where nothing was ever added. `git_directory` is the
    working tree's own, `common_directory` has the configuration. Raises UnreadableIndex."""
    data = _read(f"{git_directory}/index")
    if data is None:
        return []
    size = 32 if _has_sha256(common_directory) else 20
    try:
        names, end = _entries(data, size)
        shared = _shared(data, end, size)
        if shared is not None:
            base = _read(f"{git_directory}/sharedindex.{shared}")
            # Some of them may have been removed meanwhile: those are not there to be found either.
            names += _entries(base, size)[0] if base is not None else []
    except (struct.error, IndexError, ValueError) as error:
        raise UnreadableIndex(str(error)) from error
    return [os.fsdecode(name) for name in names if name]


def _read(path: str) -> bytes | None:
    try:
        # A pipe in its place must not be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableIndex("it is no file")
            data = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise UnreadableIndex(str(error)) from error
    if len(data) > _MOST_BYTES:
        raise UnreadableIndex("it is too large")
    return data


def _has_sha256(common_directory: str) -> bool:
    data = _read(f"{common_directory}/config") or b""
    return re.search(rb"(?im)^\s*objectformat\s*=\s*\"?sha256", data) is not None


def _entries(data: bytes, size: int) -> tuple[list[bytes], int]:
    """The names of an index, and where its extensions begin."""
    magic, version, count = struct.unpack_from(">4sII", data)
    if magic != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("it is no index of a known version")
    names: list[bytes] = []
    place, before = 12, b""
    for _ in range(count):
        start = place
        place += _FIXED + size
        (flags,) = struct.unpack_from(">H", data, place)
        place += 4 if flags & _EXTENDED else 2
        kept = b""
        if version == 4:
            dropped, place = _number(data, place)
            kept = before[: len(before) - dropped]
        end = data.index(b"\0", place)
        before = kept + data[place:end]
        names.append(before)
        # Up to version 3, an entry ends with 1 to 8 zeros, at a multiple of 8 bytes.
        place = end + 1 if version == 4 else start + ((end - start) // 8 + 1) * 8
    return names, place


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number of variable width (pack-format, "offset encoding"), and where it ends."""
    byte = data[place]
    value = byte & 0x7F
    while byte & 0x80:
        place += 1
        byte = data[place]
        value = ((value + 1) << 7) | (byte & 0x7F)
    return value, place + 1


def _shared(data: bytes, place: int, size: int) -> str | None:
    """The name of the index that this one continues (`core.splitIndex`)."""
    while place + 8 <= len(data) - size:
        kind, length = struct.unpack_from(">4sI", data, place)
        if kind == b"link":
            return data[place + 8 : place + 8 + size].hex()
        place += 8 + length
    return None
