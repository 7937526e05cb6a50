"""The project's own files on this disk: what they hash to, remembered by what `lstat` says, and copying them cheaply.

A file counts as unchanged while its size, modification and change times (ns) and inode are the same and it was not
modified in the same instant in which it was last read (git's rule for racy times).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path

from corten.errors import BuildError, FormatError
from corten.oci.config import canonical_json
from corten.oci.digest import Digest
from corten.oci.inside import Inside
from corten.project.credentials import has_addresses, without_credentials
from corten.project.model import SourceFile
from corten.store.disk import write_atomically

_FICLONE = 0x40049409
_PIECE = 1 << 20
# A time stamp this close to the moment of reading may hide a later change: file systems tick in up to 10 ms or so.
_RACY_NS = 50_000_000


def stamp(file: SourceFile) -> list[int]:
    """What says whether `file` is the one that was read before."""
    return [file.size, file.mtime_ns, file.ctime_ns, file.inode]


def stamps(files: Sequence[SourceFile]) -> Digest:
    """What says whether `files` are those that were read before, all of them."""
    return Digest.of(
        canonical_json([[file.path, file.executable, file.link, *stamp(file)] for file in files])
    )


def is_settled(file: SourceFile, read_at_ns: int) -> bool:
    """Whether a file read at that time would show a later change in its times."""
    return max(file.mtime_ns, file.ctime_ns) < read_at_ns - _RACY_NS


class Digests:
    """The digests of a project's weights, remembered between builds in `cache`."""

    def __init__(self, root: Path, cache: Path) -> None:
        self._root = root
        self._path = cache
        self._changed = False
        try:
            known = json.loads(cache.read_bytes())
        except (OSError, ValueError):
            known = {}
        self._known: dict[str, list[object]] = known if isinstance(known, dict) else {}

    def known(self, file: SourceFile) -> Digest | None:
        """The sha256 of `file` where it has not changed since it was read."""
        entry = self._known.get(file.path)
        if isinstance(entry, list) and entry[:-1] == stamp(file):
            with suppress(FormatError):
                return Digest.parse(entry[-1])
        return None

    def of(self, file: SourceFile, advance: Callable[[int], None] | None = None) -> Digest:
        """The sha256 of `file`, read only if it changed. Raises BuildError when it changes while it is read."""
        known = self.known(file)
        if known is not None:
            return known
        read_at = time.time_ns()
        sha256 = hashlib.sha256()
        with _opened(self._root / file.path, file.path) as stream:
            buffer = memoryview(bytearray(_PIECE))
            while count := stream.readinto(buffer):
                sha256.update(buffer[:count])
                if advance:
                    advance(count)
            status = os.fstat(stream.fileno())
        if [status.st_size, status.st_mtime_ns] != [file.size, file.mtime_ns]:
            raise _changed(file.path)
        digest = Digest.from_hex(sha256.hexdigest())
        if is_settled(file, read_at):
            self._known[file.path] = [*stamp(file), str(digest)]
            self._changed = True
        return digest

    def save(self) -> None:
        """Remember what was read."""
        if self._changed:
            write_atomically(self._path, json.dumps(self._known).encode())


def content_of(tree: Inside, path: str) -> Digest:
    """The sha256 of the file `path` of `tree`, as it is now. Raises BuildError when it cannot be read."""
    with _file(path, lambda: tree.open(path)) as stream:
        return Digest.from_hex(hashlib.file_digest(stream, "sha256").hexdigest())


def content_in_image(tree: Inside, path: str) -> Digest:
    """The sha256 of what an image has of the project's file `path` of `tree`. Raises BuildError."""
    if not has_addresses(path):
        return content_of(tree, path)
    with _file(path, lambda: tree.open(path)) as stream:
        return Digest.of(without_credentials(path, stream.readall())[0])


def in_image(source: Path, name: str) -> tuple[bytes, tuple[int, ...]]:
    """What an image has of the project's file `source`, called `name` in it, and the lines that are others in the file, because
    they had logins of package indexes. Raises BuildError."""
    with _opened(source, name) as stream:
        data = stream.readall()
    return without_credentials(name, data) if has_addresses(name) else (data, ())


def place_source(source: Path, tree: Inside, path: str, executable: bool, name: str) -> None:
    """Copy the project's file `source`, called `name` in it, to the new file `path` of `tree`, without logins in it. Raises
    BuildError."""
    if has_addresses(name):
        # It is read once: what is looked at is what is written.
        tree.write(path, in_image(source, name)[0], 0o755 if executable else 0o644)
    else:
        copy_file(source, tree, path, executable, name)


def copy_source(root: Path, file: SourceFile, tree: Inside, path: str) -> None:
    """Copy `file` of the project at `root` to the new file `path` of `tree`. Raises BuildError when it is not the file that was
    seen before any more: its copy would pass for that one."""
    copy_file(root / file.path, tree, path, file.executable, file.path)
    status = os.lstat(root / file.path)
    if [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino] != stamp(file):
        raise _changed(file.path)


def _changed(name: str) -> BuildError:
    return BuildError(f"'{name}' changed while it was read", hint="build again when it is complete")


def _opened(path: Path, name: str) -> FileIO:
    """`path`, opened to be read; no link, and no pipe that would wait for a writer. Raises BuildError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return _file(name, lambda: os.open(path, flags))


def _file(name: str, opening: Callable[[], int]) -> FileIO:
    try:
        file = FileIO(opening(), "rb")
    except FileNotFoundError:
        raise _changed(name) from None
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise BuildError(f"'{name}' cannot be read: {reason}", hint="check who may read it") from error
    return file


def copy_file(source: Path, tree: Inside, path: str, executable: bool = False, name: str = "") -> None:
    """Copy the bytes of `source` to the new file `path` of `tree`: a reflink where the file system has them, else only the
    parts that hold data, so that a sparse file stays sparse. Memory does not grow with the size. Raises BuildError,
    which calls the source `name`, when it cannot be read."""
    with _opened(source, name or os.fspath(source)) as stream:
        read = stream.fileno()
        write = tree.create(path, 0o755 if executable else 0o644)
        try:
            if not _reflink(read, write):
                _copy_sparse(read, write)
        finally:
            os.close(write)


def _reflink(read: int, write: int) -> bool:
    try:
        fcntl.ioctl(write, _FICLONE, read)
    except OSError:
        return False
    return True


def _copy_sparse(read: int, write: int) -> None:
    end = os.fstat(read).st_size
    os.ftruncate(write, end)
    position = 0
    while position < end:
        try:
            start = os.lseek(read, position, os.SEEK_DATA)
            stop = os.lseek(read, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            start, stop = position, end
        _copy_range(read, write, start, stop)
        position = stop


def _copy_range(read: int, write: int, start: int, stop: int) -> None:
    os.lseek(read, start, os.SEEK_SET)
    os.lseek(write, start, os.SEEK_SET)
    left = stop - start
    while left:
        piece = os.read(read, min(_PIECE, left))
        if not piece:
            raise BuildError(
                "a file became shorter while it was copied", hint="build again when it is complete"
            )
        left -= len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(write, view) :]
