from __future__ import annotations

import contextlib
import gzip
import lzma
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import FormatError
from corten.oci.compression import zstd
from corten.packages.debian import ahead, deb
from corten.packages.debian.deb import Member, read_control
from debian_parts import File, HardLink, Link, Special, ar, make_deb, tar
from support.properties import thorough

FILES = {
    "usr/bin/tool": File(b"#!/bin/sh\n", 0o4755),
    "usr/lib/data": b"x" * 3000,
    "etc/empty": b"",
    "usr/bin/alias": Link("tool"),
    "usr/bin/again": HardLink("usr/bin/tool"),
    "usr/share/" + "long/" * 40 + "name": b"long",
    "usr/share/to-long": Link("long/" * 40 + "name"),
    "usr/share/ünïcode": b"u",
}


def save(directory: Path, raw: bytes) -> Path:
    path = directory / "package.deb"
    path.write_bytes(raw)
    return path


def listed(path: Path) -> dict[str, tuple[Member, bytes]]:
    with deb.contents(path) as entries:
        return {
            member.path: (member, b"".join(content()) if member.kind == "file" else b"")
            for member, content in entries
        }


def everything(path: Path) -> None:
    read_control(path)
    listed(path)


@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_reads_a_package(tmp_path: Path, suffix: str) -> None:
    pack = {".xz": lzma.compress, ".gz": gzip.compress, "": bytes}[suffix]
    path = save(tmp_path, make_deb("tool", files=FILES, data=pack(tar(FILES)), suffix=suffix))
    found = listed(path)
    assert found["usr/bin/tool"] == (Member("usr/bin/tool", "file", True, 10), b"#!/bin/sh\n")
    assert found["usr/lib/data"][1] == b"x" * 3000
    assert not found["usr/lib/data"][0].executable
    assert found["usr/bin/alias"][0].link == "tool"
    assert found["usr/bin/again"][0] == Member("usr/bin/again", "hardlink", False, 0, "usr/bin/tool")
    assert found["usr/share/" + "long/" * 40 + "name"][1] == b"long"
    assert found["usr/share/to-long"][0].link == "long/" * 40 + "name"
    assert found["usr/share/ünïcode"][1] == b"u"
    assert found["usr/bin"][0].kind == "directory"


def test_reads_the_control_files(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        make_deb(
            "tool",
            "1:2-3",
            {"usr/lib/data": b"abc"},
            scripts={"postinst": "#!/bin/sh\ntrue\n"},
            depends="libc6",
        ),
    )
    control = read_control(path)
    assert control.name == "tool"
    assert control.fields["version"] == "1:2-3"
    assert control.fields["description"] == "package tool\nwith a longer text\n.\nof two parts"
    assert control.md5sums == {"usr/lib/data": "900150983cd24fb0d6963f7d28e17f72"}
    assert control.scripts == {"postinst": "#!/bin/sh\ntrue\n"}


def test_reading_in_pieces_gives_the_same_as_at_once(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    path = save(tmp_path, make_deb("big", files={"a": data, "b": b"end"}))
    with deb.contents(path) as entries:
        for member, content in entries:
            if member.path == "a":
                pieces = list(content())
                assert len(pieces) > 1
                assert b"".join(pieces) == data
            elif member.path == "b":
                assert b"".join(content()) == b"end"


def test_entries_that_nobody_reads_are_passed_over(tmp_path: Path) -> None:
    path = save(tmp_path, make_deb("tool", files=FILES))
    with deb.contents(path) as entries:
        assert [member.path for member, _ in entries] == list(listed(path))


@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_a_cut_package_is_an_error_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    pack = {".xz": lzma.compress, ".gz": gzip.compress, "": bytes}[suffix]
    raw = make_deb("tool", files=FILES, data=pack(tar(FILES)), suffix=suffix)
    for length in [*range(0, len(raw) - 1, max(1, len(raw) // 60)), len(raw) - 2]:
        path = save(tmp_path, raw[:length])
        with pytest.raises(FormatError) as caught:
            everything(path)
        assert "'package.deb'" in caught.value.message


def test_a_cut_stream_inside_a_whole_ar_is_an_error(tmp_path: Path) -> None:
    packed = lzma.compress(tar(FILES))
    for data in (packed[: len(packed) // 2], lzma.compress(tar(FILES)[:3000]), b"", lzma.compress(b"")):
        with pytest.raises(FormatError, match=r"is (cut|damaged)"):
            listed(save(tmp_path, make_deb("tool", data=data)))


def test_a_damaged_stream_is_an_error(tmp_path: Path) -> None:
    packed = bytearray(lzma.compress(tar(FILES)))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(FormatError, match="is damaged") as caught:
        listed(save(tmp_path, make_deb("tool", data=bytes(packed))))
    assert caught.value.hint


def test_several_xz_streams_in_one_member(tmp_path: Path) -> None:
    whole = tar(FILES)
    packed = lzma.compress(whole[:5000]) + lzma.compress(whole[5000:])
    assert listed(save(tmp_path, make_deb("tool", data=packed)))["usr/lib/data"][1] == b"x" * 3000


def test_zstd_is_read_and_what_is_damaged_is_named(tmp_path: Path) -> None:
    """As Ubuntu packs its packages."""
    packed = zstd.compress(tar(FILES))
    assert (
        listed(save(tmp_path, make_deb("tool", data=packed, suffix=".zst")))["usr/lib/data"][1] == b"x" * 3000
    )
    for damaged in (packed[:-10], b"\x28\xb5\x2f\xfd", packed[:8] + b"\xff" * 20 + packed[28:]):
        with pytest.raises(FormatError, match=r"is cut|damaged") as caught:
            listed(save(tmp_path, make_deb("tool", data=damaged, suffix=".zst")))
        assert caught.value.hint


def test_a_zstd_window_beyond_bounds_is_refused(tmp_path: Path) -> None:
    options = {
        zstd.CompressionParameter.window_log: 30,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(tar(FILES)) + packer.flush()
    with pytest.raises(FormatError, match="damaged"):
        listed(save(tmp_path, make_deb("tool", data=packed, suffix=".zst")))


def test_unknown_compression_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"'.br'"):
        listed(save(tmp_path, make_deb("tool", data=b"x", suffix=".br")))


@pytest.mark.parametrize("path", ["../evil", "a/../../evil", "/etc/passwd", "a/..", "new\nline", "x" * 300])
def test_paths_that_leave_the_tree_are_refused(tmp_path: Path, path: str) -> None:
    data = lzma.compress(tar({path: b"evil"}, prefix="", parents=False))
    with pytest.raises(FormatError, match="path"):
        listed(save(tmp_path, make_deb("evil", data=data)))


def test_a_hard_link_out_of_the_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="path"):
        listed(save(tmp_path, make_deb("evil", files={"a": HardLink("../../etc/passwd")})))


@pytest.mark.parametrize("flag", [b"3", b"4", b"6", b"x", b"g", b"S", b"V", b"Z"])
def test_devices_pax_headers_and_unknown_kinds_are_refused(tmp_path: Path, flag: bytes) -> None:
    with pytest.raises(FormatError, match="of a kind that is refused"):
        listed(save(tmp_path, make_deb("evil", files={"dev/sda": Special(flag)})))


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb, "LARGEST", 1 << 20)
    with pytest.raises(FormatError, match=r"more bytes than any package|header is wrong"):
        listed(save(tmp_path, make_deb("bomb", files={"a": bytes(2 << 20)})))
    many = lzma.compress(tar({"a": b"x"}) + bytes(4 << 20))
    with pytest.raises(FormatError, match="more bytes than any package"):
        listed(save(tmp_path, make_deb("bomb", data=many)))


def test_a_hostile_xz_header_does_not_take_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    try:
        data = lzma.compress(tar({"a": b"x"}), filters=filters)
    except MemoryError:
        pytest.fail("this machine cannot make the test's input")
    with pytest.raises(FormatError, match="damaged"):
        listed(save(tmp_path, make_deb("bomb", data=data)))


def test_what_is_no_package_is_named(tmp_path: Path) -> None:
    for raw in (b"", b"<html>", b"!<arch>\n", ar([("other", b"x")]), ar([("debian-binary", b"3.0\n")])):
        with pytest.raises(FormatError, match=r"is not a Debian package|is cut"):
            read_control(save(tmp_path, raw))
    without = ar([("debian-binary", b"2.0\n"), ("control.tar.gz", gzip.compress(tar({"md5sums": b""})))])
    with pytest.raises(FormatError, match="no control file"):
        read_control(save(tmp_path, without))
    with pytest.raises(FormatError, match=r"'data.tar'"):
        listed(save(tmp_path, without))


GOOD = make_deb(
    "tool",
    files={"usr/bin/tool": File(b"#!/bin/sh\n", 0o755), "b": b"x" * 700},
    data=tar({"b": b"x" * 700}),
    suffix="",
)


@thorough(300)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_damage_ends_in_anything_but_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    raw = bytearray(GOOD)
    for place, value in changes:
        raw[place] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed.deb"
    path.write_bytes(bytes(raw))
    try:
        read_control(path)
        for found, (member, _) in listed(path).items():
            assert ".." not in found.split("/")
            assert not found.startswith("/")
            assert member.size <= deb.LARGEST
    except FormatError:
        pass


@thorough(150)
@given(st.binary(max_size=2000))
def test_any_tar_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.deb"
    path.write_bytes(make_deb("any", data=data, suffix=""))
    with contextlib.suppress(FormatError):
        assert listed(path) == {}  # nothing but zeros


def read_all(paths: list[Path]) -> None:
    with deb.contents_of(paths) as packages:
        for entries in packages:
            list(entries)


def test_several_packages_are_read_in_turn_while_the_next_are_decompressed(tmp_path: Path) -> None:
    paths = []
    for number in range(7):
        path = tmp_path / f"{number}.deb"
        path.write_bytes(make_deb(f"p{number}", files={"a": bytes([number]) * (3 << 20), "b": b"end"}))
        paths.append(path)
    before = threading.active_count()
    with deb.contents_of(paths) as packages:
        sums = [
            {member.path: sum(map(sum, content())) for member, content in entries} for entries in packages
        ]
    assert [found["a"] for found in sums] == [number * (3 << 20) for number in range(7)]
    # Whoever stops in the middle, or meets a damaged one, leaves no thread behind.
    paths[3].write_bytes(paths[3].read_bytes()[:-500])
    with pytest.raises(FormatError, match=r"'3\.deb' is cut"):
        read_all(paths)
    with deb.contents_of(paths) as packages:
        next(next(packages))
    assert threading.active_count() == before


def test_little_waits_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LARGEST", 100)
    alive: set[int] = set()
    most = 0

    def stream(number: int) -> Iterator[bytes]:
        nonlocal most
        for piece in range(50):
            alive.add(number * 100 + piece)
            most = max(most, len(alive))
            yield number.to_bytes(10, "big")

    with ahead.read_ahead([partial(stream, number) for number in range(6)], threads=3) as streams:
        for number, pieces in enumerate(streams):
            for place, piece in enumerate(pieces):
                assert piece == number.to_bytes(10, "big")
                alive.discard(number * 100 + place)
    assert most <= 10 + 2 * 3 + 1
