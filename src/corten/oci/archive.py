"""The members of a tar file by name: what OCI archives and `docker save` are (POSIX ustar and pax, GNU's long names).

Nothing is unpacked: members are read where they lie. The file is hostile: names that lead out, links that do, the same name
twice, sparse entries and devices are refused, and what is read into memory is bounded.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from corten.errors import FormatError
from corten.values import dataclass

MOST_MEMBERS = 20_000
"""An image has 127 layers at most, in `docker save`'s older form with three members each."""

_BLOCK = 512
_LARGEST_EXTENSION = 64 << 10
_MOST_LINKS = 8
_BUFFER = 1 << 20


class Members(Protocol):
    """Files by their names: a folder's, or a tar file's."""

    @property
    def title(self) -> str:
        """What people call the whole, for messages."""

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def open(self, name: str) -> BinaryIO:
        """The file's bytes, from any thread. Raises FileNotFoundError."""

    def size(self, name: str) -> int:
        """The file's length in bytes. Raises FileNotFoundError."""


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    size: int


class Archive:
    """The plain tar file open as `file`, which must stay open. Raises FormatError for one that is not a tar file, is cut
    short, or holds what no image archive has."""

    def __init__(self, file: BinaryIO, title: str) -> None:
        self._title = title
        self._descriptor = file.fileno()
        self._end = os.fstat(self._descriptor).st_size
        self._places: dict[str, _Place] = {}
        self._links: dict[str, str] = {}
        for count, header in enumerate(self._headers()):
            if count == MOST_MEMBERS:
                raise self._refused(f"has more than {MOST_MEMBERS} members")
            self._note(header)

    @property
    def title(self) -> str:
        """What people call the file."""
        return self._title

    def has(self, name: str) -> bool:
        """Whether there is a member of this name that is a file, or a link to one."""
        return self._find(name) is not None

    def open(self, name: str) -> BinaryIO:
        """The member's bytes, from any thread. Raises FileNotFoundError."""
        return io.BufferedReader(_Slice(self._descriptor, self._at(name)), _BUFFER)

    def size(self, name: str) -> int:
        """The member's length in bytes. Raises FileNotFoundError."""
        return self._at(name).size

    def _at(self, name: str) -> _Place:
        place = self._find(name)
        if place is None:
            raise FileNotFoundError(name)
        return place

    def _find(self, name: str) -> _Place | None:
        for _ in range(_MOST_LINKS):
            if name not in self._links:
                break
            name = self._links[name]
        return self._places.get(name)

    def _note(self, header: _Header) -> None:
        name = self._inside(header.name, "")
        if header.type == tarfile.DIRTYPE:
            return
        if name in self._places or name in self._links:
            raise self._refused(f"has the member '{name}' twice")
        if header.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
            self._places[name] = _Place(header.offset, header.size)
        elif header.type == tarfile.SYMTYPE:
            # Older `docker save` writes a layer that comes twice as a link to its first place.
            self._links[name] = self._inside(header.link, os.path.dirname(name))
        elif header.type == tarfile.LNKTYPE:
            self._links[name] = self._inside(header.link, "")
        else:
            raise self._refused(f"has the member '{name}', which is neither a file nor a folder nor a link")

    def _inside(self, path: str, start: str) -> str:
        """`path`, seen from the folder `start`, without detours."""
        walked = [part for part in start.split("/") if part]
        for part in path.split("/"):
            if part == ".." and walked and start:
                walked.pop()
            elif part == ".." or "\0" in part:
                raise self._refused(f"has the member or link '{path[:100]}', which leads out of it")
            elif part not in ("", "."):
                walked.append(part)
        if path.startswith("/"):
            raise self._refused(f"has the member or link '{path[:100]}', which leads out of it")
        return "/".join(walked)

    def _headers(self) -> Iterator[_Header]:
        """Every member's header with its extensions applied."""
        offset = 0
        extended: dict[str, str] = {}
        while (block := self._block(offset)) is not None:
            info = self._parsed(block, first=offset == 0)
            offset += _BLOCK
            size = info.size
            if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE):
                found = self._pax(self._extension(offset, size))
                if info.type != tarfile.XGLTYPE:
                    extended |= found
            elif info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
                key = "path" if info.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
                extended[key] = self._text(self._extension(offset, size).split(b"\0", 1)[0])
            else:
                size = self._number(extended.get("size"), size) if info.isreg() else 0
                if offset + size > self._end:
                    raise self._refused("ends early")
                name, link = extended.get("path", info.name), extended.get("linkpath", info.linkname)
                yield _Header(name, info.type, link, offset, size)
                extended = {}
            offset += -(-size // _BLOCK) * _BLOCK

    def _block(self, offset: int) -> bytes | None:
        """The header at `offset`; None at the end."""
        block = os.pread(self._descriptor, _BLOCK, offset)
        if not block and offset and offset >= self._end:
            return None
        if len(block) < _BLOCK:
            raise self._refused("ends early" if offset else "is not a tar file")
        return block if block.count(0) != _BLOCK else None

    def _parsed(self, block: bytes, *, first: bool) -> tarfile.TarInfo:
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as error:
            raise self._refused("is not a tar file" if first else "is damaged") from error
        if info.size < 0:
            raise self._refused("is damaged")
        return info

    def _extension(self, offset: int, size: int) -> bytes:
        if size > _LARGEST_EXTENSION:
            raise self._refused(f"has an extension header of {size} bytes")
        data = os.pread(self._descriptor, size, offset)
        if len(data) < size:
            raise self._refused("ends early")
        return data

    def _pax(self, data: bytes) -> dict[str, str]:
        """The records of a pax header that matter here (POSIX.1-2017, pax, "pax Header Block")."""
        found: dict[str, str] = {}
        while data.strip(b"\0"):
            digits, space, _ = data.partition(b" ")
            length = int(digits) if space and digits.isdigit() and len(digits) < 8 else 0
            record, data = data[len(digits) + 1 : length], data[length:]
            key, equals, value = record.partition(b"=")
            if not equals or not record.endswith(b"\n"):
                raise self._refused("has a damaged extension header")
            if key.startswith(b"GNU.sparse"):
                raise self._refused("has a sparse member")
            if key in (b"path", b"linkpath", b"size"):
                found[key.decode()] = self._text(value[:-1])
        return found

    def _number(self, text: str | None, otherwise: int) -> int:
        if text is None:
            return otherwise
        if not text.isdigit() or not text.isascii() or len(text) > 18:
            raise self._refused("has a damaged extension header")
        return int(text)

    def _text(self, data: bytes) -> str:
        return data.decode("utf-8", "surrogateescape")

    def _refused(self, why: str) -> FormatError:
        return FormatError(f"'{self._title}' {why}")


@dataclass(frozen=True, slots=True)
class _Header:
    name: str
    type: bytes
    link: str
    offset: int
    size: int


class _Slice(io.RawIOBase):
    """A part of a file, read without moving the file's own position."""

    def __init__(self, descriptor: int, place: _Place) -> None:
        self._descriptor, self._place, self._read = descriptor, place, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: self._place.size - self._read]
        if not len(view):
            return 0
        count = os.preadv(self._descriptor, [view], self._place.offset + self._read)
        if count == 0:
            raise FormatError("the archive became shorter while it was read")
        self._read += count
        return count
