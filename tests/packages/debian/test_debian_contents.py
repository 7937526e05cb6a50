"""Debian's list of files: which package has a library."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from corten.errors import FetchError, FormatError
from corten.packages.debian.archive import DebianArchive
from corten.packages.debian.contents import choose, decide, lookup, named_after, prepare
from corten.store.store import Store
from debian_parts import NOW, Archive, public, quick_http, serving, signing_key, sources

LINES = """\
usr/bin/ffmpeg                                          video/ffmpeg
usr/lib/aarch64-linux-gnu/libGL.so.1                    libs/libgl1
usr/lib/x86_64-linux-gnu/libGL.so.1                     libs/libgl1
usr/lib/x86_64-linux-gnu/blas/libblas.so.3              libs/libblas3
usr/lib/x86_64-linux-gnu/libavcodec.so.59               libs/libavcodec59,libs/libavcodec-extra59
usr/lib/x86_64-linux-gnu/libodd name.so.1               libs/odd
lib/x86_64-linux-gnu/libz.so.1                          libs/zlib1g
usr/share/doc/libGL.so.1                                doc/other
"""


def prepared(tmp_path: Path, text: str, **options: int) -> bytes:
    path = tmp_path / "Contents.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return prepare(path, "gz", "amd64", **options)


def test_only_libraries_in_the_loaders_folders_are_kept(tmp_path: Path) -> None:
    assert prepared(tmp_path, LINES).decode().splitlines() == [
        "libGL.so.1 libgl1",
        "libavcodec.so.59 libavcodec-extra59 libavcodec59",
        "libz.so.1 zlib1g",
    ]


def test_lines_are_whole_whatever_their_pieces(tmp_path: Path) -> None:
    many = "".join(
        f"usr/lib/x86_64-linux-gnu/lib{number}.so.1 libs/lib{number}-1\n" for number in range(40_000)
    )
    data = prepared(tmp_path, many)
    assert data.count(b"\n") == 40_000
    assert lookup(data, ["lib39999.so.1", "libnone.so.1"]) == {"lib39999.so.1": ("lib39999-1",)}


def test_a_list_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="larger than 1000 bytes"):
        prepared(tmp_path, "x" * 5000, largest=1000)


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libGL.so.1", "libgl1"),
        ("libgthread-2.0.so.0", "libgthread-2.0-0"),
        ("libfoo_bar.so.2", "libfoo-bar2"),
    ],
)
def test_the_name_that_policy_gives(library: str, package: str) -> None:
    assert named_after(library) == package


def test_the_package_is_chosen_by_its_name_or_not_at_all() -> None:
    assert choose("libmagic.so.1", ["libmagic1t64", "libmagic-other"]) == "libmagic1t64"
    assert choose("libglib-2.0.so.0", ["libglib2.0-0"]) == "libglib2.0-0"
    assert choose("libx.so.1", ["one", "two"]) is None
    added, choices, nowhere = decide(
        ["liba.so.1", "libb.so.1", "libc.so.1", "libd.so.1", "libe.so.1"],
        {
            "liba.so.1": ["liba1"],
            "libb.so.1": ["x", "y"],
            "libc.so.1": ["there"],
            "libe.so.1": ["liba1", "other"],
        },
        ["there"],
    )
    assert (added, choices, nowhere) == ({"liba.so.1": "liba1"}, {"libb.so.1": ("x", "y")}, ("libd.so.1",))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    found = Archive(tmp_path / "mirror")
    found.contents["amd64"] = LINES
    return found.publish()


def opened(tmp_path: Path, url: str) -> DebianArchive:
    return DebianArchive(
        Store(tmp_path / "store"), sources(url), quick_http(), keys=[public(signing_key())], now=NOW
    )


def test_the_list_is_fetched_once_and_kept(tmp_path: Path, archive: Archive) -> None:
    with serving(archive.root) as mirror:
        for _ in range(2):
            assert opened(tmp_path, mirror.url).having("bookworm", "amd64", ["libGL.so.1"]) == {
                "libGL.so.1": ("libgl1",)
            }
        assert (
            sum("Contents" in path or "by-hash" in path for path in mirror.requests) == 2
        )  # by hash, then by name
        with pytest.raises(FetchError):
            opened(tmp_path, mirror.url).having("bookworm", "arm64", ["libGL.so.1"])


def test_a_list_that_is_not_the_signed_one_is_refused(tmp_path: Path, archive: Archive) -> None:
    place = archive.root / "debian/dists/bookworm/main/Contents-amd64.gz"
    place.write_bytes(gzip.compress(LINES.replace("libs/libgl1", "libs/evil").encode()))
    with serving(archive.root) as mirror, pytest.raises(FetchError):
        opened(tmp_path, mirror.url).having("bookworm", "amd64", ["libGL.so.1"])
    assert not list((tmp_path / "store").rglob("*.libraries"))
