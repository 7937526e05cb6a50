"""Wheels and lists of files that want to mislead or exhaust whoever looks for shared libraries in them."""

from __future__ import annotations

import random
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from corten.errors import FormatError
from corten.oci.bound import Bound
from corten.packages.debian.contents import prepare
from corten.packages.files import Wheel
from corten.packages.libraries import Libraries, libraries_of, of_tree, of_wheel
from corten.store.store import Store
from support.elf_files import AARCH64, elf
from support.wheels import make_wheel

TAG = "py3-none-manylinux_2_17_x86_64"


def looked(tmp_path: Path, files: dict[str, bytes]) -> Libraries:
    wheel = make_wheel(tmp_path / "pool", "hostile", files=dict(files), tag=TAG)
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    found = of_wheel(tmp_path / "pool" / wheel.file, "amd64", work)
    assert not list(work.iterdir())
    return found


def test_a_wheel_leaves_nothing_behind_and_no_path_of_it_is_opened(tmp_path: Path) -> None:
    """Members that would leave the folder are read, and never written. The host's own file is not looked at."""
    (tmp_path / "victim.so").write_bytes(elf("libvictim.so.1"))
    found = looked(tmp_path, {"../victim.so": elf("libGL.so.1"), "/etc/x.so": elf("libX11.so.6")})
    assert set(found.needs) == {"libGL.so.1", "libX11.so.6"}
    assert (tmp_path / "victim.so").read_bytes() == elf("libvictim.so.1")


def test_libraries_of_another_machine_or_c_library_do_not_count(tmp_path: Path) -> None:
    found = looked(
        tmp_path,
        {
            "a/libarm.so.1": elf("libneon.so.1", machine=AARCH64),
            "a/libmusl.so.1": elf("libc.musl-x86_64.so.1", "libonly.so.1"),
            "a/libtext.so.1": b"INPUT(-lGL)",
            "a/ok.so": elf("libGL.so.1"),
        },
    )
    assert found == Libraries(frozenset({"ok.so"}), {"libGL.so.1": "a/ok.so"})


@pytest.mark.parametrize("layout", ["end", "middle", "beginning"])
def test_large_libraries_are_read_wherever_their_tables_lie(tmp_path: Path, layout: str) -> None:
    """In one pass where beginning and end have everything, else through a file; the memory that it takes is bounded."""
    before, after = {"end": (66, 0), "middle": (30, 36), "beginning": (0, 66)}[layout]
    data = elf("libGL.so.1", "libX11.so.6", soname="liblarge.so.1", pad=before << 20) + bytes(after << 20)
    found = looked(tmp_path, {"x/large.so": data})
    assert found.brings == {"large.so", "liblarge.so.1"}
    assert list(found.needs) == ["libGL.so.1", "libX11.so.6"]


def test_a_wheel_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "bomb", files={"x/bomb.so": elf("libGL.so.1") + b"\0" * (4 << 20)}, tag=TAG)
    with pytest.raises(FormatError, match="decompression bomb"):
        of_wheel(tmp_path / wheel.file, "amd64", tmp_path, Bound(1 << 30, 1 << 20, 100))


def test_a_damaged_wheel_gives_an_error_in_words_or_a_part_of_the_truth(tmp_path: Path) -> None:
    """Whatever bytes are spoiled, in the members and in the table of contents."""
    files = {"x/broken.so": elf("libGL.so.1", pad=3000), "x/plain.py": b"x = 1\n"}
    whole = make_wheel(tmp_path, "broken", files=files, tag=TAG)
    path = tmp_path / whole.file
    data = path.read_bytes()
    random_ = random.Random(11)
    refused = 0
    for _ in range(400):
        spoiled = bytearray(data)
        for _ in range(random_.randrange(1, 4)):
            spoiled[random_.randrange(len(spoiled))] = random_.choice((0, 1, 0x7F, 0x80, 0xFF))
        path.write_bytes(spoiled)
        with suppress(FormatError):
            assert set(of_wheel(path, "amd64", tmp_path).needs) <= {"libGL.so.1"}
            continue
        refused += 1
    assert refused


def test_an_encrypted_or_unknown_member_is_said(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "odd", files={"x/odd.so": elf("libGL.so.1")}, tag=TAG)
    path = tmp_path / wheel.file
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    struct.pack_into("<H", data, start + 8, 1)  # "encrypted"
    path.write_bytes(data)
    with pytest.raises(FormatError, match="is damaged"):
        of_wheel(path, "amd64", tmp_path)


def test_an_unpacked_tree_is_read_without_following_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "libhost.so").write_bytes(elf("libhostonly.so.1"))
    root = tmp_path / "tree"
    root.mkdir()
    (root / "link.so").symlink_to(outside / "libhost.so")
    (root / "folder").symlink_to(outside)
    (root / "mine.so").write_bytes(elf("libGL.so.1"))
    assert of_tree(root, "amd64") == Libraries(frozenset({"mine.so"}), {"libGL.so.1": "mine.so"})


def test_what_is_kept_of_a_wheel_is_looked_at_again_when_it_is_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    wheel: Wheel = make_wheel(tmp_path, "kept", files={"x/kept.so": elf("libGL.so.1")}, tag=TAG)
    places = {wheel.sha256: tmp_path / wheel.file}
    first = libraries_of(store, places, [wheel], "amd64")
    (kept,) = (tmp_path / "store" / "caches" / "libraries").iterdir()
    for data in (b"", b"[]", b'{"format": 2}', b'{"format": 2, "brings": 3, "needs": []}', b"\xff"):
        kept.write_bytes(data)
        assert libraries_of(store, places, [wheel], "amd64") == first
    assert libraries_of(store, {}, [wheel], "amd64") == first  # the wheel itself is not needed any more


def test_lines_of_a_list_of_files_name_packages_or_nothing(tmp_path: Path) -> None:
    place = "usr/lib/x86_64-linux-gnu"
    lines = [
        f"{place}/liba.so.1 libs/../../evil",
        f"{place}/libb.so.1 libs/evil;rm",
        f"{place}/libc.so.1 libs/-option",
        f"{place}/libd.so.1 libs/ok,libs/\x1b[31m",
        f"{place}/" + "x" * 300 + ".so libs/long",
    ]
    (tmp_path / "Contents").write_text("\n".join(lines) + "\n")
    assert prepare(tmp_path / "Contents", "", "amd64") == b"liba.so.1 evil\nlibd.so.1 ok\n"
