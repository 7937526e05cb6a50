"""`/etc/ld.so.cache`, written as ldconfig would write it, without running anything.

The form is glibc's `glibc-ld.so.cache1.1` (sysdeps/generic/dl-cache.h), its only one since 2.32. What goes in follows
ldconfig(8): the directories of ld.so.conf and the trusted ones; files called `lib*.so*` or `ld-*.so*`, by their DT_SONAME;
a soname's link is made where a package forgot it. Left out: directories for processor levels (glibc-hwcaps).
"""

from __future__ import annotations

import fnmatch
import functools
import struct
from collections.abc import Iterator
from pathlib import Path

from corten.packages.debian.tree import Tree
from corten.values import dataclass

CACHE = "etc/ld.so.cache"

_MAGIC = b"glibc-ld.so.cache1.1"
_LITTLE_ENDIAN = 2
_FLAGS = {62: 0x0303, 183: 0x0A03}  # ELF machine → FLAG_ELF_LIBC6 | FLAG_X8664_LIB64, FLAG_AARCH64_LIB64
_TRIPLETS = {62: "x86_64-linux-gnu", 183: "aarch64-linux-gnu"}
_MOST_SEGMENTS = 256
_LARGEST_TABLE = 1 << 20
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Library:
    """A shared object: the ELF machine it is for and its soname, if it has one."""

    machine: int
    soname: str | None


def write_cache(tree: Tree) -> None:
    """Write the cache for all libraries of `tree` and what lies below it."""
    entries: list[tuple[str, str, int]] = []
    seen: set[str] = set()
    for directory in _directories(tree):
        resolved = tree.resolved(directory)
        if resolved is None or resolved in seen:
            continue
        seen.add(resolved)
        entries += _libraries(tree, directory)
    tree.write(CACHE, encode(entries))


def encode(entries: list[tuple[str, str, int]]) -> bytes:
    """The cache that says where each (soname, path, flags) is. The loader searches it by halving, so entries descend in
    its own order; equal ones stay as given, and the first wins."""
    ordered = sorted(entries, key=lambda entry: (_SONAME_ORDER(entry[0]), entry[2]), reverse=True)
    # `sorted` in reverse keeps equal entries in their given order.
    header = 48
    table = bytearray()
    base = header + 24 * len(ordered)
    records = []
    for soname, path, flags in ordered:
        key = base + len(table)
        table += soname.encode() + b"\0"
        value = base + len(table)
        table += path.encode() + b"\0"
        records.append(struct.pack("<iIIIQ", flags, key, value, 0, 0))
    head = _MAGIC + struct.pack("<IIB3xI3I", len(ordered), len(table), _LITTLE_ENDIAN, 0, 0, 0, 0)
    return head + b"".join(records) + bytes(table)


def compare_sonames(left: str, right: str) -> int:
    """glibc's `_dl_cache_libcmp`: runs of digits compare as numbers, and a digit comes after anything else."""
    i = j = 0
    while i < len(left):
        a, b = left[i], right[j] if j < len(right) else "\0"
        if a.isdigit():
            if not b.isdigit():
                return 1
            x = y = 0
            while i < len(left) and left[i].isdigit():
                x, i = x * 10 + int(left[i]), i + 1
            while j < len(right) and right[j].isdigit():
                y, j = y * 10 + int(right[j]), j + 1
            if x != y:
                return x - y
        elif b.isdigit():
            return -1
        elif a != b:
            return ord(a) - ord(b)
        else:
            i, j = i + 1, j + 1
    return -1 if j < len(right) else 0


_SONAME_ORDER = functools.cmp_to_key(compare_sonames)


def _directories(tree: Tree) -> Iterator[str]:
    """The directories of ld.so.conf with what it includes, then the trusted ones, as written."""
    yield from _configured(tree, "/etc/ld.so.conf", 0)
    for triplet in _TRIPLETS.values():
        yield f"/lib/{triplet}"
        yield f"/usr/lib/{triplet}"
    yield from ("/lib", "/usr/lib")


def _configured(tree: Tree, path: str, depth: int) -> Iterator[str]:
    data = tree.read(path)
    if data is None or depth > _DEPTH:
        return
    for line in data.decode("utf-8", "replace").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("include") and text[7:8].isspace():
            for pattern in text.split()[1:]:
                pattern = pattern if pattern.startswith("/") else f"{path.rpartition('/')[0]}/{pattern}"
                folder, _, names = pattern.rpartition("/")
                for name in tree.listing(folder):
                    if fnmatch.fnmatchcase(name, names):
                        yield from _configured(tree, f"{folder}/{name}", depth + 1)
        elif text.startswith("/"):
            yield text.split("=")[0].rstrip().rstrip("/")


def _libraries(tree: Tree, directory: str) -> list[tuple[str, str, int]]:
    """What ldconfig's search_dir() finds in one directory: each soname once, a real file before a link, then the
    later name in the loader's order."""
    found: dict[str, tuple[bool, str, int]] = {}
    for name in tree.listing(directory):
        if (
            not name.startswith(("lib", "ld-"))
            or ".so" not in name
            or name.endswith(".py")
            or not name.isascii()
        ):
            continue
        file = tree.open(f"{directory}/{name}")
        library = read_library(file) if file is not None else None
        if library is None or library.machine not in _FLAGS:
            continue
        soname = library.soname or name
        is_link = tree.kind(f"{directory}/{name}") == "symlink"
        if is_link and name != soname and not (name.endswith(".so") and soname.startswith(name)):
            is_link = False  # neither the soname nor its name for the linker: it counts as a file
        if is_link:
            soname = name
        known = found.get(soname)
        better = known is None or (known[0] and not is_link)
        if known is not None and known[0] == is_link:
            better = compare_sonames(known[1], name) < 0
        if better:
            found[soname] = (is_link, name, _FLAGS[library.machine])
    for soname, (is_link, name, _) in found.items():
        if (
            not is_link
            and name != soname
            and "/" not in soname
            and tree.kind(f"{directory}/{soname}") is None
        ):
            tree.link(f"{directory}/{soname}", name)
    return [
        (soname, f"{directory}/{soname}", flags)
        for soname, (_, _, flags) in found.items()
        if "/" not in soname
    ]


def read_library(path: Path | int) -> Library | None:
    """The shared object at `path`, or in a descriptor, which is closed; None for anything else. Reads only headers and the
    dynamic section (elf(5))."""
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            if len(head) < 64 or head[:7] != b"\x7fELF\x02\x01\x01":
                return None
            kind, machine = struct.unpack_from("<HH", head, 16)
            (offset,) = struct.unpack_from("<Q", head, 32)
            size, count = struct.unpack_from("<HH", head, 54)
            if kind != 3 or size != 56 or not 0 < count <= _MOST_SEGMENTS:
                return None
            file.seek(offset)
            segments = [struct.unpack("<IIQQQQQQ", file.read(56)) for _ in range(count)]
            dynamic = next((item for item in segments if item[0] == 2), None)
            if dynamic is None:
                return None
            file.seek(dynamic[2])
            section = file.read(min(dynamic[5], _LARGEST_TABLE))
            tags = dict(struct.iter_unpack("<qQ", section[: len(section) // 16 * 16]))
            if 14 not in tags or 5 not in tags:  # DT_SONAME, DT_STRTAB
                return Library(machine, None)
            load = next((s for s in segments if s[0] == 1 and s[3] <= tags[5] < s[3] + s[5]), None)
            if load is None:
                return None
            file.seek(tags[5] - load[3] + load[2] + tags[14])
            name = file.read(256).partition(b"\0")[0].decode("ascii")
            return Library(machine, name or None) if name.isprintable() else None
    except (OSError, ValueError, OverflowError, struct.error):
        return None
