"""Paths inside a directory tree whose contents are hostile, reached by descriptors.

A tree that becomes a layer, or that came with one, has symbolic links of its own. Their targets are meant for the container:
`/etc/python3.11/sitecustomize.py` is a path of the image, and on this machine it is somebody else's file. So no path of a
tree is ever joined to the tree's place and opened. `Inside` walks from the root's descriptor one component at a time with
`O_NOFOLLOW`, keeps the directories it passed open, and makes every call relative to the parent's descriptor. That costs no
more than a plain open, and it cannot leave the tree, whatever changes in it meanwhile.

    with Inside(tree) as inside:
        data = inside.read("usr/lib/python3.11/os.py", limit=1 << 20)
        inside.write("etc/hostname", b"")                        # parents are made, nothing is overwritten
        for parent, directories, files in inside.walk("usr/lib"):
            ...
        os.utime("name", dir_fd=inside.directory("usr/share"))   # any other *at call

Guarantees:

* Paths are relative to the root; leading slashes are ignored, so a path of the image does. One with `..` in it is refused
  with FormatError. Names may be anything that a file system takes (`surrogateescape`).
* No call follows a link. Where a component is a link or a file, OSError says so (ENOTDIR, ELOOP). Whoever wants the meaning
  that a path has in the container asks `resolve` first, which follows links with `/` at the tree's root.
* `open` and `read` give regular files only, and never wait (for a pipe's writer).
* Modes are exact, whatever the umask.

An object belongs to one thread. It is cheap: make one for each.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from corten.errors import FormatError

_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN = 64
_MOST_LINKS = 40
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Inside:
    """The tree at `root`, open. Use it as a context manager."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: dict[str, int] = {"": self._root}
        self._given: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all descriptors. Idempotent."""
        while self._open:
            os.close(self._open.popitem()[1])

    # --- looking ---------------------------------------------------------------------------------------------

    def directory(self, path: str, *, make: bool = False) -> int:
        """The descriptor of the directory `path`, for calls with `dir_fd`. It is ours, and good until the next call of this
        object. `make` makes the missing ones with mode 0755. Raises OSError where a component is not a directory."""
        found = self._open.get(path)
        return self._walk(_parts(path), make) if found is None else found

    def status(self, path: str) -> os.stat_result | None:
        """What `lstat` says of `path`, or None where there is nothing, or a link or a file on the way."""
        parent, name = _split(path)
        try:
            if not name:
                return os.fstat(self._root)
            return os.stat(name, dir_fd=self.directory(parent), follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOTHING:
                return None
            raise

    def open(self, path: str) -> int:
        """A descriptor of the regular file `path` for reading, which the caller closes. Raises OSError where there is
        something else: ELOOP for a link, EISDIR, and EINVAL for a pipe or a device."""
        parent, name = _split(path)
        descriptor = os.open(name or ".", _READ, dir_fd=self.directory(parent))
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            raise OSError(code, os.strerror(code), path)
        return descriptor

    def read(self, path: str, limit: int) -> bytes:
        """At most `limit` bytes of the regular file `path`. Raises OSError as `open`."""
        descriptor = self.open(path)
        try:
            # One call does for most files: whatever is as long as the file says ends there.
            size = min(limit, os.fstat(descriptor).st_size + 1)
            data = os.read(descriptor, size)
            if len(data) < size - 1 or (len(data) == size < limit):
                pieces = [data]
                left = limit - len(data)
                while left and (piece := os.read(descriptor, min(left, 1 << 20))):
                    pieces.append(piece)
                    left -= len(piece)
                data = b"".join(pieces)
            return data
        finally:
            os.close(descriptor)

    def readlink(self, path: str) -> str:
        """The target of the symbolic link `path`, as written. Raises OSError."""
        parent, name = _split(path)
        return os.readlink(name, dir_fd=self.directory(parent))

    def listing(self, path: str) -> list[str]:
        """The sorted names in the directory `path`. Raises OSError."""
        return sorted(os.listdir(self.directory(path)))

    def walk(self, path: str) -> Iterator[tuple[str, list[str], list[str]]]:
        """Each directory from `path` down, as its path, the names of the directories in it, and those of everything else that
        is not a symbolic link. The caller may take names out of the second list, which are then passed over. Nothing where
        there is no such directory."""
        waiting = ["/".join(_parts(path))]
        while waiting:
            current = waiting.pop()
            try:
                descriptor = self.directory(current)
            except OSError as error:
                if error.errno in _NOTHING:
                    continue
                raise
            directories: list[str] = []
            files: list[str] = []
            with os.scandir(descriptor) as listing:
                for item in listing:
                    if item.is_dir(follow_symlinks=False):
                        directories.append(item.name)
                    elif not item.is_symlink():
                        files.append(item.name)
            yield current, directories, files
            waiting += [f"{current}/{name}" if current else name for name in reversed(directories)]

    def resolve(self, path: str) -> str | None:
        """The path without links of what `path` means to a process in the container, or None where there is nothing, or too
        many links. `..` stops at the root."""
        pending = [part for part in path.split("/") if part not in ("", ".")][::-1]
        walked: list[str] = []
        links = 0
        while pending:
            name = pending.pop()
            if name == "..":
                walked = walked[:-1]
                continue
            place = "/".join([*walked, name])
            status = self.status(place)
            if status is None:
                return None
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    return None
                target = self.readlink(place)
                if target.startswith("/"):
                    walked = []
                pending += [part for part in target.split("/") if part not in ("", ".")][::-1]
                continue
            walked.append(name)
        return "/".join(walked)

    # --- making ----------------------------------------------------------------------------------------------

    def create(self, path: str, mode: int = 0o644, *, replace: bool = False) -> int:
        """The descriptor of the new file `path`, open for writing, which the caller closes. Missing parents are made. What is
        there already is FileExistsError, or with `replace` makes way, unless it is a directory (IsADirectoryError)."""
        parent, name = _split(path)
        directory = self.directory(parent, make=True)
        try:
            descriptor = os.open(name, _CREATE, mode, dir_fd=directory)
        except FileExistsError:
            if not replace:
                raise
            self._make_way(directory, name)
            descriptor = os.open(name, _CREATE, mode, dir_fd=directory)
        if mode & ~self._kept():
            os.fchmod(descriptor, mode)
        return descriptor

    def write(self, path: str, data: bytes | memoryview, mode: int = 0o644, *, replace: bool = False) -> None:
        """Make the file `path` with `data`, as `create` does."""
        descriptor = self.create(path, mode, replace=replace)
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, memoryview(data)[written:])
        finally:
            os.close(descriptor)

    def symlink(self, path: str, target: str, *, replace: bool = False) -> None:
        """Make the symbolic link `path`, as `create` makes files."""
        parent, name = _split(path)
        directory = self.directory(parent, make=True)
        try:
            os.symlink(target, name, dir_fd=directory)
        except FileExistsError:
            if not replace:
                raise
            self._make_way(directory, name)
            os.symlink(target, name, dir_fd=directory)

    def link(self, path: str, other: Inside) -> None:
        """Make `path` a hard link to the file that `other` has under the same path, in place of nothing."""
        parent, name = _split(path)
        source = other.directory(parent)
        place = self.directory(parent, make=True)
        os.link(name, name, src_dir_fd=source, dst_dir_fd=place, follow_symlinks=False)

    def remove(self, path: str) -> None:
        """Remove the file, the link, or the directory with all below it at `path`. Raises OSError."""
        for parent, directories, _ in reversed(list(self.walk(path))):
            # Names that `walk` does not tell, as those of links, go too.
            for name in self.listing(parent):
                place = f"{parent}/{name}"
                if name in directories:
                    self._forget()
                    os.rmdir(name, dir_fd=self.directory(parent))
                else:
                    self.unlink(place)
        status = self.status(path)
        if status is not None and stat.S_ISDIR(status.st_mode):
            self._forget()
            parent, name = _split(path)
            os.rmdir(name, dir_fd=self.directory(parent))
        else:
            self.unlink(path)

    def chmod(self, path: str, mode: int) -> None:
        """Give the directory or regular file `path` a mode. Raises OSError for a link."""
        parent, name = _split(path)
        descriptor = os.open(name or ".", _READ, dir_fd=self.directory(parent))
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def unlink(self, path: str) -> None:
        """Remove the file or link `path`. Raises OSError."""
        parent, name = _split(path)
        os.unlink(name, dir_fd=self.directory(parent))

    def _make_way(self, directory: int, name: str) -> None:
        try:
            os.unlink(name, dir_fd=directory)
        except PermissionError:  # POSIX's answer for a directory
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name) from None
            raise

    def _kept(self) -> int:
        """The permission bits that the umask leaves to a new file."""
        if self._given is None:
            self._given = 0
            try:
                with open("/proc/self/status", encoding="utf-8") as file:
                    umask = next(line for line in file if line.startswith("Umask:"))
                self._given = 0o777 & ~int(umask.split()[1], 8)
            except (OSError, StopIteration, ValueError):
                pass  # then every mode is set once more
        return self._given

    def _walk(self, parts: list[str], make: bool) -> int:
        if len(self._open) >= _MOST_OPEN:
            self._forget()
        depth = len(parts)
        while (descriptor := self._open.get("/".join(parts[:depth]), -1)) < 0:
            depth -= 1
        for index in range(depth, len(parts)):
            descriptor = self._step(parts[index], descriptor, make)
            self._open["/".join(parts[: index + 1])] = descriptor
        return descriptor

    def _forget(self) -> None:
        """Close every directory but the root."""
        for path, descriptor in list(self._open.items()):
            if path:
                os.close(descriptor)
                del self._open[path]

    def _step(self, name: str, directory: int, make: bool) -> int:
        try:
            return os.open(name, _ENTER, dir_fd=directory)
        except FileNotFoundError:
            if not make:
                raise
        try:
            os.mkdir(name, 0o755, dir_fd=directory)
        except FileExistsError:  # another thread was faster
            return os.open(name, _ENTER, dir_fd=directory)
        descriptor = os.open(name, _ENTER, dir_fd=directory)
        if 0o755 & ~self._kept():
            os.fchmod(descriptor, 0o755)
        return descriptor


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise FormatError(f"the path '{path[:200]}' leads out of its tree")
    return parts


def _split(path: str) -> tuple[str, str]:
    """The parent and the last component, which is empty for the root."""
    parent, _, name = path.rpartition("/")
    if name in ("", ".", ".."):
        *above, name = _parts(path) or [""]
        parent = "/".join(above)
    return parent, name
