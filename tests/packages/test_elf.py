"""ELF files of the tests' own, whole, odd and broken."""

from __future__ import annotations

import random
import struct
import sys

import pytest

from corten.packages.elf import MACHINES, Elf, read_elf
from support.elf_files import AARCH64, X86_64, elf


def read(data: bytes) -> Elf | None:
    return read_elf(lambda offset, length: data[offset : offset + length])


def test_reads_what_a_library_needs() -> None:
    assert read(elf("libGL.so.1", "libc.so.6", soname="libmine.so.2", pad=5000)) == Elf(
        X86_64, "libmine.so.2", ("libGL.so.1", "libc.so.6")
    )
    assert read(elf(machine=AARCH64)) == Elf(AARCH64, None, ())


def test_reads_the_python_that_runs_here() -> None:
    with open(sys.executable, "rb") as file:
        found = read(file.read())
    assert found is not None
    assert found.machine in MACHINES.values()
    assert "libc.so.6" in found.needed
    assert not found.is_musl


def test_another_c_library_is_recognised() -> None:
    assert all(
        found is not None and found.is_musl
        for found in map(read, (elf("libc.musl-x86_64.so.1"), elf("libc.so")))
    )


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/lib/x.so", "a b.so", "\x1b[31m.so", "x" * 300, "", "-rf.so"]
)
def test_names_that_no_library_has_are_left_out(name: str) -> None:
    assert read(elf(name, "libz.so.1")) == Elf(X86_64, None, ("libz.so.1",))


def test_what_is_no_elf_file_of_64_bits_is_none() -> None:
    whole = elf("libGL.so.1")
    for data in (b"", b"\x7fELF", b"#!/bin/sh\n", whole[:63], whole[:100], whole[:4] + b"\x01" + whole[5:]):
        assert read(data) is None, data[:8]


def test_hostile_files_end_soon_and_raise_nothing() -> None:
    """Every byte of the headers and tables set to extremes, and noise; what is read stays small."""
    whole = elf("libGL.so.1", "libX11.so.6", soname="libmine.so")
    random_ = random.Random(7)
    asked = 0

    def reader(data: bytes, offset: int, length: int) -> bytes:
        nonlocal asked
        asked = max(asked, length)
        return data[offset : offset + length] if offset >= 0 else b""

    for place in range(4, len(whole)):
        for value in (b"\0", b"\x7f", b"\x80", b"\xff"):
            data = whole[:place] + value + whole[place + 1 :]
            read_elf(lambda offset, length, data=data: reader(data, offset, length))  # type: ignore[misc]
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(random_.randrange(1, 12)):
            struct.pack_into("<Q", data, random_.randrange(16, len(data) - 8), random_.getrandbits(64))
        read_elf(lambda offset, length, data=bytes(data): reader(data, offset, length))  # type: ignore[misc]
    assert asked <= 1 << 18


def test_many_entries_and_programs_are_bounded() -> None:
    many = elf(*(f"lib{number}.so" for number in range(2000)))
    found = read(many)
    assert found is not None
    assert len(found.needed) == 512
    head = bytearray(elf("libGL.so.1"))
    struct.pack_into("<H", head, 56, 60000)
    assert read(bytes(head)) is None
