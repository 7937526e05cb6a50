"""Layers are packed in blocks and unpacked within bounds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from corten.errors import FormatError
from corten.oci import compression, media
from corten.oci.bound import LAYER, Bound
from corten.oci.compression import Compression, Compressors, decompressed
from corten.values import replace
from support.properties import thorough

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BOUND = LAYER
TYPES: dict[Compression, str] = {"gzip": media.LAYER_GZIP, "zstd": media.LAYER_ZSTD, "raw": media.LAYER}
EVERY = pytest.mark.parametrize("kind", ["gzip", "zstd", "raw"])
PACKED = pytest.mark.parametrize("kind", ["gzip", "zstd"])


def text(size: int, seed: int = 1) -> bytes:
    words = [random.Random(seed * 1000 + n).randbytes(5) for n in range(200)]
    return b" ".join(random.Random(seed).choices(words, k=size // 6 + 1))[:size]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def packed(data: bytes, kind: Compression, *, threads: int = 2, piece: int = 1 << 20) -> bytes:
    with Compressors(threads) as compressors:
        return b"".join(compressors.compress(cut(data, piece), kind))


def plain(data: bytes, kind: Compression, limit: int = BOUND.most) -> bytes:
    return b"".join(decompressed(cut(data, 1 << 20), TYPES[kind], replace(BOUND, most=limit)))


@EVERY
def test_equal_input_gives_equal_bytes_whatever_the_threads_and_pieces(kind: Compression) -> None:
    data = text(9_000_001)
    first = packed(data, kind, threads=1, piece=len(data))
    assert {packed(data, kind, threads=n, piece=size) for n, size in [(2, 65_536), (5, 1_234_567)]} == {first}
    assert plain(first, kind) == data


@PACKED
def test_blocks_are_parts_of_their_own(kind: Compression) -> None:
    """Or one large layer would use one processor."""
    data = text(9 << 20)
    marks = {"gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", "zstd": b"\x28\xb5\x2f\xfd"}
    assert packed(data, kind).count(marks[kind]) == {"gzip": 9, "zstd": 3}[kind]


def test_others_read_what_is_packed() -> None:
    data = text(5 << 20)
    assert gzip.decompress(packed(data, "gzip")) == data
    assert zstd.decompress(packed(data, "zstd")) == data
    for tool in (["gzip", "-dc"],):
        assert (
            subprocess.run(tool, input=packed(data, "gzip"), capture_output=True, check=True).stdout == data
        )


@EVERY
def test_an_empty_stream(kind: Compression) -> None:
    assert plain(packed(b"", kind), kind) == b""


@EVERY
def test_many_streams_share_the_pool(kind: Compression) -> None:
    """Read by turns in one thread: none may wait for another."""
    inputs = [text(6 << 20, seed) for seed in range(5)]
    with Compressors(2) as compressors:
        streams = [compressors.compress(cut(data, 1 << 20), kind) for data in inputs]
        outputs: list[list[bytes]] = [[] for _ in streams]
        open_streams = dict(enumerate(streams))
        while open_streams:
            for number, stream in list(open_streams.items()):
                piece = next(stream, None)
                if piece is None:
                    del open_streams[number]
                else:
                    outputs[number].append(piece)
    assert [plain(b"".join(parts), kind) for parts in outputs] == inputs


@PACKED
def test_no_more_than_a_few_blocks_are_under_way(kind: Compression) -> None:
    given_out = 0

    def pieces() -> Iterator[bytes]:
        nonlocal given_out
        for _ in range(400):
            given_out += 1
            yield bytes(1 << 20)

    with Compressors(2) as compressors:
        stream = compressors.compress(pieces(), kind)
        next(stream)
        assert given_out <= 4 * 4 + 2
        stream.close()
        assert compressors._extra.acquire(blocking=False)
        assert compressors._extra.acquire(blocking=False)


@PACKED
def test_a_failing_source_fails_the_stream(kind: Compression) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(9 << 20)
        raise OSError("gone")

    with Compressors(2) as compressors, pytest.raises(OSError, match="gone"):
        list(compressors.compress(pieces(), kind))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("compress")]


@PACKED
def test_a_large_stream_takes_little_memory(kind: Compression) -> None:
    program = f"""
import resource
from corten.oci.bound import LAYER
from corten.oci.compression import Compressors, decompressed
noise = open("/dev/urandom", "rb").read(1 << 20)
pieces = (noise[n:] + noise[:n] for n in range(200))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with Compressors(2) as compressors:
    packed = compressors.compress(pieces, {kind!r})
    total = sum(map(len, decompressed(packed, {TYPES[kind]!r}, LAYER)))
assert total == 200 << 20, total
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60  # MiB


def test_a_maker_names_all_that_decides_the_bytes() -> None:
    assert compression.maker("raw") == ""
    assert "isal" in compression.maker("gzip")
    assert "level" in compression.maker("zstd")
    assert zstd.zstd_version in compression.maker("zstd")


def test_what_is_worth_packing() -> None:
    noise = random.Random(7).randbytes(64 << 10)
    assert not compression.compressible(noise)
    floats = bytearray(noise)
    floats[3::4] = bytes(
        0x3C + (value & 1) for value in floats[3::4]
    )  # exponents are much alike, mantissas are noise
    assert 0.7 < compression.ratio(bytes(floats)) < 0.9
    assert compression.compressible(text(64 << 10))
    assert not compression.compressible(b"")


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 30])
def test_pieces_of_any_size(size: int) -> None:
    data = text(50_000)
    stream = gzip.compress(data[:30_000]) + gzip.compress(b"") + gzip.compress(data[30_000:])
    assert b"".join(decompressed(cut(stream, size), media.LAYER_GZIP, BOUND)) == data
    skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"  # RFC 8878, section 3.1.2
    stream = skipped + zstd.compress(data[:30_000]) + skipped + zstd.compress(data[30_000:]) + skipped
    assert b"".join(decompressed(cut(stream, size), media.LAYER_ZSTD, BOUND)) == data


@PACKED
@pytest.mark.parametrize("damage", ["cut", "shorter", "empty", "garbage", "half a part", "flipped"])
def test_damage_is_noticed(kind: Compression, damage: str) -> None:
    whole = packed(text(3 << 20), kind)
    flipped = bytearray(whole)
    flipped[12] ^= 0x55
    damaged = {
        "cut": whole[:-1],
        "shorter": whole[: len(whole) // 2],
        "empty": b"",
        "garbage": whole + b"\x01something",
        "half a part": whole + whole[:9],
        "flipped": bytes(flipped),
    }[damage]
    with pytest.raises(FormatError):
        plain(damaged, kind)


def test_zeros_may_follow_gzip_and_nothing_else() -> None:
    stream = packed(b"x", "gzip")
    assert plain(stream + bytes(1000), "gzip") == b"x"
    with pytest.raises(FormatError, match="followed"):
        list(decompressed([stream, b"\0\0", b"\0", stream], media.LAYER_GZIP, BOUND))


@given(st.binary(max_size=300), st.sampled_from(["gzip", "zstd"]), st.integers(0, 400), st.binary(max_size=4))
@thorough(150)
def test_any_change_is_refused_or_harmless(data: bytes, kind: Compression, at: int, change: bytes) -> None:
    pack = {"gzip": lambda d: isal_zlib.compress(d, 1, 31), "zstd": lambda d: zstd.compress(d, 1)}[kind]
    stream = pack(data)
    for broken in (stream[:at] + change + stream[at + len(change) :], change + stream):
        with suppress(FormatError):
            assert len(plain(broken, kind, 1 << 20)) <= 1 << 20


@EVERY
def test_the_size_is_bounded(kind: Compression) -> None:
    stream = packed(bytes(30 << 20), kind)
    seen = 0
    pieces = decompressed(cut(stream, 1 << 20), TYPES[kind], Bound(10 << 20))
    try:
        for piece in pieces:
            seen += len(piece)
    except FormatError as error:
        assert "larger than" in str(error)  # noqa: PT017 (what came before it counts here)
    assert 9 << 20 <= seen <= 10 << 20


def test_a_bomb_is_known_by_its_ratio() -> None:
    bomb = zstd.compress(bytes(1 << 20)) * 20
    bound = Bound(1 << 40, 8 << 20, 256)
    pieces = decompressed([bomb], media.LAYER_ZSTD, bound)
    assert sum(len(next(pieces)) for _ in range(8)) == 8 << 20
    with pytest.raises(FormatError, match="bomb") as caught:
        next(pieces)
    assert "set CORTEN_UNPACK_LIMIT" in (caught.value.hint or "")


def test_no_frame_takes_more_memory_than_its_window_may() -> None:
    option = zstd.CompressionParameter.window_log
    wide = zstd.ZstdCompressor(options={option: 28})
    stream = wide.compress(b"x" * 5000) + wide.flush()
    with pytest.raises(FormatError, match="damaged"):
        plain(stream, "zstd")
    allowed = zstd.ZstdCompressor(options={option: 27})
    assert plain(allowed.compress(b"x" * 5000) + allowed.flush(), "zstd") == b"x" * 5000


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        (media.LAYER, "raw"),
        (media.LAYER_GZIP, "gzip"),
        (media.LAYER_ZSTD, "zstd"),
        (media.DOCKER_LAYER, "raw"),
        (media.DOCKER_LAYER_GZIP, "gzip"),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"),
    ],
)
def test_media_types(media_type: str, kind: Compression) -> None:
    assert compression.packed_as(media_type) == kind


@EVERY
@pytest.mark.parametrize("declared", ["gzip", "zstd", "raw"])
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_the_bytes_decide_where_a_media_type_is_not_true(
    kind: Compression, declared: Compression, piece: int
) -> None:
    """docker, containerd and podman look at the bytes, too, and writers rely on it."""
    data = text(3000)
    pieces = cut(packed(data, kind), piece)
    assert b"".join(decompressed(pieces, TYPES[declared], BOUND)) == data
    found, again = compression.detected(pieces, declared)
    assert (found, b"".join(again)) == (kind, b"".join(pieces))


def test_a_zstd_stream_may_begin_with_a_frame_to_be_skipped() -> None:
    data = b"\x5a\x2a\x4d\x18\x04\x00\x00\x00skip" + packed(b"plain", "zstd")
    assert b"".join(decompressed([data], media.LAYER, BOUND)) == b"plain"


@pytest.mark.parametrize(("data", "name"), [(bz2.compress(b"x"), "bzip2"), (lzma.compress(b"x"), "xz")])
def test_other_compressions_are_named(data: bytes, name: str) -> None:
    with pytest.raises(FormatError, match=f"packed with {name}"):
        list(decompressed([data], media.LAYER_GZIP, BOUND))


@pytest.mark.parametrize(
    ("media_type", "reason"),
    [
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "distributed"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "distributed"),
        ("application/vnd.oci.image.layer.v1.tar+xz", "not tar"),
        ("application/octet-stream", "not tar"),
        ("", "not tar"),
    ],
)
def test_other_media_types_are_refused(media_type: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        decompressed([], media_type, BOUND)
