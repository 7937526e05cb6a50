"""Puts the entries of a hostile layer into a directory, and nowhere else.

Every entry is made relative to an open descriptor of its parent, which was reached from the root one component at a time
without following a link; files are created, never opened. So whatever links the layer contains, nothing is written through them.
Whiteouts become what overlayfs understands (image-spec, layer.md, "Whiteouts"; the kernel's overlayfs.rst).

Left out: devices and pipes (a container has a /dev of its own), set-user-ID and set-group-ID bits, extended attributes, and with
them file capabilities; times. Owners are set where this process is root, and are the caller's otherwise.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from corten.errors import FormatError
from corten.oci.tar_stream import Member, printable

DEEPEST = 256
"""Components of a path. The kernel would take 2,000; walks that recurse and hold a descriptor for each would not."""
LONGEST = 3500
"""Bytes of a path: with the store's own before it, it must stay below the kernel's 4,096."""
WHITEOUT = b".wh."

OPAQUE = b".wh..wh..opq"
HIDES_BELOW = "user.overlay.opaque"
"""The attribute of a directory that hides those of the layers below from an overlay."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN = 64
_FILE, _HARD_LINK, _SYMBOLIC_LINK, _DIRECTORY = b"0125"
# Refusals of a disk that only an archive can provoke: names that are too long, impossible owners, too many links.
ITS_OWN_FAULT = frozenset(
    {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EMLINK, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
)


def clean(name: bytes) -> bytes:
    """The path below the root that an entry's name means; empty for the root. Raises FormatError for one that leads out, or
    is deeper or longer than any real one."""
    parts = name.split(b"/")
    if b"" in parts or b"." in parts:
        parts = [part for part in parts if part not in (b"", b".")]
        name = b"/".join(parts)
    if b".." in parts:
        raise FormatError(f"the layer's entry '{printable(name)}' leads out of its root")
    if len(parts) > DEEPEST:
        raise FormatError(f"the layer's entry '{printable(name)}' lies {len(parts)} folders deep")
    if len(name) > LONGEST:
        raise FormatError(f"the layer's entry '{printable(name)}' has a name of {len(name)} bytes")
    return name


class Placing:
    """Fills the empty directory `tree`. Files that later entries replace are kept in `aside`, which is made when it is needed:
    `moved` lists their paths and the numbers that they have there, for the caller to take."""

    def __init__(self, tree: Path, aside: Path) -> None:
        self._aside = aside
        self._asides = 0
        self._root = os.open(tree, _ENTER)
        self._open: dict[bytes, int] = {b"": self._root}
        self._privileged = os.geteuid() == 0
        self.moved: list[tuple[bytes, int]] = []
        try:
            self._given, self._owner = self._probe()
        except OSError:
            os.close(self._root)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _probe(self) -> tuple[int, tuple[int, int] | None]:
        """The permission bits that a new file gets of those it asks for (umask, default ACLs), and its owner: what is right by
        itself costs no system call."""
        descriptor = os.open(b".probe", _CREATE, 0o777, dir_fd=self._root)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
            os.unlink(b".probe", dir_fd=self._root)
        return status.st_mode & 0o777, (status.st_uid, status.st_gid)

    def file(self, path: bytes, member: Member, data: Iterable[bytes | memoryview]) -> None:
        """Make the regular file `path`, which is not the root, with `data`."""
        parent, _, name = path.rpartition(b"/")
        directory = self._open.get(parent)
        if directory is None:
            directory = self._walk(parent)
        mode = member.mode & 0o1777 | 0o400  # readable by its owner: the stream has to be produced again
        try:
            descriptor = os.open(name, _CREATE, mode & 0o777, dir_fd=directory)
        except FileExistsError:
            self._make_way(path, name, directory)
            descriptor = os.open(name, _CREATE, mode & 0o777, dir_fd=directory)
        try:
            for part in data:
                written = os.write(descriptor, part)
                while written < len(part):
                    written += os.write(descriptor, memoryview(part)[written:])
            if self._privileged and (member.uid, member.gid) != self._owner:
                os.fchown(descriptor, member.uid, member.gid)
            if mode & ~self._given:
                os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def other(self, path: bytes, member: Member) -> None:
        """Make what is not a file with contents. `path` is not the root."""
        parent, _, name = path.rpartition(b"/")
        if name.startswith(WHITEOUT):
            self._whiteout(parent, name)
        elif member.flag == _DIRECTORY:
            self._directory(path, name, self._enter(parent), member)
        elif member.flag == _SYMBOLIC_LINK:
            self._symbolic_link(path, name, self._enter(parent), member)
        elif member.flag == _HARD_LINK:
            self._hard_link(path, name, member)
        elif member.flag == _FILE:
            self.file(path, member, ())

    def _directory(self, path: bytes, name: bytes, directory: int, member: Member) -> None:
        mode = member.mode & 0o1777 | 0o700
        fresh = True
        try:
            os.mkdir(name, mode, dir_fd=directory)
        except FileExistsError:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            fresh = not stat.S_ISDIR(status.st_mode)
            if fresh:
                self._replace_by_directory(path, name, directory, status, mode)
        owned = not self._privileged or (fresh and (member.uid, member.gid) == self._owner)
        # What a directory gets beyond the permissions is its parent's to say: so 1777 is always set.
        if owned and fresh and not mode & ~self._given:
            return
        descriptor = self._enter(path)
        if not owned:
            os.fchown(descriptor, member.uid, member.gid)
            if (member.uid, member.gid) != self._owner:
                self._owner = None  # on a file system with BSD's groups its children inherit that
        os.fchmod(descriptor, mode)

    def _replace_by_directory(
        self, path: bytes, name: bytes, directory: int, status: os.stat_result, mode: int
    ) -> None:
        self._make_way(path, name, directory)
        os.mkdir(name, mode, dir_fd=directory)
        if _is_whiteout(status):  # the directory of the layers below is hidden, and this is another one
            self._hide_below(self._enter(path))

    def _symbolic_link(self, path: bytes, name: bytes, directory: int, member: Member) -> None:
        if not member.link:
            raise FormatError(f"the layer's '{printable(path)}' is a symbolic link to nothing")
        try:
            os.symlink(member.link, name, dir_fd=directory)
        except FileExistsError:
            self._make_way(path, name, directory)
            os.symlink(member.link, name, dir_fd=directory)
        if self._privileged and (member.uid, member.gid) != self._owner:
            os.chown(name, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)

    def _hard_link(self, path: bytes, name: bytes, member: Member) -> None:
        parent, _, target = clean(member.link).rpartition(b"/")
        source = self._enter(parent, create=False) if target else None
        status = None
        if source is not None:
            try:
                status = os.stat(target, dir_fd=source, follow_symlinks=False)
            except FileNotFoundError:
                status = None
        if source is None or status is None or not stat.S_ISREG(status.st_mode):
            raise FormatError(
                f"the layer's '{printable(path)}' is a hard link to '{printable(member.link)}',"
                " which is not a file in it"
            )
        # Entering one directory may close the other.
        source = os.dup(source)
        try:
            directory = self._enter(path.rpartition(b"/")[0])
            try:
                os.link(target, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
            except FileExistsError:
                there = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if (there.st_dev, there.st_ino) != (status.st_dev, status.st_ino):
                    self._make_way(path, name, directory)
                    os.link(target, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(source)

    def _whiteout(self, parent: bytes, name: bytes) -> None:
        directory = self._enter(parent)
        if name == OPAQUE:
            self._hide_below(directory)
            return
        hidden = name[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise FormatError(f"the layer's whiteout '{printable(parent + b'/' + name)}' hides nothing")
        try:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory)
        except FileExistsError:
            # A whiteout is about the layers below only. A file of this layer hides theirs anyway.
            if stat.S_ISDIR(os.stat(hidden, dir_fd=directory, follow_symlinks=False).st_mode):
                self._hide_below(self._enter(parent + b"/" + hidden if parent else hidden))

    def _hide_below(self, directory: int) -> None:
        for name in [HIDES_BELOW, *(["trusted.overlay.opaque"] if self._privileged else [])]:
            try:
                os.setxattr(directory, name, b"y")
            except OSError as error:
                # Root without CAP_SYS_ADMIN may not, and may not mount an overlay either.
                if name.startswith("user.") or error.errno != errno.EPERM:
                    raise

    def _make_way(self, path: bytes, name: bytes, directory: int) -> None:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            raise FormatError(f"the layer replaces its own directory '{printable(path)}' by something else")
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            os.unlink(name, dir_fd=directory)
            return
        if not self._asides:
            self._aside.mkdir(mode=0o700)
        os.rename(name, os.fsencode(self._aside / str(self._asides)), src_dir_fd=directory)
        self.moved.append((path, self._asides))
        self._asides += 1

    def _enter(self, path: bytes, *, create: bool = True) -> int:
        descriptor = self._open.get(path)
        return self._walk(path, create=create) if descriptor is None else descriptor

    def _walk(self, path: bytes, *, create: bool = True) -> int:
        """An open descriptor of a directory, good until the next call; missing ones are made. Raises FormatError where one of
        them is something else."""
        if len(self._open) >= _MOST_OPEN:
            for descriptor in self._open.values():
                if descriptor != self._root:
                    os.close(descriptor)
            self._open = {b"": self._root}
        known = path
        while (descriptor := self._open.get(known, -1)) < 0:
            known = known.rpartition(b"/")[0]
        walked = known
        for part in path[len(known) :].lstrip(b"/").split(b"/"):
            walked = walked + b"/" + part if walked else part
            try:
                child = self._step(part, walked, descriptor, create)
            finally:
                if descriptor not in (self._root, self._open.get(known)):
                    os.close(descriptor)
            descriptor = child
        self._open[path] = descriptor
        return descriptor

    def _step(self, part: bytes, walked: bytes, directory: int, create: bool) -> int:
        try:
            return os.open(part, _ENTER, dir_fd=directory)
        except FileNotFoundError:
            if not create:
                raise FormatError(f"the layer has no '{printable(walked)}', which it links to") from None
            os.mkdir(part, 0o755, dir_fd=directory)
            hidden = False
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            if not _is_whiteout(os.stat(part, dir_fd=directory, follow_symlinks=False)):
                raise FormatError(
                    f"the layer has an entry below '{printable(walked)}', which is not a directory"
                ) from None
            os.unlink(part, dir_fd=directory)
            os.mkdir(part, 0o755, dir_fd=directory)
            hidden = True
        descriptor = os.open(part, _ENTER, dir_fd=directory)
        try:
            if 0o755 & ~self._given:
                os.fchmod(descriptor, 0o755)
            if hidden:
                self._hide_below(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
