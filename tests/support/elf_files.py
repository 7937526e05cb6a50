"""Small ELF files, written byte by byte: what a linker says of the libraries that a file needs, and no code."""

from __future__ import annotations

import struct

X86_64, AARCH64 = 62, 183


def elf(*needed: str, soname: str | None = None, machine: int = X86_64, pad: int = 0) -> bytes:
    """A shared library that needs `needed`. `pad` bytes lie before its tables."""
    strings = b"\0"
    entries = []
    for tag, name in [*((1, name) for name in needed), *([(14, soname)] if soname else [])]:
        entries.append((tag, len(strings)))
        strings += name.encode() + b"\0"
    start = 64 + 2 * 56 + pad
    address = 0x10000
    entries += [(5, address + start), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    size = start + len(strings) + len(dynamic)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, address, address, size, size, 4096)
    at = start + len(strings)
    table = struct.pack("<IIQQQQQQ", 2, 4, at, address + at, address + at, len(dynamic), len(dynamic), 8)
    return head + load + table + b"\0" * pad + strings + dynamic
