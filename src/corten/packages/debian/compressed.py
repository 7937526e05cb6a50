"""Compressed streams (xz, gzip, zstd) unpacked in pieces of bounded size, whatever their headers ask for."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from corten.errors import FormatError

DAMAGED = "remove the file and build again, so that it is fetched anew"

_MEMORY = 512 << 20  # xz -9 takes 65 MiB to unpack; a hostile header may ask for 4 GiB
_PIECE = 1 << 20


def unpacked(packed: Iterator[bytes], suffix: str, name: str) -> Iterator[bytes]:
    """The unpacked bytes of the stream `packed`, whose kind the end of its file name tells (`.xz`, `.gz`, `.zst`, or nothing for
    plain bytes), in pieces of at most a mebibyte. Raises FormatError that names `name`."""
    if suffix == "":
        yield from packed
        return
    start: Callable[[], Any]
    errors: tuple[type[Exception], ...]
    if suffix == ".xz":
        start = lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)  # noqa: E731
        errors = (lzma.LZMAError, EOFError)
    elif suffix == ".gz":
        start, errors = _Gzip, (zlib.error, EOFError)
    elif suffix == ".zst":
        start, errors = _zstd()
    else:
        raise FormatError(f"'{name}' is packed in a way that Corten does not know ('{suffix}')")
    try:
        state = start()
        for chunk in packed:
            data = chunk
            while True:
                if state.eof:  # streams may follow each other (xz(1), "concatenated")
                    state = start()
                piece = state.decompress(data, _PIECE)
                if piece:
                    yield piece
                data = state.unused_data if state.eof else b""
                if state.needs_input if not state.eof else not data:
                    break
        if not state.eof:
            raise FormatError(f"'{name}' is cut", hint=DAMAGED)
    except errors as error:
        raise FormatError(f"'{name}' is damaged: it cannot be unpacked", hint=DAMAGED) from error


class _Gzip:
    """zlib's decompressor with the interface of lzma's."""

    def __init__(self) -> None:
        self._state = zlib.decompressobj(wbits=31)
        self._rest = b""
        self._full = False

    @property
    def eof(self) -> bool:
        return self._state.eof

    @property
    def unused_data(self) -> bytes:
        return self._state.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._rest and not self._full

    def decompress(self, data: bytes, largest: int) -> bytes:
        piece = self._state.decompress(self._rest + data, largest)
        self._rest = self._state.unconsumed_tail
        self._full = len(piece) == largest  # more may be waiting inside
        return piece


def _zstd() -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    """Ubuntu packs its packages so. Imported for such a file alone."""
    from corten.oci.compression import ZstdError, zstd_decompressor

    return zstd_decompressor, (ZstdError, EOFError)
