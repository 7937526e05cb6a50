"""What it takes to produce a foreign tar stream again from its unpacked tree (the idea of moby's tar-split).

A recipe is a deflated sequence of records, in the order of the stream:

    R  size (8)  bytes                  bytes of the stream: headers, padding, the end
    F  size (8)  length (4)  path       the bytes of a file in the tree
    M  size (8)  length (4)  path       from here on that path is another file: what it was is `replaced/<size>`, a number

A file's bytes never change once it is written, and a directory never moves. So an `F` means the file at its path until an `M`
says that the path was taken from it; reading the `M`s first, `replay` finds every file's bytes for certain.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from corten.errors import FormatError
from corten.oci.inside import Inside
from corten.oci.tar import opened

_RAW, _FILE, _MOVED = b"R", b"F", b"M"
_PIECE = 1 << 20
_GATHERED = 64 << 10
_LONGEST = 1 << 16
REPLACED = "replaced"
"""The directory beside a recipe with files that later entries of the same layer replaced."""


class RecipeWriter:
    """Writes a recipe to an open file."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._deflater = zlib.compressobj(1)
        self._raw: list[bytes] = []
        self._size = 0

    def raw(self, data: bytes) -> None:
        """These bytes come next."""
        if data:
            self._raw.append(data)
            self._size += len(data)
            if self._size >= _GATHERED:
                self._flush()

    def file(self, path: bytes, size: int) -> None:
        """The `size` bytes of the file at `path` come next."""
        self._flush()
        self._put(_FILE + struct.pack(">QI", size, len(path)) + path)

    def moved(self, path: bytes, number: int) -> None:
        """What was at `path` is now `replaced/<number>`."""
        self._flush()
        self._put(_MOVED + struct.pack(">QI", number, len(path)) + path)

    def end(self) -> None:
        """Finish the recipe."""
        self._flush()
        self._out.write(self._deflater.flush())

    def _flush(self) -> None:
        if self._raw:
            self._put(_RAW + struct.pack(">Q", self._size) + b"".join(self._raw))
            self._raw, self._size = [], 0

    def _put(self, data: bytes) -> None:
        self._out.write(self._deflater.compress(data))


def replay(recipe: Path, tree: Path) -> Iterator[bytes]:
    """The exact tar stream that was unpacked, in pieces of at most 1 MiB. Raises FormatError when the recipe or a file was
    changed."""
    replaced = recipe.parent / REPLACED
    elsewhere = _moves(recipe) if replaced.is_dir() else {}
    files = 0
    with ExitStack() as stack:
        packed = stack.enter_context(open(recipe, "rb"))
        inside = stack.enter_context(Inside(tree))
        aside = stack.enter_context(Inside(replaced)) if elsewhere else inside
        reader = _Inflated(packed)
        while record := reader.record():
            kind, size, path = record
            if kind == _RAW:
                yield from reader.raw(size)
            elif kind == _FILE:
                number = elsewhere.get(files)
                if number is None:
                    yield from _file(inside, os.fsdecode(path), size)
                else:
                    yield from _file(aside, str(number), size)
                files += 1


def _moves(recipe: Path) -> dict[int, int]:
    """Of the files in the recipe, by number, those that were replaced, and under which number they are kept."""
    found: dict[int, int] = {}
    with open(recipe, "rb") as packed:
        moved = {path for kind, _, path in _Inflated(packed) if kind == _MOVED}
    current: dict[bytes, int] = {}
    files = 0
    with open(recipe, "rb") as packed:
        for kind, number, path in _Inflated(packed):
            if kind == _FILE:
                if path in moved:
                    current[path] = files
                files += 1
            elif kind == _MOVED and path in current:
                found[current.pop(path)] = number
    return found


def _file(inside: Inside, path: str, size: int) -> Iterator[bytes]:
    file = opened(inside, path)
    try:
        while size:
            piece = os.read(file, min(size, _PIECE))
            if not piece:
                raise FormatError(f"'{path}' is shorter than its layer says")
            size -= len(piece)
            yield piece
    finally:
        os.close(file)


class _Inflated:
    """Reads the records of a recipe; as an iterator it skips the bytes of `R`."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._inflater = zlib.decompressobj()
        self._buffer = b""
        self._at = 0

    def __iter__(self) -> Iterator[tuple[bytes, int, bytes]]:
        while record := self.record():
            yield record
            if record[0] == _RAW:
                for _ in self.raw(record[1]):
                    pass

    def record(self) -> tuple[bytes, int, bytes] | None:
        """The next record's letter, number and path. The caller reads the bytes of an `R`."""
        kind = self._exactly(1, may_end=True)
        if not kind:
            return None
        (size,) = struct.unpack(">Q", self._exactly(8))
        if kind == _RAW:
            return kind, size, b""
        (length,) = struct.unpack(">I", self._exactly(4))
        if kind not in (_FILE, _MOVED) or length > _LONGEST:
            raise _damaged()
        return kind, size, self._exactly(length)

    def raw(self, size: int) -> Iterator[bytes]:
        """The bytes of an `R`."""
        while size:
            piece = self._exactly(min(size, _PIECE))
            size -= len(piece)
            yield piece

    def _exactly(self, size: int, *, may_end: bool = False) -> bytes:
        while len(self._buffer) - self._at < size:
            piece = self._inflater.unconsumed_tail or self._source.read(65536)
            try:
                more = self._inflater.decompress(piece, _PIECE) if piece else self._inflater.flush()
            except zlib.error as error:
                raise _damaged() from error
            self._buffer, self._at = self._buffer[self._at :] + more, 0
            if not more and not piece:
                if may_end and not self._buffer and self._inflater.eof:
                    return b""
                raise _damaged()
        self._at += size
        return self._buffer[self._at - size : self._at]


def _damaged() -> FormatError:
    return FormatError(
        "a layer's recipe in the store is damaged",
        hint="'corten store check --repair' removes it; then pull the image again",
    )
