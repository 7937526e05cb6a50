"""The one canonical tar form of a layer made by Corten (image-spec, layer.md).

POSIX ustar headers; a PAX header only for what ustar cannot hold (long or non-ASCII names, files of 8 GiB and more); no
global headers; owner 0:0 by number, without names; one fixed time. Equal entries and bytes give an equal stream, whatever
the machine, so that a layer's tar never has to be stored.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from corten.errors import FormatError
from corten.oci.digest import Digest
from corten.oci.inside import Inside
from corten.values import dataclass, replace

EPOCH = 315532800
"""1980-01-01T00:00:00Z, the earliest time that a zip archive can hold, in seconds."""

Kind = Literal["file", "directory", "symlink", "hardlink"]

_BLOCK = 512
_END = b"\0" * (2 * _BLOCK)
_TYPE_FLAGS: dict[Kind, bytes] = {"file": b"0", "hardlink": b"1", "symlink": b"2", "directory": b"5"}
_KINDS: dict[str, Kind] = {"f": "file", "d": "directory", "l": "symlink", "h": "hardlink"}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
_LARGEST_USTAR_SIZE = 0o77777777777
_CHUNK = 1 << 20
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL)
DEEPEST = 256
"""Folders within each other. Each is held open while what is in it is read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a layer, relative, with `/` and without a trailing one. `size` is in bytes, 0 for all but files;
    `link` is the target of a symbolic or hard link."""

    path: str
    kind: Kind
    mode: int
    size: int = 0
    link: str = ""


def header(entry: Entry, uid: int = 0, gid: int = 0) -> bytes:
    """The header blocks of `entry`, which belongs to `uid`:`gid`. Raises FormatError for names that are not UTF-8."""
    name = entry.path + "/" if entry.kind == "directory" else entry.path
    records: dict[str, str] = {}
    prefix, short = _split(name)
    if short is None:
        records["path"] = name
        prefix, short = b"", name.encode("ascii", "replace")[:100]
    link = entry.link
    encoded_link = link.encode("ascii", "replace")
    if len(encoded_link) > 100 or not link.isascii():
        records["linkpath"] = link
        encoded_link = encoded_link[:100]
    size = entry.size
    if size > _LARGEST_USTAR_SIZE:
        records["size"] = str(size)
        size = 0
    block = _ustar(short, prefix, entry.mode, size, _TYPE_FLAGS[entry.kind], encoded_link, uid, gid)
    if not records:
        return block
    try:
        payload = b"".join(_pax_record(key, value) for key, value in sorted(records.items()))
    except UnicodeEncodeError as error:
        raise FormatError(f"the file name {entry.path!r} is not UTF-8", hint="rename the file") from error
    return _ustar(b"././@PaxHeader", b"", 0o644, len(payload), b"x", b"") + _padded(payload) + block


def _split(name: str) -> tuple[bytes, bytes | None]:
    """The ustar prefix and name fields for `name`; no name where ustar cannot hold it."""
    if not name.isascii():
        return b"", None
    raw = name.encode("ascii")
    if len(raw) <= 100:
        return b"", raw
    cut = raw.rfind(b"/", 0, 156)
    # The trailing slash of a directory is part of its name: never split there.
    while cut > 0 and cut == len(raw) - 1:
        cut = raw.rfind(b"/", 0, cut)
    if cut <= 0 or len(raw) - cut - 1 > 100:
        return b"", None
    return raw[:cut], raw[cut + 1 :]


def _ustar(
    name: bytes, prefix: bytes, mode: int, size: int, flag: bytes, link: bytes, uid: int = 0, gid: int = 0
) -> bytes:
    head = b"%-100b%07o\0%07o\0%07o\0%011o\0%011o\0" % (b"", mode & 0o7777, uid, gid, size, EPOCH)
    head = name.ljust(100, b"\0") + head[100:]
    tail = flag + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\0"
    tail += prefix.ljust(155, b"\0") + bytes(12)
    checksum = sum(head) + sum(tail) + 8 * 32
    return head + b"%06o\0 " % checksum + tail


def _pax_record(key: str, value: str) -> bytes:
    body = b" " + key.encode() + b"=" + value.encode() + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _BLOCK)


def scan(tree: Path) -> list[Entry]:
    """The canonical entries of the directory `tree`: sorted by path, parents first; regular files become 0644 or 0755
    by their executable bit, directories 0755, or 1777 where the sticky bit is set. The root itself has no entry.
    No link is followed, whatever changes in the tree meanwhile. Raises FormatError for anything that is not a file, a directory
    or a symbolic link."""
    return _scanned(tree, settled=False)


def settle(tree: Path, open_below: str = "") -> list[Entry]:
    """The same, after giving everything below `tree`, and `tree` itself, the mode on this disk that its entry has:
    whatever umask it was written with, containers see what the tar stream says. Everybody may write to what is in `open_below`, a
    path in the tree, and to that folder itself."""
    return _scanned(tree, settled=True, open_below=open_below)


def _scanned(tree: Path, settled: bool, open_below: str = "") -> list[Entry]:
    entries: list[Entry] = []
    root = os.open(tree, _ENTER)
    try:
        if settled:
            os.fchmod(root, 0o755)
        _scan_directory(root, "", entries, settled, 0, open_below)
    finally:
        os.close(root)
    entries.sort(key=_order)
    return entries


def _order(entry: Entry) -> bytes:
    # Components compare one by one, so a directory's entries follow it before its next sibling ("a/b" before "a-b").
    return entry.path.encode("utf-8", "surrogateescape").replace(b"/", b"\0")


def _scan_directory(
    directory: int, prefix: str, entries: list[Entry], settled: bool, depth: int, open_below: str
) -> None:
    """Add what is in the open directory `directory`. Everything below it is reached through its descriptor: a directory that
    becomes a link meanwhile leads nowhere."""
    if depth > DEEPEST:
        raise FormatError(f"'{prefix[:100]}…' lies more than {DEEPEST} folders deep")
    path = prefix
    try:
        with os.scandir(directory) as listing:
            for item in listing:
                path = prefix + item.name
                status = item.stat(follow_symlinks=False)
                entry = _entry(directory, item.name, path, status)
                if open_below and f"{path}/".startswith(f"{open_below}/") and entry.kind != "symlink":
                    entry = replace(entry, mode=entry.mode | 0o022)
                entries.append(entry)
                if settled and entry.kind != "symlink" and stat.S_IMODE(status.st_mode) != entry.mode:
                    _settle_one(directory, item.name, path, status, entry.mode)
                if entry.kind == "directory":
                    inner = os.open(item.name, _ENTER, dir_fd=directory)
                    try:
                        _scan_directory(inner, path + "/", entries, settled, depth + 1, open_below)
                    finally:
                        os.close(inner)
    except OSError as error:
        if error.errno in _CHANGED:
            raise FormatError(f"'{path}' was changed while it was read") from error
        raise


def _entry(directory: int, name: str, path: str, status: os.stat_result) -> Entry:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return Entry(path, "directory", 0o1777 if mode & stat.S_ISVTX else 0o755)
    if stat.S_ISREG(mode):
        return Entry(path, "file", 0o755 if mode & 0o100 else 0o644, status.st_size)
    if stat.S_ISLNK(mode):
        return Entry(path, "symlink", 0o777, 0, os.readlink(name, dir_fd=directory))
    raise FormatError(f"'{path}' is neither a file, a directory nor a symbolic link")


def _settle_one(directory: int, name: str, path: str, seen: os.stat_result, mode: int) -> None:
    """Give a file or a directory its mode, and nothing else: what is at `name` must still be what was `seen`. The descriptor
    needs no right to read it, and chmod(2) has no way to follow no link."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino, found.st_mode) != (seen.st_dev, seen.st_ino, seen.st_mode):
            raise FormatError(f"'{path}' was changed while it was read")
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def stream(entries: Iterable[Entry], tree: Path) -> Iterator[bytes]:
    """The canonical tar stream of `entries`, with the bytes of the files below `tree`, in pieces of at most 1 MiB. No link is
    followed. Raises FormatError when a file is not there, or not as long as its entry says: the tree was changed."""
    with Inside(tree) as inside:
        for entry in entries:
            yield header(entry)
            if entry.kind != "file" or entry.size == 0:
                continue
            left = entry.size
            file = opened(inside, entry.path)
            try:
                while left:
                    piece = os.read(file, min(_CHUNK, left))
                    if not piece:
                        raise FormatError(f"'{entry.path}' is shorter than its entry says")
                    left -= len(piece)
                    yield piece
            finally:
                os.close(file)
            padding = -entry.size % _BLOCK
            if padding:
                yield bytes(padding)
    yield _END


def opened(inside: Inside, path: str) -> int:
    """The descriptor of a layer's regular file. Raises FormatError where something else, or nothing, is at `path`."""
    try:
        return inside.open(path)
    except OSError as error:
        if error.errno in _CHANGED:
            raise FormatError(f"'{path}' is not there any more, or is no file") from error
        raise


def digest(
    entries: Iterable[Entry], tree: Path, advance: Callable[[int], None] | None = None
) -> tuple[Digest, int]:
    """The diff ID and the size in bytes of the canonical tar stream. `advance` hears of every piece's length."""
    import hashlib  # with OpenSSL, which a container that starts has no use for

    sha256 = hashlib.sha256()
    size = 0
    for piece in stream(entries, tree):
        sha256.update(piece)
        size += len(piece)
        if advance:
            advance(len(piece))
    return Digest.from_hex(sha256.hexdigest()), size


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """The entries as JSON lines: `[letter, path, mode, size or link]`, what the store keeps beside an unpacked layer."""
    lines = []
    for entry in entries:
        last: int | str = entry.size if entry.kind == "file" else entry.link
        lines.append(json.dumps([_LETTERS[entry.kind], entry.path, entry.mode, last], separators=(",", ":")))
    return "\n".join([*lines, ""]).encode()


def decode_entries(lines: Iterable[str]) -> Iterator[Entry]:
    """The entries that `encode_entries` wrote, one by one. Raises FormatError."""
    for line in lines:
        try:
            letter, path, mode, last = json.loads(line)
            kind = _KINDS[letter]
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError("a layer's list of entries is damaged") from error
        yield Entry(path, kind, mode, last if kind == "file" else 0, "" if kind == "file" else last)
