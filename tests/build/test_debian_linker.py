from __future__ import annotations

import glob
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.build.debian_linker import compare_sonames, encode, read_library, write_cache
from corten.packages.debian.tree import Tree
from support.properties import thorough

LDCONFIG = shutil.which("ldconfig") or "/sbin/ldconfig"


def host_libraries() -> Path:
    found = glob.glob("/usr/lib/*-linux-gnu/libc.so.6")
    assert found, "this test needs a Debian-like machine"
    return Path(found[0]).parent


def elf(soname: str | None, machine: int = 62, kind: int = 3) -> bytes:
    """The smallest shared object that has a soname."""
    table = b"\0" + (soname or "").encode() + b"\0"
    start = 64 + 2 * 56
    dynamic = (
        struct.pack("<qQqQ", 5, start, 0, 0)
        if soname is None
        else struct.pack("<qQqQqQ", 14, 1, 5, start, 0, 0)
    )
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    total = start + len(table) + len(dynamic)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, total, total, 4096)
    where = start + len(table)
    dyn = struct.pack("<IIQQQQQQ", 2, 6, where, where, where, len(dynamic), len(dynamic), 8)
    return head + load + dyn + table + dynamic


def printed(cache: Path) -> list[str]:
    """What ldconfig reads in a cache."""
    output = subprocess.run([LDCONFIG, "-p", "-C", cache], capture_output=True, text=True, check=True).stdout
    return [line.strip() for line in output.splitlines()[1:] if "=>" in line]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with real libraries, links of all kinds, and what is no library."""
    tree = tmp_path / "root"
    triplet = host_libraries().name
    usual = tree / "usr/lib" / triplet
    usual.mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    for name in ("libc.so.6", "libm.so.6", "libz.so.1", "libstdc++.so.6", "libgcc_s.so.1"):
        source = (host_libraries() / name).resolve()
        shutil.copy(source, usual / source.name)
        if source.name != name:
            (usual / name).symlink_to(source.name)
    machine = 62 if "x86_64" in triplet else 183
    (usual / "libmany.so.1.0").write_bytes(elf("libmany.so.1", machine))
    (usual / "libmany.so.1.2").write_bytes(elf("libmany.so.1", machine))
    (usual / "libmany.so.1").symlink_to("libmany.so.1.2")
    (usual / "libmany.so").symlink_to("libmany.so.1")
    (usual / "libplain.so").write_bytes(elf(None, machine))
    for minor in (1, 9, 10):
        (usual / f"libforgot.so.3.{minor}").write_bytes(elf("libforgot.so.3", machine))
    (usual / "libscript.so").write_text("INPUT(-lmany)\n")
    (usual / "libm.so.6-gdb.py").write_text("")
    (usual / "libdangling.so.1").symlink_to("nowhere")
    (usual / "notalib.so").write_bytes(elf("notalib.so", machine))
    (usual / "libother.so.1").write_bytes(elf("libother.so.1", 40))
    (tree / "etc/ld.so.conf.d").mkdir(parents=True)
    (tree / "etc/ld.so.conf").write_text("include /etc/ld.so.conf.d/*.conf\n")
    (tree / "etc/ld.so.conf.d/b.conf").write_text(
        f"# multiarch\n/usr/local/lib\n/lib/{triplet}\n/usr/lib/{triplet}\n"
    )
    (tree / "etc/ld.so.conf.d/a.conf").write_text("/opt/first/\n")
    (tree / "opt/first").mkdir(parents=True)
    (tree / "opt/first/libz.so.1").write_bytes(elf("libz.so.1", machine))
    (tree / "opt/first/libwrong.so.9").symlink_to("libz.so.1")
    return tree


def test_the_cache_is_what_ldconfig_would_have_made(root: Path, tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    shutil.copytree(root, reference, symlinks=True)
    write_cache(Tree(root))
    subprocess.run([LDCONFIG, "-X", "-r", reference], check=True, capture_output=True)
    # ldconfig has made the link that a package forgot only without -X.
    expected = printed(reference / "etc/ld.so.cache")
    assert expected
    assert printed(root / "etc/ld.so.cache") == expected


def test_the_link_that_a_package_forgot_is_made(root: Path) -> None:
    write_cache(Tree(root))
    (library,) = root.glob("usr/lib/*/libforgot.so.3")
    assert os.readlink(library) == "libforgot.so.3.10"


def test_the_dynamic_loader_finds_libraries_through_the_cache(root: Path, tmp_path: Path) -> None:
    write_cache(Tree(root))
    lines = printed(root / "etc/ld.so.cache")
    assert any(re.match(r"libz\.so\.1 \(libc6,.*\) => /opt/first/libz\.so\.1", line) for line in lines)
    assert not any("libother" in line or "notalib" in line or "script" in line for line in lines)


def test_a_layer_above_lists_the_libraries_of_both(root: Path, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    directory = upper / "usr/lib" / host_libraries().name
    directory.mkdir(parents=True)
    shutil.copy(root / "usr/lib" / host_libraries().name / "libplain.so", directory / "libnew.so.1")
    write_cache(Tree(upper, [root]))
    found = {line.split()[0] for line in printed(upper / "etc/ld.so.cache")}
    assert {"libnew.so.1", "libc.so.6", "libmany.so.1"} <= found


def test_an_empty_tree_has_an_empty_cache(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    write_cache(Tree(tmp_path))
    assert printed(tmp_path / "etc/ld.so.cache") == []


def test_reads_sonames(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(elf("libx.so.1", 183))
    found = read_library(path)
    assert found is not None
    assert (found.machine, found.soname) == (183, "libx.so.1")
    path.write_bytes(elf("libx.so.1", kind=2))
    assert read_library(path) is None
    assert read_library(tmp_path / "missing") is None


@thorough(300)
@given(
    st.lists(st.tuples(st.integers(0, len(elf("libx.so.1")) - 1), st.integers(0, 255)), max_size=6),
    st.integers(0, 300),
)
def test_no_damaged_library_is_more_than_no_library(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    raw = bytearray(elf("libx.so.1"))
    for place, value in changes:
        raw[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.so"
    path.write_bytes(bytes(raw[: len(raw) - cut] if cut < len(raw) else raw))
    read_library(path)


def test_include_circles_end(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.conf").write_text("include /etc/ld.so.conf\ninclude ld.so.*\n/lib\n")
    write_cache(Tree(tmp_path))


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ("liba.so.9", "liba.so.10", -1),
        ("liba.so.1", "libb.so.1", -1),
        ("liba", "liba.so", -1),
        ("lib1", "liba", 1),
        ("x", "x", 0),
    ],
)
def test_sonames_are_ordered_as_the_loader_searches(left: str, right: str, order: int) -> None:
    result = compare_sonames(left, right)
    assert (result > 0) - (result < 0) == order
    back = compare_sonames(right, left)
    assert (back > 0) - (back < 0) == -order


def test_the_first_of_two_directories_wins() -> None:
    data = encode([("a.so", "/one/a.so", 0x303), ("a.so", "/two/a.so", 0x303)])
    assert data.index(b"/one/a.so") < data.index(b"/two/a.so")
