"""What is inside a .deb (deb(5)): an ar archive with a tar of control files and a tar of the files to be unpacked.

Everything is read as a stream, in pieces, and bounded; nothing is trusted. Names come out relative, without `.` and `..`.
The tar forms are those that dpkg takes: ustar and GNU long names. Devices, pax headers and sparse files are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Literal

from corten.errors import FormatError
from corten.lazy import regex
from corten.packages.debian import paragraph
from corten.packages.debian.ahead import read_ahead
from corten.packages.debian.compressed import DAMAGED as _HINT
from corten.packages.debian.compressed import unpacked
from corten.values import dataclass, field

Kind = Literal["file", "directory", "symlink", "hardlink"]

LARGEST = 16 << 30
"""No package unpacks to more than this many bytes (the largest in Debian has 3 GB)."""

_ALWAYS = 64 << 20
_RATIO = 500
"""Beyond the first mebibytes nothing unpacks to more than this many times its size (Debian's own stay below 60)."""

_DEEPEST = 128
"""Directories within each other in one path."""

_MOST_ENTRIES = 1_000_000
_LARGEST_CONTROL = 64 << 20
_LARGEST_NAME = 4096
_CHUNK = 1 << 18
_BLOCK = 512
_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"5": "directory",
}
_SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config", "templates", "triggers")
_MD5 = regex(r"([0-9a-f]{32}) [ *](.+)")


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a package. `path` is relative, `/`-separated, never with `.` or `..`, and empty for the root itself;
    `executable` tells whether anybody may execute a file; `link` is the target of a symbolic link as written, or the path
    of the entry that a hard link repeats."""

    path: str
    kind: Kind
    executable: bool = False
    size: int = 0
    link: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """The control files. `text` is the control paragraph as it stands in the package, `fields` its fields by lower-case
    name, `md5sums` the sums by path, `scripts` the maintainer scripts (to be read, never run)."""

    text: str
    fields: dict[str, str] = field(repr=False)
    md5sums: dict[str, str] = field(repr=False)
    scripts: dict[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """The package's name."""
        return self.fields.get("package", "")


Content = Callable[[], Iterator[bytes]]
"""The bytes of the file that was just read, in pieces. Only valid until the next entry."""


def read_control(path: Path) -> Control:
    """The control files of the package at `path`. Raises FormatError."""
    with path.open("rb") as file:
        return read_control_of(file, path.name)


def read_control_of(file: IO[bytes], name: str) -> Control:
    """The same of an open file called `name`, of which only the beginning with the control files is needed."""
    text: str | None = None
    md5sums: dict[str, str] = {}
    scripts: dict[str, str] = {}
    reader = _Reader(_member(file, name, "control.tar"), _LARGEST_CONTROL, name)
    for member, content in _entries(reader, name):
        if member.kind != "file" or member.path not in ("control", "md5sums", *_SCRIPTS):
            continue
        data = b"".join(content()).decode("utf-8", "replace")
        if member.path == "control":
            text = data
        elif member.path == "md5sums":
            found = (_MD5.fullmatch(line) for line in data.splitlines())
            md5sums = {match[2].removeprefix("./"): match[1] for match in found if match}
        else:
            scripts[member.path] = data
    if text is None:
        raise FormatError(f"'{name}' is not a Debian package: it has no control file")
    return Control(text, paragraph.parse(text, f"the control file of '{name}'"), md5sums, scripts)


def control_end(beginning: bytes) -> int | None:
    """How many bytes of a package it takes to read its control files, by its first ones (deb(5)); None where those do not tell."""
    if len(beginning) < 132 or not beginning.startswith(b"!<arch>\n"):
        return None
    first = beginning[56:66].strip()
    if not first.isdigit():
        return None
    offset = 68 + int(first) + int(first) % 2
    header = beginning[offset : offset + 60]
    size = header[48:58].strip()
    if len(header) < 60 or not header.startswith(b"control.tar") or not size.isdigit():
        return None
    return offset + 60 + int(size)


Entries = Iterator[tuple[Member, Content]]


@contextmanager
def contents(path: Path) -> Iterator[Entries]:
    """The entries of the package at `path` in its own order, each with its bytes. Raises FormatError: also at the very
    end, when the file turns out to be cut or damaged."""
    with _opened(path, "data.tar") as pieces:
        yield _entries(_Reader(pieces, LARGEST, path.name), path.name)


@contextmanager
def contents_of(paths: Sequence[Path]) -> Iterator[Iterator[Entries]]:
    """`contents` of each package in turn, while the next ones are being decompressed. Use each before the next."""

    def stream(path: Path) -> Iterator[bytes]:
        with _opened(path, "data.tar") as pieces:
            yield from pieces

    with read_ahead([partial(stream, path) for path in paths]) as streams:
        yield (
            _entries(_Reader(pieces, LARGEST, path.name), path.name)
            for path, pieces in zip(paths, streams, strict=True)
        )


# --- ar ------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, wanted: str) -> Iterator[Iterator[bytes]]:
    """The unpacked bytes of a member, in pieces."""
    with path.open("rb") as file:
        yield _member(file, path.name, wanted)


def _member(file: IO[bytes], name: str, wanted: str) -> Iterator[bytes]:
    offset, size, suffix = _ar_member(file, wanted, name)
    file.seek(offset)
    return _sparing(unpacked(_window(file, size, name), suffix, name), size, name)


def _sparing(pieces: Iterator[bytes], packed: int, name: str) -> Iterator[bytes]:
    """`pieces`, as long as they are not out of all proportion to the bytes that they were packed into."""
    left = min(_ALWAYS + _RATIO * packed, LARGEST)
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise FormatError(f"'{name}' unpacks to more bytes than any package may have")
        yield piece


def _ar_member(file: IO[bytes], wanted: str, name: str) -> tuple[int, int, str]:
    """Offset, size and suffix (`.xz`) of the member called `wanted` (deb(5))."""
    file.seek(0, 2)
    end = file.tell()
    file.seek(0)
    if file.read(8) != b"!<arch>\n":
        raise FormatError(f"'{name}' is not a Debian package", hint=_HINT)
    offset = 8
    for number in range(20):
        file.seek(offset)
        header = file.read(60)
        if not header and number:
            break
        member = header[:16].rstrip(b" ").rstrip(b"/").decode("ascii", "replace")
        digits = header[48:58].strip()
        if len(header) != 60 or header[58:] != b"`\n" or not digits.isdigit():
            raise FormatError(f"'{name}' is cut or damaged", hint=_HINT)
        size = int(digits)
        if offset + 60 + size > end:
            raise FormatError(f"'{name}' is cut: '{member}' ends before its {size} bytes", hint=_HINT)
        if number == 0 and (member != "debian-binary" or file.read(min(size, 16))[:2] != b"2."):
            raise FormatError(f"'{name}' is not a Debian package of format 2")
        if member == wanted or member.startswith(wanted + "."):
            return offset + 60, size, member[len(wanted) :]
        offset += 60 + size + size % 2
    raise FormatError(f"'{name}' is not a Debian package: it has no '{wanted}'", hint=_HINT)


def _window(file: IO[bytes], size: int, name: str) -> Iterator[bytes]:
    while size:
        chunk = file.read(min(_CHUNK, size))
        if not chunk:
            raise FormatError(f"'{name}' is cut", hint=_HINT)
        size -= len(chunk)
        yield chunk


class _Reader:
    """Exact reads from a stream of pieces. Raises FormatError at the stream's end and beyond `limit` bytes."""

    def __init__(self, pieces: Iterator[bytes], limit: int, name: str) -> None:
        self._pieces = pieces
        self._buffer = memoryview(b"")
        self._left = limit
        self._name = name

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        if len(self._buffer) >= size:
            piece, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
            return piece
        return b"".join(self.stream(size))

    def stream(self, size: int) -> Iterator[bytes]:
        """Exactly `size` bytes, in pieces."""
        while size:
            if not self._buffer and not self._fill():
                raise FormatError(f"'{self._name}' is cut", hint=_HINT)
            piece = self._buffer[:size]
            self._buffer = self._buffer[len(piece) :]
            size -= len(piece)
            yield bytes(piece)

    def finish(self) -> None:
        """Read on to the end, so that the compression's own checksum is compared."""
        while self._fill():
            pass

    def _fill(self) -> bool:
        piece = next(self._pieces, b"")
        self._left -= len(piece)
        if self._left < 0:
            raise FormatError(f"'{self._name}' unpacks to more bytes than any package may have")
        self._buffer = memoryview(piece)
        return bool(piece)


# --- tar -----------------------------------------------------------------------------------------------------


def _entries(reader: _Reader, name: str) -> Iterator[tuple[Member, Content]]:
    long_name: bytes | None = None
    long_link: bytes | None = None
    for _ in range(_MOST_ENTRIES):
        header = reader.read(_BLOCK)
        if header == bytes(_BLOCK):
            reader.finish()
            return
        _check(header, name)
        flag, size = header[156:157], _number(header[124:136], name)
        if flag in (b"L", b"K"):
            if size > _LARGEST_NAME:
                raise FormatError(f"'{name}' has a path of {size} bytes")
            text = reader.read(size + -size % _BLOCK)[:size].rstrip(b"\0")
            long_name, long_link = (text, long_link) if flag == b"L" else (long_name, text)
            continue
        kind = _KINDS.get(flag)
        raw = header[:100].rstrip(b"\0").split(b"\0")[0]
        if header[257:263] == b"ustar\0" and header[345] != 0:
            raw = header[345:500].split(b"\0")[0] + b"/" + raw
        raw = long_name if long_name is not None else raw
        path = _path(raw, name)
        raw_link = long_link if long_link is not None else header[157:257].split(b"\0")[0]
        long_name = long_link = None
        if kind is None:
            raise FormatError(f"'{name}' has an entry of a kind that is refused: '{path}'")
        link = ""
        if kind == "hardlink":
            link = _path(raw_link, name)
        elif kind == "symlink":
            link = _text(raw_link, name)
        if kind != "file":
            size = 0
        elif raw.endswith(b"/"):
            kind, size = "directory", 0  # so did tar before 1988
        if not path and kind != "directory":
            raise FormatError(f"'{name}' has an entry without a name")
        if kind in ("symlink", "hardlink") and not link:
            raise FormatError(f"'{name}' has a link to nowhere: '{path}'")
        body = _Body(reader, size)
        yield Member(path, kind, bool(_number(header[100:108], name) & 0o111), size, link), body.stream
        body.skip()
    raise FormatError(f"'{name}' has too many entries")


class _Body:
    """The bytes of one entry; what is not asked for is passed over."""

    def __init__(self, reader: _Reader, size: int) -> None:
        self._reader = reader
        self._padding = -size % _BLOCK
        self._pieces: Iterator[bytes] = reader.stream(size)

    def stream(self) -> Iterator[bytes]:
        return self._pieces

    def skip(self) -> None:
        for _ in self._pieces:
            pass
        self._reader.read(self._padding)


def _check(header: bytes, name: str) -> None:
    """Compare the header's checksum (POSIX.1-1988 ustar): the sum of its bytes with spaces in the sum's own place."""
    try:
        stated = int(header[148:156].split(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        stated = -1
    if stated != sum(header) - sum(header[148:156]) + 8 * 32:
        raise FormatError(f"'{name}' is damaged: a file header is wrong", hint=_HINT)


def _number(raw: bytes, name: str) -> int:
    """An octal number, or a binary one marked by the top bit (GNU)."""
    try:
        number = (
            int.from_bytes(raw[1:], "big") if raw[0] == 0x80 else int(raw.split(b"\0")[0].strip() or b"0", 8)
        )
    except ValueError:
        number = -1
    if not 0 <= number <= LARGEST:
        raise FormatError(f"'{name}' is damaged: a file header is wrong", hint=_HINT)
    return number


def _text(raw: bytes, name: str) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"'{name}' has a path that is not UTF-8: {raw[:100]!r}") from error
    if len(raw) > _LARGEST_NAME or any(character in text for character in "\0\n\r"):
        raise FormatError(f"'{name}' has a path that is refused: {text[:100]!r}")
    return text


def _path(raw: bytes, name: str) -> str:
    text = _text(raw, name)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if (
        text.startswith("/")
        or ".." in parts
        or len(parts) > _DEEPEST
        or any(len(part.encode()) > 255 for part in parts)
    ):
        raise FormatError(f"'{name}' has a path that is refused: {text[:100]!r}")
    return "/".join(parts)
