"""The folder of `corten lock --download`, in which somebody else may have put links, pipes and files of their own.

It is reached by descriptors (`corten.oci.inside`), so nothing is read or written through a link in it. A file gets its name when it
is complete. What is there under that name and right stays; anything else that is there stays too, and is an error.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from corten.errors import StoreError
from corten.oci.inside import Inside
from corten.store.disk import FULL

_PIECE = 1 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = (errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO)


class BundleFolder:
    """The folder at `root`, made where it is missing. Use it as a context manager. Every method raises StoreError: for a disk that
    refuses, and for what is in the way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with self._explained(""):
            root.mkdir(parents=True, exist_ok=True)
            self._inside = Inside(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.close()

    def hash(self, path: str, algorithm: str = "sha256") -> str | None:
        """The hash of the file `path` in hex digits; None where there is nothing."""
        with self._explained(path):
            if not self._is_there(path):
                return None
            with open(self._inside.open(path), "rb") as file:
                return hashlib.file_digest(file, algorithm).hexdigest()

    def read(self, path: str, limit: int) -> bytes | None:
        """At most `limit` bytes of the file `path`; None where there is nothing."""
        with self._explained(path):
            return self._inside.read(path, limit) if self._is_there(path) else None

    def copy(self, source: Path, path: str, sha256: str) -> None:
        """Put the file `source`, which has that sha256, at `path`."""
        if self._lacks(path, sha256):
            with open(source, "rb") as file:
                self._put(path, iter(lambda: file.read(_PIECE), b""))

    def write(self, path: str, data: bytes, *, replace: bool = False) -> None:
        """Put `data` at `path`; with `replace`, in place of the file that is there."""
        if replace or self._lacks(path, hashlib.sha256(data).hexdigest()):
            self._put(path, [data])

    def receive(self, path: str, pieces: Iterable[bytes]) -> None:
        """Put `pieces` at `path`, where nothing is. Whatever `pieces` raises is passed on, and nothing is left."""
        self._put(path, pieces)

    def _lacks(self, path: str, sha256: str) -> bool:
        there = self.hash(path)
        if there is not None and there != sha256:
            raise StoreError(
                f"'{self.root / path}' is another file than the lock's, and is not overwritten",
                hint="remove it if it is damaged, or choose an empty folder",
            )
        return there is None

    def _is_there(self, path: str) -> bool:
        """Whether there is a file. Raises OSError for anything else."""
        parent, _, name = path.rpartition("/")
        try:
            mode = os.lstat(name, dir_fd=self._inside.directory(parent)).st_mode
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "", name)
        return True

    def _put(self, path: str, pieces: Iterable[bytes]) -> None:
        parent, _, name = path.rpartition("/")
        temporary = f".{name[:100]}.{os.urandom(6).hex()}.tmp"
        with self._explained(path):
            self._make(parent)
            # The umask says who may read it: the folder is for other machines.
            descriptor = os.open(temporary, _CREATE, 0o666, dir_fd=self._inside.directory(parent))
        try:
            with open(descriptor, "wb", buffering=0) as file:
                for piece in pieces:
                    with self._explained(path):
                        view = memoryview(piece)
                        while view:
                            view = view[file.write(view) :]
            with self._explained(path):
                directory = self._inside.directory(parent)
                os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self._inside.directory(parent))
            raise

    def _make(self, path: str) -> None:
        """Make the folder `path`, with the mode that the umask leaves."""
        above, _, name = path.rpartition("/")
        if not name:
            return
        self._make(above)
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=self._inside.directory(above))
        self._inside.directory(path)

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = self.root / path
            if error.errno in _IN_THE_WAY:
                raise StoreError(
                    f"'{place}' cannot be written: a link, a pipe or something else is in its place",
                    hint="remove it, or choose an empty folder; links in it are not followed",
                ) from error
            full = error.errno in FULL
            raise StoreError(
                f"'{place}' cannot be written: {os.strerror(error.errno or errno.EIO).lower()}",
                hint="choose a folder on a larger disk" if full else "choose a folder that you may write to",
            ) from error
