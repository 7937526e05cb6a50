"""When the project was last committed: the date of HEAD's commit, from git's objects (gitformat-pack(5)). git itself is not
run, as in `git_index.py`. What cannot be read has no date: nothing depends on it but how new packages may be.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from corten.lazy import regex
from corten.project.ignoring import git_directories
from corten.project.regular import open_regular

_USUAL = {
    "3.9": "2021-04-01",
    "3.10": "2022-04-01",
    "3.11": "2023-04-01",
    "3.12": "2024-04-01",
    "3.13": "2025-04-01",
    "3.14": "2026-04-01",
}
"""Half a year after each Python's release."""
_MOST_BYTES = 1 << 20
_MOST_REFS = 4 << 20
_MOST_PACKS = 200
_DEEPEST = 50
_HASH = regex(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_COMMITTER = regex(rb"^committer [^\n]*> (\d{1,12}) [+-]\d{4}$", re.MULTILINE)
_COMMIT, _OFFSET_DELTA, _NAMED_DELTA = 1, 6, 7


def last_commit(root: str) -> str | None:
    """The day (UTC, `2023-04-05`) of the commit that the repository around `root` has checked out. None where there is no
    repository, no commit, or one that cannot be read."""
    folder = os.path.realpath(root)
    while not os.path.lexists(f"{folder}/.git"):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    own, common = git_directories(folder)
    with suppress(OSError, ValueError, IndexError, struct.error, zlib.error):
        name = _head(own, common)
        data = _object(common, name) if name else None
        match = _COMMITTER.search(data.partition(b"\n\n")[0]) if data else None
        if match is not None:
            return _day(int(match[1]))
    return None


def newest_fitting(day: str, python: str) -> str:
    """`day`, or the first one on which packages for the Python `python` (`3.11`) were usual, where that is later: before it,
    few have a wheel for it."""
    return max(day, _USUAL.get(python, day))


def _day(seconds: int) -> str | None:
    from datetime import UTC, datetime

    if not 0 < seconds < 253_402_300_800:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _head(own: str, common: str) -> str | None:
    """The object's name of what HEAD stands for."""
    text = _read(f"{own}/HEAD", 4096)
    for _ in range(5):
        if _HASH.fullmatch(text):
            return text
        if not text.startswith("ref: "):
            return None
        name = text[5:].strip()
        if not name.startswith("refs/") or ".." in name or "\0" in name:
            return None
        try:
            text = _read(f"{common}/{name}", 4096)
        except OSError:
            return _packed_ref(common, name)
    return None


def _packed_ref(common: str, name: str) -> str | None:
    for line in _read(f"{common}/packed-refs", _MOST_REFS).splitlines():
        value, _, found = line.partition(" ")
        if found == name and _HASH.fullmatch(value):
            return value
    return None


def _read(path: str, most: int) -> str:
    with open_regular(path) as file:
        return os.fsdecode(file.read(most)).strip()


def _object(common: str, name: str) -> bytes | None:
    """The content of a commit, which lies by itself or in a pack."""
    try:
        with open_regular(f"{common}/objects/{name[:2]}/{name[2:]}") as file:
            data = zlib.decompressobj().decompress(file.read(_MOST_BYTES), _MOST_BYTES)
    except FileNotFoundError:
        return _packed(f"{common}/objects/pack", bytes.fromhex(name))
    head, _, body = data.partition(b"\0")
    return body if head.startswith(b"commit ") else None


def _packed(folder: str, name: bytes) -> bytes | None:
    for index in _packs(folder):
        place = _place(index, name)
        if place is None:
            continue
        with open_regular(index.removesuffix(".idx") + ".pack") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= place:
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pack:
                kind, data = _entry(pack, place, len(name), index, 0)
                return data if kind == _COMMIT else None
    return None


def _packs(folder: str) -> Iterator[str]:
    with os.scandir(folder) as listing:
        names = sorted(entry.name for entry in listing if entry.name.endswith(".idx"))
    yield from (f"{folder}/{name}" for name in names[:_MOST_PACKS])


def _place(index: str, name: bytes) -> int | None:
    """Where in its pack the object lies, by a version 2 index."""
    with open_regular(index) as file:
        if os.fstat(file.fileno()).st_size < 8 + 1024:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:8] != b"\xfftOc\x00\x00\x00\x02":
                return None
            first = name[0]
            low = struct.unpack_from(">I", data, 8 + 4 * (first - 1))[0] if first else 0
            high = struct.unpack_from(">I", data, 8 + 4 * first)[0]
            count = struct.unpack_from(">I", data, 8 + 1020)[0]
            names = 8 + 1024
            while low < high:
                middle = (low + high) // 2
                found = data[names + middle * len(name) : names + (middle + 1) * len(name)]
                if found == name:
                    offsets = names + count * (len(name) + 4)
                    (offset,) = struct.unpack_from(">I", data, offsets + 4 * middle)
                    if offset & 0x80000000:
                        large = offsets + 4 * count + 8 * (offset & 0x7FFFFFFF)
                        (offset,) = struct.unpack_from(">Q", data, large)
                    return int(offset)
                low, high = (middle + 1, high) if found < name else (low, middle)
    return None


def _entry(pack: mmap.mmap, place: int, size: int, index: str, depth: int) -> tuple[int, bytes]:
    """An object's kind and content; a delta is applied to what it changes. Raises ValueError."""
    if depth > _DEEPEST:
        raise ValueError("too many deltas")
    start = place
    byte = pack[place]
    place += 1
    kind = (byte >> 4) & 7
    while byte & 0x80:
        byte = pack[place]
        place += 1
    base: int | None = None
    if kind == _OFFSET_DELTA:
        byte = pack[place]
        place += 1
        back = byte & 0x7F
        while byte & 0x80:
            byte = pack[place]
            place += 1
            back = ((back + 1) << 7) | (byte & 0x7F)
        base = start - back
    elif kind == _NAMED_DELTA:
        base = _place(index, pack[place : place + size])
        place += size
    data = zlib.decompressobj().decompress(pack[place : place + _MOST_BYTES], _MOST_BYTES)
    if kind not in (_OFFSET_DELTA, _NAMED_DELTA):
        return kind, data
    if base is None or base < 0:
        raise ValueError("a delta of nothing")
    kind, before = _entry(pack, base, size, index, depth + 1)
    return kind, _applied(data, before)


def _applied(delta: bytes, before: bytes) -> bytes:
    """A delta's result (gitformat-pack(5), "Deltified representation")."""
    place = 0
    for _ in range(2):  # the sizes before and after
        while delta[place] & 0x80:
            place += 1
        place += 1
    parts: list[bytes] = []
    total = 0
    while place < len(delta):
        order = delta[place]
        place += 1
        if order & 0x80:
            numbers = []
            for bit in range(7):
                value = 0
                if order & (1 << bit):
                    value = delta[place]
                    place += 1
                numbers.append(value)
            offset = int.from_bytes(bytes(numbers[:4]), "little")
            length = int.from_bytes(bytes(numbers[4:]), "little") or 0x10000
            parts.append(before[offset : offset + length])
        elif order:
            parts.append(delta[place : place + order])
            place += order
        else:
            raise ValueError("a delta of an unknown form")
        total += len(parts[-1])
        if total > _MOST_BYTES:
            raise ValueError("a commit that is too large")
    return b"".join(parts)
