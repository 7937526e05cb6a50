"""Layers from elsewhere: a tar stream is unpacked safely, and what it takes to produce the same stream again is noted.

A foreign tar may be written in any of the many ways that tar allows, and its diff ID covers every byte of it. So the
stream is split: the bytes of regular files go to the tree, everything else (headers, padding) into a recipe that names
those files in order (the idea of moby's tar-split). Whiteouts become what overlayfs understands (image-spec, layer.md,
"Whiteouts"; the kernel's overlayfs.rst).

The stream is hostile: no entry leads out of the tree, no device is made, no set-user-ID bit is kept, and sizes are bounded.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from corten.errors import FormatError

_RAW = b"R"
_FILE = b"F"
_PIECE = 1 << 20
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
MOST_ENTRIES = 1_000_000
DEEPEST = 256
"""Components of a path. The kernel would take 2,000; walks that recurse and hold a descriptor for each would not."""
_LARGEST_EXTENSION = 1 << 20
_PLAIN_TYPES = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a layer holds: the number of entries and the bytes of its files."""

    entries: int
    size: int


def decompressed(source: BinaryIO, media_type: str, limit: int) -> Iterator[bytes]:
    """The plain tar stream in a layer blob. Raises FormatError for more than `limit` bytes, for damage, and for
    compression that is not gzip."""
    if media_type.endswith(("+zstd", ".zstd")):
        raise FormatError(
            "the base has layers in zstd", hint="copy it with 'skopeo copy --dest-compress-format gzip'"
        )
    total = 0
    packed = media_type.endswith(("gzip", ".gz"))
    inflater = zlib.decompressobj(31) if packed else None
    while piece := source.read(_PIECE):
        while piece:
            if inflater is None:
                plain, piece = piece, b""
            else:
                try:
                    plain = inflater.decompress(piece, _PIECE)
                except zlib.error as error:
                    raise FormatError("a layer's gzip stream is damaged") from error
                piece = inflater.unconsumed_tail
                if inflater.eof:
                    # A gzip file may have several members (RFC 1952, section 2.2).
                    piece = inflater.unused_data
                    inflater = zlib.decompressobj(31)
            total += len(plain)
            if total > limit:
                raise FormatError(f"a layer is larger than {limit} bytes when it is unpacked")
            yield plain


def unpack(archive: Path, tree: Path, recipe: Path) -> Unpacked:
    """Unpack the plain tar file `archive` into the empty directory `tree`, and write to `recipe` what `replay` needs.
    Owners are set as root, and are the caller otherwise. Raises FormatError."""
    try:
        with (
            tarfile.open(archive, "r:", errorlevel=0, tarinfo=_Member) as members,
            open(archive, "rb") as raw,
        ):
            unpacking = _Unpacking(tree, os.geteuid() == 0)
            listed = list(_bounded(members))
            last = {_clean(member.name): index for index, member in enumerate(listed)}
            with open(recipe, "wb") as out:
                writer = _Recipe(out)
                position = 0
                size = 0
                for index, member in enumerate(listed):
                    path = _clean(member.name)
                    if member.isreg() and member.size:
                        writer.raw(raw, position, member.offset_data)
                        # A path that comes again loses these bytes: they stay in the recipe.
                        kept = unpacking.file(path, member, raw) and last[path] == index
                        if kept:
                            writer.file(path, member.size)
                        else:
                            writer.raw(raw, member.offset_data, member.offset_data + member.size)
                        position = member.offset_data + member.size
                        size += member.size
                    else:
                        unpacking.other(path, member)
                writer.raw(raw, position, os.fstat(raw.fileno()).st_size)
                writer.end()
            unpacking.finish()
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, struct.error) as error:
        raise FormatError(f"a layer's tar stream is damaged: {error}") from error
    return Unpacked(len(listed), size)


def keep_whole(archive: Path, recipe: Path) -> None:
    """Write a recipe that holds the whole of `archive`, for the rare layer whose tree does not tell its stream."""
    with open(archive, "rb") as raw, open(recipe, "wb") as out:
        writer = _Recipe(out)
        writer.raw(raw, 0, os.fstat(raw.fileno()).st_size)
        writer.end()


def replay(recipe: Path, tree: Path) -> Iterator[bytes]:
    """The exact tar stream that was unpacked, in pieces. Raises FormatError when the recipe or a file was changed."""
    with open(recipe, "rb") as packed:
        reader = _Inflated(packed)
        while kind := reader.exactly(1, may_end=True):
            (size,) = struct.unpack(">Q", reader.exactly(8))
            if kind == _RAW:
                while size:
                    piece = reader.exactly(min(size, _PIECE))
                    size -= len(piece)
                    yield piece
                continue
            (length,) = struct.unpack(">I", reader.exactly(4))
            path = os.fsdecode(reader.exactly(length))
            with open(tree / path, "rb", buffering=0) as file:
                while size:
                    piece = file.read(min(size, _PIECE))
                    if not piece:
                        raise FormatError(f"'{path}' is shorter than its layer says")
                    size -= len(piece)
                    yield piece


class _Member(tarfile.TarInfo):
    """An entry whose extension headers are small: `tarfile` reads those into memory, whatever size they claim."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if not self.isreg() and self.type not in _PLAIN_TYPES and self.size > _LARGEST_EXTENSION:
            raise FormatError(f"a layer has an extension header of {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


def _bounded(members: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for count, member in enumerate(members):
        if count >= MOST_ENTRIES:
            raise FormatError(f"a layer has more than {MOST_ENTRIES} entries")
        if member.sparse is not None:
            raise FormatError(f"the layer's '{member.name}' is a sparse tar entry, which image-spec forbids")
        yield member


def _clean(name: str) -> str:
    """The entry's path below the root. Raises FormatError for one that leads out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise FormatError(f"the layer's entry '{name}' leads out of its root")
    if len(parts) > DEEPEST:
        raise FormatError(f"the layer's entry '{name[:100]}…' lies {len(parts)} folders deep")
    return "/".join(parts)


class _Unpacking:
    def __init__(self, tree: Path, privileged: bool) -> None:
        self._root = os.fspath(tree)
        self._privileged = privileged
        self._checked: set[str] = set()
        self._directories: list[tuple[str, int]] = []

    def file(self, path: str, member: tarfile.TarInfo, raw: BinaryIO) -> bool:
        """Write a regular file; False where its place is not a file's."""
        if not path or path.rsplit("/", 1)[-1].startswith(_WHITEOUT):
            self.other(path, member)
            return False
        place = self._place(path)
        self._clear(place)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(place, flags, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as out:
            raw.seek(member.offset_data)
            left = member.size
            while left:
                piece = raw.read(min(left, _PIECE))
                if not piece:
                    raise FormatError(f"the layer ends within '{path}'")
                left -= len(piece)
                out.write(piece)
            self._own(descriptor, member)
            os.fchmod(descriptor, _mode(member))
        return True

    def other(self, path: str, member: tarfile.TarInfo) -> None:
        """Make anything that is not a file with contents."""
        if not path:
            return
        name = path.rsplit("/", 1)[-1]
        if name == _OPAQUE:
            self._opaque(path)
        elif name.startswith(_WHITEOUT):
            hidden = name[len(_WHITEOUT) :]
            if hidden in ("", ".", ".."):
                raise FormatError(f"the layer's whiteout '{path}' hides nothing")
            place = self._place(path[: -len(name)] + hidden)
            if not os.path.lexists(place):
                os.mknod(place, stat.S_IFCHR | 0o000, os.makedev(0, 0))
        elif member.isdir():
            place = self._place(path)
            if not os.path.isdir(place) or os.path.islink(place):
                self._clear(place)
                os.mkdir(place, 0o700)
            self._own(place, member)
            self._directories.append((place, _mode(member)))
        elif member.issym():
            place = self._place(path)
            self._clear(place)
            os.symlink(member.linkname, place)
            self._own(place, member)
        elif member.islnk():
            target = self._place(_clean(member.linkname))
            if not os.path.isfile(target) or os.path.islink(target):
                raise FormatError(
                    f"the layer's '{path}' is a hard link to '{member.linkname}', which is not a file in it"
                )
            place = self._place(path)
            if not (os.path.lexists(place) and os.path.samefile(place, target)):
                self._clear(place)
                os.link(target, place, follow_symlinks=False)
        elif member.isreg():
            place = self._place(path)
            self._clear(place)
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            self._own(place, member)
            os.chmod(place, _mode(member))
        # Devices and pipes are left out: a container has a /dev of its own.

    def finish(self) -> None:
        """Give directories their modes, which might have kept us from writing into them."""
        for place, mode in self._directories:
            if os.path.isdir(place) and not os.path.islink(place):
                os.chmod(place, mode)

    def _place(self, path: str) -> str:
        """Where `path` lies in the tree; its parents are made, and none of them is a link."""
        parent = path.rpartition("/")[0]
        if parent and parent not in self._checked:
            walked = ""
            for part in parent.split("/"):
                walked = f"{walked}/{part}" if walked else part
                place = f"{self._root}/{walked}"
                try:
                    mode = os.lstat(place).st_mode
                except FileNotFoundError:
                    os.mkdir(place, 0o755)
                    continue
                if not stat.S_ISDIR(mode):
                    raise FormatError(
                        f"the layer's entry '{path}' lies below '{walked}', which is not a directory"
                    )
            self._checked.add(parent)
        return f"{self._root}/{path}"

    def _clear(self, place: str) -> None:
        if not os.path.lexists(place):
            return
        if os.path.isdir(place) and not os.path.islink(place):
            raise FormatError(
                f"the layer replaces its own directory '{place[len(self._root) :]}' by something else"
            )
        os.unlink(place)

    def _own(self, place: str | int, member: tarfile.TarInfo) -> None:
        if self._privileged:
            if isinstance(place, int):
                os.fchown(place, member.uid, member.gid)
            else:
                os.lchown(place, member.uid, member.gid)

    def _opaque(self, path: str) -> None:
        directory = self._place(path).rpartition("/")[0]
        names = ["user.overlay.opaque", *(["trusted.overlay.opaque"] if self._privileged else [])]
        for name in names:
            try:
                os.setxattr(directory, name, b"y", follow_symlinks=False)
            except OSError as error:
                # Root without CAP_SYS_ADMIN may not, and may not mount an overlay either.
                if name.startswith("user.") or error.errno != errno.EPERM:
                    raise


def _mode(member: tarfile.TarInfo) -> int:
    """Without set-user-ID bits; always readable by the owner, because the stream has to be produced again."""
    mode = member.mode & 0o1777
    return mode | (0o700 if member.isdir() else 0o400)


class _Recipe:
    """Writes records: `R size bytes`, or `F size length path`, deflated."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._deflater = zlib.compressobj(6)

    def _put(self, data: bytes) -> None:
        self._out.write(self._deflater.compress(data))

    def raw(self, source: BinaryIO, start: int, stop: int) -> None:
        if stop <= start:
            return
        self._put(_RAW + struct.pack(">Q", stop - start))
        source.seek(start)
        left = stop - start
        while left:
            piece = source.read(min(left, _PIECE))
            if not piece:
                raise FormatError("the layer ends early")
            left -= len(piece)
            self._put(piece)

    def file(self, path: str, size: int) -> None:
        name = os.fsencode(path)
        self._put(_FILE + struct.pack(">QI", size, len(name)) + name)

    def end(self) -> None:
        self._out.write(self._deflater.flush())


class _Inflated:
    """Reads what `_Recipe` wrote."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._inflater = zlib.decompressobj()
        self._buffer = b""
        self._at = 0

    def exactly(self, size: int, *, may_end: bool = False) -> bytes:
        while len(self._buffer) - self._at < size:
            self._buffer, self._at = self._buffer[self._at :], 0
            piece = self._inflater.unconsumed_tail or self._source.read(65536)
            more = self._inflater.decompress(piece, _PIECE) if piece else self._inflater.flush()
            if not more and not piece:
                if may_end and not self._buffer:
                    return b""
                raise FormatError(
                    "a layer's recipe in the store is damaged", hint="remove the image and get it again"
                )
            self._buffer += more
        self._at += size
        return self._buffer[self._at - size : self._at]
