"""A wheel that a build hands over is any bytes: it is read on the host within bounds."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.build.wheel_contents import differing, marks, named_in
from corten.errors import BuildError, ProjectError
from corten.lock.referenced import _references_in
from corten.packages.sources import Source
from corten.packages.wheel_modules import modules_of

FILE = "demo-1.0-py3-none-any.whl"
METADATA = "demo-1.0.dist-info/METADATA"
SOURCE = Source("demo", "1.0", "0" * 64, Path("demo-1.0.tar.gz"))
CENTRAL = "<4s6H3L5H2L"


def table(count: int, version: int = 20) -> bytes:
    """An archive that is `count` entries of a table of contents."""
    entry = struct.pack(CENTRAL, b"PK\1\2", version, version, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    entries = (entry + b"x") * count
    return entries + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, len(entries), 0, 0)


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def wheel_with(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(METADATA, text)
    return path


def test_the_table_of_contents_of_a_built_wheel_does_not_fill_the_memory(tmp_path: Path) -> None:
    data = table(380_000)

    def read() -> None:
        with pytest.raises(BuildError, match="produced a damaged wheel"):
            named_in(SOURCE, FILE, data)
        assert differing(data, data) == "the archive's order or times"
        assert marks(data) == ""

    assert peak(read) < 8 << 20


def test_the_table_of_contents_of_any_wheel_has_a_bound(tmp_path: Path) -> None:
    """A file that is nearly all holes: nothing of it is read."""
    path = tmp_path / FILE
    with path.open("wb") as file:
        file.truncate(65 << 20)
        file.seek(65 << 20)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 65 << 20, 0, 0))
    assert peak(lambda: modules_of(path)) < 8 << 20


@pytest.mark.parametrize("data", [b"", b"PK", table(1, version=64), table(2)[:60]])
def test_two_wheels_of_which_one_is_damaged_are_compared(data: bytes) -> None:
    assert differing(data, table(1)) == "x"
    assert marks(data) == ""
    with pytest.raises(BuildError, match="produced a damaged wheel"):
        named_in(SOURCE, FILE, data)


def test_metadata_unpacks_to_no_more_than_it_says(tmp_path: Path) -> None:
    """30 kB that say that they are 100 bytes, and are 30 MB."""
    path = wheel_with(tmp_path / FILE, "Name: x\n" * 4_000_000)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<L", 100)
    path.write_bytes(data)

    def read() -> None:
        with pytest.raises(ProjectError, match="is damaged"):
            _references_in(path)

    assert peak(read) < 8 << 20


@pytest.mark.parametrize("damage", ["packing", "password", "cut", "method"])
def test_metadata_that_cannot_be_unpacked_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = wheel_with(tmp_path / FILE, "Name: demo\n" * 100)
    data = bytearray(path.read_bytes())
    at, begin = data.rindex(b"PK\1\2"), 30 + len(METADATA)
    if damage == "packing":
        data[begin : begin + 4] = b"\xff" * 4
    elif damage == "password":
        data[at + 8] |= 1
    elif damage == "cut":
        data[at + 20 : at + 24] = struct.pack("<L", 3)
    else:
        data[at + 10 : at + 12] = data[8:10] = struct.pack("<H", 99)
    path.write_bytes(data)
    with pytest.raises(ProjectError, match=f"the wheel '{FILE}' is damaged") as caught:
        _references_in(path)
    assert caught.value.hint
