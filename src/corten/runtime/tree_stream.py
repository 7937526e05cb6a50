"""A folder or file as a tar stream, and back, without following a link and without asking who owns what.

Directories, regular files, links of both kinds and FIFOs travel, with their permissions; set-uid bits do not, and owners count
only for who asks for them. Sockets and devices are left out, and both sides say which. Nothing here imports or looks up a name while it runs: it may run in a root
that somebody else controls.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from corten.errors import RuntimeFailure

_PIECE = 1 << 20
LEFT_OUT = "CORTEN.left-out"
"""The attribute of an entry that stands for something that is not copied."""
PARENT = "CORTEN.parent"
"""The attribute of a folder that is made where it is missing, and left as it is otherwise."""
TOP = "x"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def send(path: str, stream: BinaryIO) -> tuple[str, ...]:
    """Write `path` and all below it. Returns what was left out, relative to `path`. Raises OSError."""
    left_out = []
    # Where a file with several names was first: the others become links to it.
    first: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for place, name in _walk(path):
            if not _add(archive, place, name, first):
                left_out.append(_relative(name))
    return tuple(left_out)


def receive(
    stream: BinaryIO, folder: str, name: str, owner: tuple[int, int] | None = None, *, keep: bool = False
) -> tuple[str, ...]:
    """Read what `send` wrote, and put it at `name` in `folder`, over what is there; with an empty `name` its contents into `folder`,
    which stays as it is. `owner`: whose it becomes; with `keep` everything stays whose it was, by number. Returns what the other side left out. Raises OSError, RuntimeFailure where
    a link is in the way."""
    left_out = []
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                parts = _parts(member.name, name)
                if LEFT_OUT in member.pax_headers:
                    left_out.append(_relative(member.name))
                elif parts:
                    if keep:
                        owner = member.uid, member.gid
                    with _parent(top, parts) as parent:
                        _place(archive, member, parent, parts[-1], owner, (top, name))
    finally:
        os.close(top)
    return tuple(left_out)


def _relative(name: str) -> str:
    return name.partition("/")[2] or "."


def _parts(member: str, name: str) -> list[str]:
    parts = [*([name] if name else []), *member.split("/")[1:]]
    if any(part in ("", ".", "..") for part in parts):
        raise RuntimeFailure("the stream names a place outside", hint="this is a bug; please report it")
    return parts


def _walk(path: str) -> Iterator[tuple[str, str]]:
    waiting = [(path, TOP)]
    while waiting:
        place, name = waiting.pop()
        yield place, name
        if stat.S_ISDIR(os.lstat(place).st_mode):
            waiting += [
                (f"{place}/{item}", f"{name}/{item}") for item in sorted(os.listdir(place), reverse=True)
            ]


def _add(archive: tarfile.TarFile, place: str, name: str, first: dict[tuple[int, int], str]) -> bool:
    """Whether it was written."""
    info = tarfile.TarInfo(name)
    status = os.lstat(place)
    info.mode, info.mtime = status.st_mode & 0o777, status.st_mtime
    info.uid, info.gid = status.st_uid, status.st_gid
    known = first.get((status.st_dev, status.st_ino))
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(place)
    elif stat.S_ISFIFO(status.st_mode):
        info.type = tarfile.FIFOTYPE
    elif known is not None:
        info.type, info.linkname = tarfile.LNKTYPE, known
    elif stat.S_ISREG(status.st_mode):
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                info.size = status.st_size
                archive.addfile(info, file)
                if status.st_nlink > 1:
                    first[status.st_dev, status.st_ino] = name
                return True
        return _leave_out(archive, info)
    else:
        return _leave_out(archive, info)
    archive.addfile(info)
    return True


def _leave_out(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bool:
    info.pax_headers = {LEFT_OUT: "1"}
    archive.addfile(info)
    return False


@contextlib.contextmanager
def _parent(top: int, parts: list[str]) -> Iterator[int]:
    """The directory that holds the last of `parts`, found below `top` without following a link."""
    current = os.dup(top)
    try:
        for part in parts[:-1]:
            try:
                below = os.open(part, _DIRECTORY, dir_fd=current)
            except OSError as error:
                raise RuntimeFailure(
                    f"'{part}' is in the way: it is not a folder, or a link",
                    hint="copy to a place without it",
                ) from error
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def _place(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    parent: int,
    name: str,
    owner: tuple[int, int] | None,
    top: tuple[int, str],
) -> None:
    mode = member.mode & 0o777
    if member.isdir():
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if PARENT in member.pax_headers:
                return
        with _opened(name, _DIRECTORY, parent) as descriptor:
            _settle(descriptor, mode, member, owner)
        return
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise RuntimeFailure(f"'{name}' is a folder where a file is copied to", hint="remove it first")
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    if member.issym():
        os.symlink(member.linkname, name, dir_fd=parent)
        if owner is not None:
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        return
    if member.islnk():
        _link(_parts(member.linkname, top[1]), top[0], parent, name)
        return
    if member.isfifo():
        # Its mode is given when it is made: by its name it could be another thing already.
        mask = os.umask(0)
        try:
            os.mkfifo(name, mode, dir_fd=parent)
        finally:
            os.umask(mask)
        if owner is not None:
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        return
    content = archive.extractfile(member) if member.isreg() else None
    if content is None:
        raise RuntimeFailure(
            "the stream holds something else than files", hint="this is a bug; please report it"
        )
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _opened(name, flags, parent) as descriptor, os.fdopen(os.dup(descriptor), "wb") as file:
        while piece := content.read(_PIECE):
            file.write(piece)
        file.flush()
        _settle(descriptor, mode, member, owner)


def _link(known: list[str], top: int, parent: int, name: str) -> None:
    """Give a file that was received before one more name."""
    if not known:
        raise RuntimeFailure("the stream links to a folder", hint="this is a bug; please report it")
    with _parent(top, known) as place:
        if not stat.S_ISREG(os.stat(known[-1], dir_fd=place, follow_symlinks=False).st_mode):
            raise RuntimeFailure(f"'{known[-1]}' was changed meanwhile", hint="try it again")
        os.link(known[-1], name, src_dir_fd=place, dst_dir_fd=parent, follow_symlinks=False)


@contextlib.contextmanager
def _opened(name: str, flags: int, parent: int) -> Iterator[int]:
    descriptor = os.open(name, flags, 0o600, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _settle(descriptor: int, mode: int, member: tarfile.TarInfo, owner: tuple[int, int] | None) -> None:
    if owner is not None:
        os.fchown(descriptor, *owner)
    # A directory stays open to whoever fills it; its own mode may forbid that.
    os.fchmod(descriptor, mode | (0o700 if member.isdir() else 0))
    if not member.isdir():
        os.utime(descriptor, (member.mtime, member.mtime))
