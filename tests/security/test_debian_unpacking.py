"""Hostile .debs, unpacked by the code that makes a base: nothing of this machine is read, and nothing is written outside."""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from corten.build.debian_base import place_base, place_system
from corten.errors import CortenError, FormatError, StoreError
from corten.packages.debian.deb import read_control
from corten.packages.debian.tree import walk
from debian_parts import Entries, File, HardLink, Link, Special, ar, control_text, tar, written

SECRET = b"-----BEGIN SECRET-----"


class Box:
    """A directory of this machine with a secret, beside the tree that packages are unpacked into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = root / "tree"
        self.tree.mkdir()
        (root / "debs").mkdir()
        self.outside = root / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(SECRET)
        (self.outside / "folder").mkdir()
        (self.outside / "folder" / "ca.crt").write_bytes(SECRET)
        self.before = self.state()

    def state(self) -> list[tuple[str, int, bytes]]:
        return [
            (path, (self.outside / path).stat().st_mode, data)
            for path in walk(self.outside)
            for data in [b"" if (self.outside / path).is_dir() else (self.outside / path).read_bytes()]
        ]

    def base(self, *packages: Entries, **rest: object) -> None:
        debs = [
            written(self.root / "debs", f"package{number}", files=files, **rest)
            for number, files in enumerate(packages)
        ]
        place_base(debs, self.tree, python="3.11")

    def check(self) -> None:
        """Nothing was changed outside, and the secret is nowhere inside."""
        assert self.state() == self.before
        sums = hashlib.md5(SECRET).hexdigest().encode()
        for path in walk(self.tree):
            place = self.tree / path
            status = place.lstat()
            assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID)
            assert (
                stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)
            )
            if stat.S_ISREG(status.st_mode):
                data = place.read_bytes()
                assert SECRET not in data, path
                assert sums not in data, path


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def up(path: Path) -> str:
    return "../" * 40 + str(path).lstrip("/")


PLACES = (
    "etc",
    "etc/ssl",
    "usr/share/ca-certificates",
    "usr/lib/ssl",
    "var",
    "var/lib/dpkg/status.d",
    "tmp",
    "home",
    "usr/bin",
    "etc/alternatives",
    "etc/ld.so.conf.d",
)


@pytest.mark.parametrize(
    ("place", "relative"), [*((place, False) for place in PLACES), ("var/lib/dpkg", True), ("run", True)]
)
def test_a_link_in_place_of_a_directory_leads_nowhere_outside(box: Box, place: str, relative: bool) -> None:
    target = up(box.outside / "folder") if relative else str(box.outside / "folder")
    script = "update-alternatives --install /etc/x x /usr/bin/x 10\n"
    with suppress(CortenError):  # such a link at /tmp leads round in a circle
        box.base(
            {place: Link(target)},
            {f"{place}/x": b"evil", f"{place}/sub/y": b"evil", "usr/bin/x": b""},
            scripts={"postinst": script},
        )
    box.check()


@pytest.mark.parametrize(
    "place",
    [
        "etc/passwd",
        "etc/shadow",
        "etc/ld.so.conf",
        "etc/ld.so.cache",
        "etc/hosts",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/share/ca-certificates/folder/ca.crt",
        "usr/share/base-files/dot.bashrc",
        "usr/share/debianutils/shells",
        "var/lib/dpkg/status.d/package0",
        "var/lib/dpkg/alternatives/x",
        "usr/lib/x86_64-linux-gnu/libx.so.1",
        "usr/bin/python3.11",
    ],
)
def test_a_link_in_place_of_a_file_shows_nothing_of_this_machine(box: Box, place: str) -> None:
    box.base({place: Link(str(box.outside / "secret"))}, {"usr/bin/x": b""})
    box.check()


def test_a_file_that_becomes_a_link_in_the_same_package_shows_nothing(box: Box) -> None:
    data = lzma.compress(
        tar({"usr/x": b"mine"})[:1536] + tar({"usr/x": Link(str(box.outside / "secret"))}, parents=False)
    )
    box.base({}, data=data, md5sums=False)
    assert (box.tree / "usr/x").is_symlink()
    box.check()


def test_system_packages_over_a_base_with_links(box: Box) -> None:
    box.base({"opt/data": Link(str(box.outside)), "srv": Link(up(box.outside))})
    layer = box.root / "layer"
    layer.mkdir()
    deb = written(
        box.root / "debs",
        "tool",
        files={
            "opt/data/folder/new": b"evil",
            "srv/secret": b"evil",
            "usr/share/ca-certificates": Link(str(box.outside)),
        },
    )
    place_system([deb], layer, base_debs=[], base_tree=box.tree)
    box.check()
    box.tree = layer
    box.check()


@pytest.mark.parametrize(
    "entries",
    [
        {"a": HardLink("../outside/secret")},
        {"a": HardLink("/etc/passwd")},
        {"a": HardLink("etc/hostname")},
        {"link": Link("/etc/passwd"), "a": HardLink("link")},
        {"../outside/new": b"evil"},
        {"a/../../outside/new": b"evil"},
        {"a/./../../../outside/new": b"evil"},
        {"dev/null": Special(b"3")},
        {"dev/sda": Special(b"4")},
        {"pipe": Special(b"6")},
        {"sparse": Special(b"S")},
        {"pax": Special(b"x")},
        {"volume": Special(b"V")},
        {"/".join(["d"] * 1500): b""},
        {"a\nb": b""},
    ],
    ids=lambda entries: repr(list(entries.items())[-1])[:40],
)
def test_what_leaves_the_tree_or_is_no_file_is_refused(box: Box, entries: Entries) -> None:
    with pytest.raises(FormatError) as caught:
        box.base(entries)
    assert "\n" not in caught.value.message
    box.check()


def test_an_absolute_path_is_refused(box: Box) -> None:
    data = lzma.compress(tar({str(box.outside / "new"): b"evil"}, prefix="", parents=False))
    with pytest.raises(FormatError):
        box.base({}, data=data)
    box.check()


def test_unpacking_a_package_ends_where_the_disk_has_no_room(box: Box) -> None:
    """What is written is counted, a piece at a time, by what watches the disk."""
    left = [300_000]

    def spend(amount: int) -> None:
        left[0] -= amount
        if left[0] < 0:
            raise StoreError("no room")

    debs = [written(box.root / "debs", "large", files={"usr/share/large": bytes(2_000_000)})]
    with pytest.raises(StoreError, match="no room"):
        place_base(debs, box.tree, python="3.11", spend=spend)
    assert (box.tree / "usr/share/large").stat().st_size <= 300_000


def test_setuid_and_writable_modes_are_dropped(box: Box) -> None:
    box.base({"usr/bin/su": File(b"", 0o6777), "opt/x": File(b"", 0o1777), "opt/y": File(b"", 0o222)})
    modes = {path: (box.tree / path).stat().st_mode & 0o7777 for path in ("usr/bin/su", "opt/x", "opt/y")}
    assert modes == {"usr/bin/su": 0o755, "opt/x": 0o755, "opt/y": 0o644}


def test_a_package_that_unpacks_out_of_all_proportion_is_refused(box: Box) -> None:
    bomb = tar({"zeros": bytes(80 << 20)})
    with pytest.raises(FormatError, match="more bytes than any package may have"):
        box.base({}, data=lzma.compress(bomb, preset=0))
    assert sum(path.stat().st_blocks * 512 for path in box.tree.rglob("*") if path.is_file()) < 80 << 20


def test_a_size_that_the_archive_does_not_have_is_refused(box: Box) -> None:
    raw = bytearray(tar({"file": b"x"}))
    start = raw.index(b"./file")
    for size in (b"77777777777\0", b"\x80" + bytes(3) + b"\x7f" * 8):
        raw[start + 124 : start + 136] = size
        raw[start + 148 : start + 156] = b" " * 8
        raw[start + 148 : start + 156] = b"%06o\0 " % sum(raw[start : start + 512])
        with pytest.raises(FormatError):
            box.base({}, data=lzma.compress(bytes(raw)))
    box.check()


def test_links_that_make_a_path_longer_and_longer_are_refused(box: Box) -> None:
    entries: Entries = {f"l{number}": Link("/".join(["d" * 200] * 18)) for number in range(30)}
    with pytest.raises(CortenError):
        box.base(entries, {f"{'/'.join(entries)}/x": b""})
    box.check()


# --- the control archive -------------------------------------------------------------------------------------


def deb_with_control(box: Box, control: bytes) -> Path:
    path = box.root / "debs" / "x.deb"
    data = lzma.compress(tar({"x": b""}))
    members = [("debian-binary", b"2.0\n"), ("control.tar.xz", lzma.compress(control)), ("data.tar.xz", data)]
    path.write_bytes(ar(members))
    return path


def test_a_link_as_control_file_is_not_followed(box: Box) -> None:
    with pytest.raises(FormatError, match="has no control file"):
        read_control(deb_with_control(box, tar({"control": Link(str(box.outside / "secret"))})))
    with pytest.raises(FormatError):
        read_control(deb_with_control(box, tar({"../control": control_text("x").encode()})))


def test_a_control_archive_cannot_fill_the_memory(box: Box) -> None:
    with pytest.raises(FormatError, match="more bytes than any package may have"):
        read_control(deb_with_control(box, tar({"control": bytes(80 << 20)})))


@pytest.mark.parametrize("name", ["../../../outside/new", "a/b", "", ".", "..", "A B", "x\0y"])
def test_the_name_in_a_control_file_is_no_path(box: Box, name: str) -> None:
    deb, path = written(box.root / "debs", "x", files={"x": b""})
    text = control_text("x").replace("Package: x\n", f"Package: {name}\n")
    members = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", lzma.compress(tar({"control": text.encode()}))),
        ("data.tar.xz", lzma.compress(tar({"x": b""}))),
    ]
    path.write_bytes(ar(members))
    with pytest.raises(FormatError):
        place_base([(deb, path)], box.tree, python="3.11")
    box.check()


def test_descriptors_are_closed(box: Box) -> None:
    before = len(os.listdir("/proc/self/fd"))
    box.base({"a/b/c": b"", "d/e": b""})
    assert len(os.listdir("/proc/self/fd")) == before
