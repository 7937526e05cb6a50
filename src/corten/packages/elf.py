"""What an ELF file says of the shared libraries that it needs (System V ABI, "Dynamic Linking"): read from its program headers.

The file is hostile. Every offset, size and count in it is checked against a bound before it is used, nothing is followed
twice, and what makes no sense is no ELF file: the answer is None, never an exception.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from corten.lazy import regex
from corten.values import dataclass

MAGIC = b"\x7fELF"
MACHINES = {"amd64": 62, "arm64": 183}
"""The number of an architecture in an ELF header (EM_X86_64, EM_AARCH64)."""

Reader = Callable[[int, int], bytes]
"""(offset, length) → the bytes there; fewer at the end of the file."""

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<qQ")
_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRTAB, _STRSZ, _SONAME = 1, 5, 10, 14
_MOST_PROGRAMS = 256
_MOST_ENTRIES = 1 << 14
_MOST_NEEDED = 512
_LONGEST = 255
_NAME = regex(r"[A-Za-z0-9_][A-Za-z0-9_.+@~-]{0,254}")


@dataclass(frozen=True, slots=True)
class Elf:
    """A 64-bit little-endian ELF file: its machine's number, its own name where it has one, and the names that it needs."""

    machine: int
    soname: str | None
    needed: tuple[str, ...]

    @property
    def is_musl(self) -> bool:
        """Whether it was made for another C library than glibc: it is never loaded in Debian's Python."""
        return any(name == "libc.so" or name.startswith(("libc.musl-", "ld-musl-")) for name in self.needed)


def read_elf(read: Reader) -> Elf | None:
    """What the file behind `read` needs; None for what is no 64-bit little-endian ELF file that makes sense."""
    try:
        return _read(read)
    except (struct.error, OverflowError):
        return None


def dynamic_place(read: Reader) -> tuple[int, int] | None:
    """Offset and length of the table that says what is needed; None where there is none. Raises nothing."""
    try:
        found = _programs(read)
    except (struct.error, OverflowError):
        return None
    return found[2] if found is not None else None


def _programs(read: Reader) -> tuple[int, list[tuple[int, int, int]], tuple[int, int] | None] | None:
    """The machine, what is loaded (address, length, offset), and the place of the dynamic table."""
    header = read(0, _HEADER.size)
    if len(header) < _HEADER.size or header[:4] != MAGIC or header[4:6] != b"\x02\x01":
        return None
    _, _, machine, _, _, offset, _, _, _, size, count, *_ = _HEADER.unpack(header)
    if not count:
        return machine, [], None
    if size != _PROGRAM.size or count > _MOST_PROGRAMS:
        return None
    loads: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    for kind, _, at, address, _, length, _, _ in _PROGRAM.iter_unpack(_exactly(read, offset, size * count)):
        if kind == _LOAD:
            loads.append((address, length, at))
        elif kind == _DYNAMIC:
            dynamic = at, length
    if dynamic is not None:
        dynamic = dynamic[0], min(dynamic[1], _MOST_ENTRIES * _ENTRY.size) // _ENTRY.size * _ENTRY.size
    return machine, loads, dynamic


def _read(read: Reader) -> Elf | None:
    found = _programs(read)
    if found is None:
        return None
    machine, loads, dynamic = found
    if dynamic is None:  # a static program, or an object file
        return Elf(machine, None, ())
    needed: list[int] = []
    soname: int | None = None
    table = strings = 0
    for tag, value in _ENTRY.iter_unpack(_exactly(read, *dynamic)):
        if tag == 0:
            break
        if tag == _NEEDED and len(needed) < _MOST_NEEDED:
            needed.append(value)
        elif tag == _STRTAB:
            table = value
        elif tag == _STRSZ:
            strings = value
        elif tag == _SONAME:
            soname = value
    place = next(
        (table - address + at for address, length, at in loads if address <= table < address + length), None
    )
    if place is None:
        return Elf(machine, None, ()) if not needed else None

    def name(index: int) -> str | None:
        if not 0 <= index < strings:
            return None
        raw, end, _ = read(place + index, min(_LONGEST + 1, strings - index)).partition(b"\0")
        text = raw.decode("ascii", "replace")
        return text if end and _NAME.fullmatch(text) else None

    names = (name(index) for index in needed)
    own = name(soname) if soname is not None else None
    return Elf(machine, own, tuple(dict.fromkeys(text for text in names if text is not None)))


def _exactly(read: Reader, offset: int, length: int) -> bytes:
    data = read(offset, length)
    if len(data) != length:
        raise struct.error("the file is cut")
    return data
