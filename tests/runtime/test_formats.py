"""What the kernel runs, by the beginning of a file."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from corten.runtime.formats import HEAD, is_unknown


def elf(machine: int, order: str = "<") -> bytes:
    return (
        b"\x7fELF\x02"
        + (b"\x01" if order == "<" else b"\x02")
        + bytes(10)
        + struct.pack(f"{order}HH", 2, machine)
    )


@pytest.mark.parametrize(
    ("head", "machine", "unknown"),
    [
        (b"", "x86_64", True),
        (b"echo hello\n", "x86_64", True),
        (b"#!/bin/sh\n", "x86_64", False),
        (elf(62), "x86_64", False),
        (elf(3), "x86_64", False),
        (elf(183), "x86_64", True),
        (elf(183), "aarch64", False),
        (elf(62), "aarch64", True),
        (elf(22, ">"), "x86_64", True),
        (b"\x7fELF", "x86_64", True),
        (b"echo hello\n", "riscv64", False),
    ],
)
def test_what_the_kernel_cannot_run(head: bytes, machine: str, unknown: bool, tmp_path: Path) -> None:
    assert is_unknown(head, machine, str(tmp_path)) is unknown


def test_where_more_formats_are_registered_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("enabled\n")
    assert is_unknown(b"MZ", "x86_64", str(tmp_path))
    (tmp_path / "WSLInterop").write_text("enabled\n")
    assert not is_unknown(b"MZ", "x86_64", str(tmp_path))


def test_this_machines_own_interpreter_is_known(tmp_path: Path) -> None:
    with open(sys.executable, "rb") as file:
        assert not is_unknown(file.read(HEAD), None, str(tmp_path))
