"""Reads a tar stream that somebody else made, entry by entry, in one pass and bounded memory.

The forms are POSIX ustar and PAX (pax(1), "pax Interchange Format"), GNU's (long names, base-256 numbers) and V7. Where readers
differ, this one does as Go's archive/tar, by which the engines read layers: so that nobody sees another tree than they do.
It is not `tarfile`, which reads extensions of any size into memory and takes five times as long for an entry.

Nothing is believed: numbers, checksums, lengths and the counts of entries are checked. What paths may be is not decided here.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from corten.errors import FormatError

BLOCK = 512
MOST_ENTRIES = 1_000_000
LARGEST_EXTENSION = 1 << 20
"""Bytes of one PAX header or long name."""

_ZEROS = bytes(BLOCK)
_ROOT = b"0000000\x000000000\0"
_LARGEST_OWNER = 0xFFFF_FFFE  # the next one means "leave it" to chown(2)
_ADLER_BASE = 65521
_REGULAR = b"0\x007"
_WITHOUT_DATA = b"123456"
_EXTENSIONS = b"xgLK"
_LOCAL, _GLOBAL = b"xg"
_MOST_EXTENSIONS = 8
_KEPT_RECORDS = frozenset({b"path", b"linkpath", b"size", b"uid", b"gid"})

Extensions = dict[bytes, bytes]


class Member(NamedTuple):
    """An entry. `flag` is `0` for every regular file, `1` a hard link, `2` a symbolic link, `3` and `4` devices, `5` a
    directory, `6` a pipe, `g` a global PAX header, which is no entry and has no path. `path` and `link` are as they were written; `size` is that of a file's data in bytes; `raw` is
    everything that the stream says about it: its header and the extensions before it."""

    flag: int
    path: bytes
    link: bytes
    mode: int
    size: int
    uid: int
    gid: int
    raw: bytes


class TarStream:
    """The entries of a plain tar stream. After each `next`, the whole of `data` and then `padding` are read."""

    def __init__(self, pieces: Iterable[bytes], algorithm: str = "sha256") -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0
        self._hash = hashlib.new(algorithm)
        self._global: Extensions = {}
        self.size = 0
        """Bytes that have arrived so far."""
        self.entries = 0
        """How many entries there have been."""

    @property
    def digest(self) -> str:
        """The hash of all that has arrived, in hexadecimal digits."""
        return self._hash.hexdigest()

    def next(self) -> Member | None:
        """The next entry; None at the end of the archive, behind which `tail` lies. Raises FormatError for damage, for
        sparse files (which image-spec forbids), unknown types, and too many entries or too long extensions."""
        extensions: Extensions = {}
        raw = b""
        for _ in range(_MOST_EXTENSIONS + 1):
            block = self._take(BLOCK, may_end=not raw)
            if not block or block == _ZEROS:
                if raw:
                    raise FormatError("a layer's tar stream ends within an entry")
                self._piece, self._at = block + self._piece[self._at :], 0
                return None
            _check(block)
            flag = block[156]
            if flag not in _EXTENSIONS:
                self._count()
                return _member(block, raw + block if raw else block, extensions or self._global)
            payload, whole = self._extension(_number(block[124:136], "size"))
            raw += block + whole
            if flag == _GLOBAL and not extensions:
                self._global.update(_records(payload))
                self._count()
                return Member(_GLOBAL, b"", b"", 0, 0, 0, 0, raw)
            elif flag == _LOCAL:
                long = {key: value for key, value in extensions.items() if len(key) == 1}
                extensions = {**self._global, **_records(payload), **long}
            elif flag != _GLOBAL:
                extensions = extensions or dict(self._global)
                extensions[b"%c" % flag] = payload.split(b"\0", 1)[0]
            else:
                break
        raise FormatError("a layer has an entry with too many extension headers")

    def _count(self) -> None:
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            raise FormatError(f"a layer has more than {MOST_ENTRIES} entries")

    def data(self, size: int) -> Iterator[memoryview | bytes]:
        """The next `size` bytes in pieces. Raises FormatError when the stream has no more."""
        while size:
            have = len(self._piece) - self._at
            if not have:
                self._more("within a file")
                continue
            part = (
                memoryview(self._piece)[self._at : self._at + size]
                if have > size or self._at
                else self._piece
            )
            self._at += len(part)
            size -= len(part)
            yield part

    def padding(self, size: int) -> bytes:
        """What lies between data of `size` bytes and the next header. At the end of the stream it may be short or missing:
        some writers end there, and Go's archive/tar takes it for the end."""
        return self._take(-size % BLOCK, may_be_short=True) if size % BLOCK else b""

    def tail(self) -> Iterator[bytes]:
        """The rest of the stream: the end mark and what follows it. Raises FormatError for an end mark that is no end."""
        first = self._take(2 * BLOCK, may_end=True, may_be_short=True)
        if first.strip(b"\0"):
            raise FormatError("a layer's tar stream goes on after its end")
        yield first
        while True:
            rest = self._piece[self._at :] if self._at else self._piece
            self._at = len(self._piece)
            if rest:
                yield rest
            if not self._fill():
                return

    def _extension(self, size: int) -> tuple[bytes, bytes]:
        if size > LARGEST_EXTENSION:
            raise FormatError(f"a layer has an extension header of {size} bytes")
        whole = self._take(size + -size % BLOCK)
        return whole[:size], whole

    def _take(self, size: int, *, may_end: bool = False, may_be_short: bool = False) -> bytes:
        start, stop = self._at, self._at + size
        if stop <= len(self._piece):
            self._at = stop
            return self._piece[start:stop]
        parts = [self._piece[start:]]
        have = len(parts[0])
        self._piece, self._at = b"", 0
        while have < size:
            if not self._fill():
                if may_be_short or (may_end and not have):
                    break
                raise FormatError("a layer's tar stream ends early")
            part = self._piece[: size - have]
            self._at = len(part)
            have += len(part)
            parts.append(part)
        return b"".join(parts)

    def _more(self, where: str) -> None:
        if not self._fill():
            raise FormatError(f"a layer's tar stream ends {where}")

    def _fill(self) -> bool:
        for piece in self._pieces:
            if piece:
                self._hash.update(piece)
                self.size += len(piece)
                self._piece, self._at = piece, 0
                return True
        self._piece, self._at = b"", 0
        return False


def _check(block: bytes) -> None:
    """Raise FormatError unless the block's checksum, the sum of its bytes with the checksum's own as spaces, is right."""
    # Adler's first half is 1 plus the sum of the bytes, modulo a prime: twenty times as fast as `sum`.
    summed = (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 256
    if (summed - _number(block[148:156], "checksum")) % _ADLER_BASE:
        raise FormatError("a layer's tar stream is damaged: a header's checksum is wrong")


def _member(block: bytes, raw: bytes, extensions: Extensions) -> Member:
    flag = block[156]
    path = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and block[345]:
        path = block[345:500].split(b"\0", 1)[0] + b"/" + path
    link = block[157:257].split(b"\0", 1)[0] if block[157] else b""
    size = _number(block[124:136], "size")
    uid = gid = 0
    if block[108:124] != _ROOT:
        uid, gid = _number(block[108:116], "owner"), _number(block[116:124], "group")
    if extensions:
        path = extensions.get(b"L") or extensions.get(b"path") or path
        link = extensions.get(b"K") or extensions.get(b"linkpath") or link
        size = _decimal(extensions, b"size", size)
        uid, gid = _decimal(extensions, b"uid", uid), _decimal(extensions, b"gid", gid)
    if uid > _LARGEST_OWNER or gid > _LARGEST_OWNER:
        raise FormatError(f"the layer's '{printable(path)}' has an owner that cannot be")
    if flag in _WITHOUT_DATA:
        size = 0
    elif flag in _REGULAR:
        flag = 53 if flag == 0 and path.endswith(b"/") else 48
    elif flag == 83:
        raise sparse(path)
    else:
        raise FormatError(f"the layer's '{printable(path)}' is of the unknown type {bytes([flag])!r}")
    if b"\0" in path or b"\0" in link:
        raise FormatError(f"the layer's '{printable(path)}' has a null in its name")
    return Member(flag, path, link, _number(block[100:108], "mode"), size, uid, gid, raw)


def sparse(path: bytes) -> FormatError:
    """Why a sparse file is refused."""
    return FormatError(f"the layer's '{printable(path)}' is a sparse tar entry, which image-spec forbids")


def printable(path: bytes) -> str:
    """A name from outside, for a message."""
    text = path[:100].decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else "?" for letter in text) + (
        "…" if len(path) > 100 else ""
    )


def _number(field: bytes, name: str) -> int:
    """Octal digits among spaces and nulls, or GNU's base-256 (a first byte of 0x80). Never negative."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise FormatError(f"a layer's tar stream is damaged: its {name} is negative or too large")
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0").split(b"\0", 1)[0]
    if not digits:
        return 0
    try:
        if digits.isdigit():  # int() would also take underscores, signs and a prefix
            return int(digits, 8)
    except ValueError:
        pass
    raise FormatError(f"a layer's tar stream is damaged: its {name} is not a number")


def _decimal(extensions: Extensions, key: bytes, default: int) -> int:
    text = extensions.get(key)
    if not text:
        return default
    if not text.isdigit() or len(text) > 19:
        raise FormatError(f"a layer's PAX header is damaged: '{key.decode()}' is not a number")
    return int(text)


def _records(payload: bytes) -> Extensions:
    """The records of a PAX header that matter: `length key=value\\n`."""
    found: Extensions = {}
    at = 0
    while at < len(payload):
        space = payload.find(b" ", at, at + 20)
        digits = payload[at:space]
        stop = at + int(digits) if space > at and digits.isdigit() else 0
        key, equals, value = payload[space + 1 : stop - 1].partition(b"=")
        if not at < space < stop <= len(payload) or payload[stop - 1] != 10 or not key or not equals:
            raise FormatError("a layer's PAX header is damaged")
        if key.startswith(b"GNU.sparse."):
            raise sparse(value if key == b"GNU.sparse.name" else b"")
        if key in _KEPT_RECORDS:
            found[key] = value
        at = stop
    return found
