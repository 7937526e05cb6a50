"""Compression at the boundary: layers lie unpacked here and are packed only on their way out, and unpacked on their way in.

Packing cuts a stream into blocks of a fixed size and packs each by itself, as a gzip member (RFC 1952, section 2.2) or a zstd
frame (RFC 8878, section 3.1), so that one layer can use every processor. Concatenated members and frames are what both formats
allow, and every engine reads them. Blocks of 1 MiB cost gzip nothing, whose window is 32 KiB; zstd loses 6 % of the size with
1 MiB, 1 % with 4, against 8.
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import threading
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import chain
from types import TracebackType
from typing import Literal, Protocol, Self, cast

from isal import __version__ as isal_version
from isal import igzip_lib, isal_zlib

from corten.errors import FormatError
from corten.oci.bound import Bound

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZstdError = zstd.ZstdError
Compression = Literal["gzip", "zstd", "raw"]

_GzipError = cast(type[Exception], isal_zlib.IsalError)

_GZIP_LEVEL, _GZIP_BLOCK = 3, 1 << 20
_ZSTD_LEVEL, _ZSTD_BLOCK = 3, 4 << 20
_SMALL = 1 << 20
_GZIP_SMALL_LEVEL, _ZSTD_SMALL_LEVEL = 6, 9
"""A stream of less than 1 MiB is packed harder (by zlib, which has such levels): most layers of an image are so small, and all of
them together are a hundredth of it. What changes from day to day is such a layer."""
_MOST_THREADS = 16

_PIECE = 1 << 20
_FED = 256 << 10
"""Bytes given to a decompressor at once. What follows a member's end is copied for every member, so this is not large."""
_LARGEST_WINDOW = 27
"""Bits: no zstd frame makes us hold more than 128 MiB (RFC 8878 recommends to support 8 MiB; `zstd --long` writes 27 bits)."""
_MOST_MEMBERS = 4_000_000

_TELLING = 6
"""Bytes that tell how a blob is packed."""
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}

_GAIN = 0.9
_SAMPLE = 64 << 10


class Compressors:
    """A pool of threads that packs the blocks of all streams of one command. Its memory is bounded: two blocks for every
    stream that is being read, and as many more as there are threads."""

    def __init__(self, threads: int = 0) -> None:
        """`threads` is 0 for as many as there are processors for this process."""
        count = threads or min(len(os.sched_getaffinity(0)), _MOST_THREADS)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="compress")
        self._extra = threading.Semaphore(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def compress(self, pieces: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
        """`pieces`, packed, in order. Equal input gives equal bytes for an equal `maker`, however it is cut into pieces and
        however many threads there are. An empty stream gives one empty member or frame."""
        if compression == "raw":
            yield from pieces
            return
        pack, small = (_gzip, _gzip_small) if compression == "gzip" else (_zstd, _zstd_small)
        ahead: deque[tuple[Future[bytes], bool]] = deque()
        try:
            blocks = _blocks(pieces, _GZIP_BLOCK if compression == "gzip" else _ZSTD_BLOCK)
            for number, block in enumerate(blocks):
                if number == 0 and len(block) < _SMALL:  # shorter than a block, so it is all there is
                    pack = small
                # One block may always be under way, so that no stream waits for another; more only while permits last.
                extra = bool(ahead) and self._extra.acquire(blocking=False)
                if ahead and not extra:
                    yield self._next(ahead)
                ahead.append((self._pool.submit(pack, block), extra))
                del block
                while ahead and ahead[0][0].done():
                    yield self._next(ahead)
            while ahead:
                yield self._next(ahead)
        finally:
            for future, extra in ahead:
                future.cancel()
                if extra:
                    self._extra.release()

    def _next(self, ahead: deque[tuple[Future[bytes], bool]]) -> bytes:
        future, extra = ahead.popleft()
        try:
            return future.result()
        finally:
            if extra:
                self._extra.release()


@cache
def maker(compression: Compression) -> str:
    """What makes packed bytes: compressor, version, level, block size, and eight digits of what it makes of a fixed text, because
    the libraries choose their code by the processor. Equal makers give equal bytes. Empty for `raw`."""
    if compression == "raw":
        return ""
    sample = b"".join(hashlib.sha256(b"%d" % (n // 3)).hexdigest().encode() for n in range(4096))
    if compression == "gzip":
        name = f"isal {isal_version} level {_GZIP_LEVEL} block {_GZIP_BLOCK}"
        name += f", small {zlib.ZLIB_RUNTIME_VERSION} level {_GZIP_SMALL_LEVEL}"
        made = _gzip(sample) + _gzip_small(sample)
    else:
        name = f"zstd {zstd.zstd_version} level {_ZSTD_LEVEL} block {_ZSTD_BLOCK}"
        name += f", small level {_ZSTD_SMALL_LEVEL}"
        made = _zstd(sample) + _zstd_small(sample)
    return f"{name} {os.uname().machine} {hashlib.sha256(made).hexdigest()[:8]}"


def ratio(sample: bytes) -> float:
    """The part of `sample` that is left when it is packed quickly: 1 for noise, 0.92 for trained float32 weights, 0.3 for code."""
    return len(zstd.compress(sample, 1)) / len(sample) if sample else 1.0


def compressible(sample: bytes) -> bool:
    """Whether bytes like these are worth packing: it saves a tenth of them or more. A pure function of the bytes (and of zstd's
    version). Take the sample from the middle of a file: headers say nothing about what follows."""
    return ratio(sample) <= _GAIN


def decompressed(pieces: Iterable[bytes], media_type: str, bound: Bound) -> Iterator[bytes]:
    """The plain tar stream in a layer blob of that media type, in pieces of at most 1 MiB or of the size they came in: gzip
    (all members), zstd (all frames), or plain; the first bytes decide which. Raises FormatError for damage, for a stream
    that ends early, for anything after its end that is no member or frame (zeros at the end of gzip pass, as gzip(1) has
    it), for more than `bound` allows, and for media types that are not layers or may not be distributed."""
    kind, pieces = detected(pieces, packed_as(media_type))
    return unpacked(pieces, kind, bound)


def unpacked(pieces: Iterable[bytes], kind: Compression, bound: Bound) -> Iterator[bytes]:
    """`decompressed`, for pieces that are known to be packed as `kind`."""
    return _bounded(pieces, bound) if kind == "raw" else _unpacked(pieces, kind, bound)


def detected(pieces: Iterable[bytes], declared: Compression) -> tuple[Compression, Iterator[bytes]]:
    """How a layer's blob is packed by its first bytes, and all of its bytes. Some writers give a layer a media type that is
    not true; docker, containerd and podman look at the bytes, too. `declared` counts for a blob that is too short to tell.
    Raises FormatError for other compressions."""
    source = iter(pieces)
    head: list[bytes] = []
    for piece in source:
        head.append(piece)
        if sum(map(len, head)) >= _TELLING:
            break
    return _kind_of(b"".join(head)[:_TELLING], declared), chain(head, source)


def _kind_of(head: bytes, declared: Compression) -> Compression:
    if len(head) < _TELLING:
        return declared
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return "zstd"  # a frame, or one to be skipped
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise FormatError(f"a layer is packed with {name}, and only gzip and zstd are unpacked")
    return "raw"


def packed_as(media_type: str) -> Compression:
    """How a layer of this media type is packed. Raises FormatError for one that is not a tar archive which may be
    distributed (image-spec, layer.md, "Non-Distributable Layers")."""
    if ".nondistributable." in media_type or ".foreign." in media_type:
        raise FormatError(
            f"a layer is of type '{media_type}': it may not be distributed, so no registry is sure to have it",
            hint="such layers come from base images of Windows; use another base",
        )
    tail = media_type.replace("+", ".").rpartition(".")[2]
    if tail == "tar":
        return "raw"
    if tail in ("gzip", "gz"):
        return "gzip"
    if tail in ("zstd", "zst"):
        return "zstd"
    raise FormatError(f"a layer is of type '{media_type[:100]}', which is not tar, tar+gzip or tar+zstd")


def _blocks(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in blocks of `size`; the last may be shorter. At least one."""
    gathered: list[bytes | memoryview] = []
    have = 0
    first = True
    for piece in pieces:
        rest = memoryview(piece)
        while have + len(rest) >= size:
            gathered.append(rest[: size - have])
            rest = rest[size - have :]
            block = b"".join(gathered)
            gathered, have, first = [], 0, False
            yield block
            del block
        if rest:
            gathered.append(rest)
            have += len(rest)
    if have or first:
        yield b"".join(gathered)


def _gzip(block: bytes) -> bytes:
    # The header has no name and no time; its system byte is 255, unknown (RFC 1952, section 2.3.1).
    return isal_zlib.compress(block, _GZIP_LEVEL, 31)


def _gzip_small(block: bytes) -> bytes:
    packer = zlib.compressobj(_GZIP_SMALL_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(block) + packer.flush()
    # The header is made here, because zlib's says which system it ran on.
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    return head + body + struct.pack("<II", zlib.crc32(block), len(block))


def _zstd(block: bytes) -> bytes:
    return zstd.compress(block, _ZSTD_LEVEL)


def _zstd_small(block: bytes) -> bytes:
    return zstd.compress(block, _ZSTD_SMALL_LEVEL)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _decompressor(kind: Compression) -> _Decompressor:
    if kind == "gzip":
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return zstd_decompressor()


def zstd_decompressor() -> zstd.ZstdDecompressor:
    """One that refuses a frame with a window beyond bounds."""
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW})


def _fed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if len(piece) <= _FED:
            yield piece
        else:
            view = memoryview(piece)
            for start in range(0, len(piece), _FED):
                yield bytes(view[start : start + _FED])


def _unpacked(pieces: Iterable[bytes], kind: Compression, bound: Bound) -> Iterator[bytes]:
    packed = plain = members = 0
    member: _Decompressor | None = None
    padded = False
    for data in _fed(pieces):
        packed += len(data)
        while True:
            if member is None:
                if not data:
                    break
                padded = padded or (kind == "gzip" and members > 0 and data[0] == 0)
                if padded:
                    if data.strip(b"\0"):
                        raise FormatError("a layer's gzip stream is followed by something else")
                    break
                members += 1
                if members > _MOST_MEMBERS:
                    raise FormatError(f"a layer's {kind} stream has more than {_MOST_MEMBERS} parts")
                member = _decompressor(kind)
            try:
                out = member.decompress(data, _PIECE)
            except (_GzipError, zstd.ZstdError, EOFError) as error:
                raise FormatError(f"a layer's {kind} stream is damaged") from error
            data = b""
            if out:
                plain += len(out)
                bound.check(plain, packed, "a layer")
                yield out
            if member.eof:
                data, member = member.unused_data, None
            elif member.needs_input:
                break
    if member is not None or not members:
        raise FormatError(f"a layer's {kind} stream ends early")


def _bounded(pieces: Iterable[bytes], bound: Bound) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        bound.check(total, total, "a layer")
        yield piece
