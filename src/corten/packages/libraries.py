"""The shared libraries of wheels: which ones a wheel's ELF files bring, and which they need. Nothing is loaded or run.

A wheel's answer depends on its bytes alone, so the store keeps it by the wheel's sha256:

    caches/libraries/<sha256>-<architecture>.json
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import IO

from corten.errors import FormatError
from corten.lazy import regex
from corten.oci.bound import WHEEL, Bound
from corten.oci.inside import Inside
from corten.oci.zipped import DAMAGED, Guarded
from corten.packages.elf import MACHINES, MAGIC, Elf, Reader, dynamic_place, read_elf
from corten.packages.files import Wheel
from corten.packages.known_libraries import is_optional
from corten.store.disk import write_atomically
from corten.store.store import Store
from corten.values import dataclass

_FORMAT = 2
_LIBRARY = regex(r"\.so(\.[A-Za-z0-9_.+-]*)?$")
_IN_MEMORY = 64 << 20
_KEPT = 24 << 20
_PIECE = 1 << 20
_MOST_KEPT = 4 << 20


@dataclass(frozen=True, slots=True)
class Libraries:
    """What the ELF files of one wheel or tree bring and need. `needs` maps a library to the first file that needs it,
    and to an optional plug-in only where nothing else does."""

    brings: frozenset[str]
    needs: Mapping[str, str]


NONE = Libraries(frozenset(), {})


def is_native(wheel: Wheel) -> bool:
    """Whether the wheel is made for one kind of machine. Others have no file that a loader reads."""
    return not wheel.file.endswith("-any.whl")


def is_known(store: Store, wheel: Wheel, architecture: str) -> bool:
    """Whether `libraries_of` needs no file of `wheel` any more."""
    return _kept(_place(store, wheel, architecture)) is not None


def _place(store: Store, wheel: Wheel, architecture: str) -> Path:
    return store.cache_directory("libraries") / f"{wheel.sha256}-{architecture}.json"


def libraries_of(
    store: Store, places: Mapping[str, Path], wheels: Sequence[Wheel], architecture: str
) -> dict[str, Libraries]:
    """The libraries of every one of `wheels` by its name; `places` has their files by sha256. A wheel that was looked at before is not
    opened. Raises FormatError for one that is damaged, StoreError."""

    def one(wheel: Wheel) -> Libraries:
        path = _place(store, wheel, architecture)
        known = _kept(path)
        if known is None:
            with store.temporary_directory("libraries") as work:
                known = of_wheel(places[wheel.sha256], architecture, work, store.unpacking.wheel)
            write_atomically(path, _encoded(known))
        return known

    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        return {wheel.name: found for wheel, found in zip(wheels, pool.map(one, wheels), strict=True)}


def of_wheel(wheel: Path, architecture: str, work: Path, bound: Bound = WHEEL) -> Libraries:
    """The libraries of a wheel's file for `architecture`. A large member is unpacked into the directory `work` for a moment. Raises
    FormatError."""
    try:
        with Guarded(wheel) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            bound.check_entries(len(members), f"the wheel '{wheel.name}'")
            total = sum(member.file_size for member in members)
            bound.check(total, wheel.stat().st_size, f"the wheel '{wheel.name}'")
            return _gathered(_in_archive(archive, members, work), architecture)
    except DAMAGED as error:
        raise FormatError(f"the wheel '{wheel.name}' is damaged: it cannot be unpacked") from error
    except OSError as error:
        raise FormatError(
            f"'{wheel}' cannot be read: {(error.strerror or str(error)).lower()}",
            hint="see that it may be read and that the disk is not full",
        ) from error


def of_tree(root: Path, architecture: str) -> Libraries:
    """The libraries of an unpacked tree. Links are not followed."""
    with Inside(root) as inside:
        return _gathered(_in_tree(inside), architecture)


def _gathered(files: Iterable[tuple[str, Elf]], architecture: str) -> Libraries:
    machine = MACHINES[architecture]
    brings: set[str] = set()
    needs: dict[str, str] = {}
    for path, elf in files:
        if elf.machine != machine or elf.is_musl:
            continue
        brings.add(path.rpartition("/")[2])
        if elf.soname is not None:
            brings.add(elf.soname)
        for name in elf.needed:
            if name not in needs or (is_optional(needs[name]) and not is_optional(path)):
                needs[name] = path
    return Libraries(frozenset(brings), needs)


def _is_candidate(path: str, mode: int) -> bool:
    name = path.rpartition("/")[2]
    return bool(_LIBRARY.search(name)) or ("." not in name and bool(mode & 0o111))


def _in_archive(
    archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], work: Path
) -> Iterator[tuple[str, Elf]]:
    # Files outside a folder `NAME.libs` come first: the name of a package says more than that of its folder of libraries.
    for member in sorted(members, key=lambda item: (".libs/" in item.filename, item.filename)):
        if member.filename.endswith("/") or not _is_candidate(member.filename, member.external_attr >> 16):
            continue
        found: Elf | _Elsewhere | None
        with archive.open(member) as stream:
            start = stream.read(len(MAGIC))
            if start != MAGIC:
                continue
            if member.file_size <= _IN_MEMORY:
                found = read_elf(_of_bytes(start + stream.read(_IN_MEMORY)))
            else:
                found = _in_one_pass(start, stream)
        if isinstance(found, _Elsewhere):
            with archive.open(member) as stream, tempfile.TemporaryFile(dir=work) as file:
                while piece := stream.read(_PIECE):
                    file.write(piece)
                file.flush()
                found = read_elf(_of_file(file.fileno()))
        if found is not None:
            yield member.filename, found


class _Elsewhere(Exception):
    """What is to be read lies in a part of a file that was not kept."""


def _in_one_pass(start: bytes, stream: IO[bytes]) -> Elf | _Elsewhere | None:
    """A large file, of which the beginning, the end and the dynamic table are kept in memory: names lie in one of those, but for files
    that somebody has laid out in another way."""
    beginning = start + stream.read(_KEPT - len(start))
    place = dynamic_place(_of_bytes(beginning)) or (0, 0)
    parts: list[tuple[int, bytes]] = []  # of the dynamic table
    end: deque[bytes] = deque()
    position, kept = len(beginning), 0
    while piece := stream.read(_PIECE):
        low, high = max(place[0] - position, 0), place[0] + place[1] - position
        if low < len(piece) and high > 0:
            parts.append((position + low, piece[low:high]))
        position += len(piece)
        end.append(piece)
        kept += len(piece)
        while kept - len(end[0]) >= _KEPT:
            kept -= len(end.popleft())
    table = (parts[0][0], b"".join(part for _, part in parts)) if parts else (0, b"")
    windows = [(0, beginning), table, (position - kept, b"".join(end))]

    def read(offset: int, length: int) -> bytes:
        for at, data in windows:
            if at <= offset and (offset + length <= at + len(data) or at + len(data) == position):
                return data[offset - at : offset - at + length]
        raise _Elsewhere

    try:
        return read_elf(read)
    except _Elsewhere as error:
        return error


def _in_tree(inside: Inside) -> Iterator[tuple[str, Elf]]:
    for folder, folders, files in inside.walk(""):
        folders.sort(key=lambda name: name.endswith(".libs"))
        for name in sorted(files):
            if not (_LIBRARY.search(name) or "." not in name):
                continue
            path = f"{folder}/{name}" if folder else name
            try:
                descriptor = inside.open(path)
            except OSError:
                continue
            try:
                elf = read_elf(_of_file(descriptor))
            finally:
                os.close(descriptor)
            if elf is not None:
                yield path, elf


def _of_bytes(data: bytes) -> Reader:
    return lambda offset, length: data[offset : offset + length]


def _of_file(descriptor: int) -> Reader:
    def read(offset: int, length: int) -> bytes:
        try:
            return os.pread(descriptor, length, offset)
        except (OSError, OverflowError):
            return b""

    return read


def _kept(path: Path) -> Libraries | None:
    try:
        with closing(path.open("rb")) as file:
            return _decoded(file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _decoded(file: IO[bytes]) -> Libraries | None:
    document = json.loads(file.read(_MOST_KEPT))
    if document["format"] != _FORMAT:
        return None
    needs = {str(name): str(path) for name, path in document["needs"].items()}
    return Libraries(frozenset(map(str, document["brings"])), needs)


def _encoded(found: Libraries) -> bytes:
    document = {"format": _FORMAT, "brings": sorted(found.brings), "needs": dict(found.needs)}
    return json.dumps(document, sort_keys=False).encode()
