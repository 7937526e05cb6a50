"""A folder or file as a tar stream, and back, without following a link and without asking who owns what.

Only directories, regular files and links travel, with their permissions; owners, set-uid bits and other kinds do not. Nothing
here imports or looks up a name while it runs: it may run in a root that somebody else controls.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from corten.errors import RuntimeFailure

_TOP = "x"
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def send(path: str, stream: BinaryIO) -> None:
    """Write `path` and all below it. Raises OSError."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for place, name in _walk(path):
            _add(archive, place, name)


def receive(stream: BinaryIO, folder: str, name: str, owner: tuple[int, int] | None = None) -> None:
    """Read what `send` wrote, and put it at `name` in `folder`, over what is there. `owner`: whose it becomes. Raises
    OSError, RuntimeFailure where a link is in the way."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                parts = [name, *member.name.split("/")[1:]]
                if any(part in ("", ".", "..") for part in parts):
                    raise RuntimeFailure(
                        "the stream names a place outside", hint="this is a bug; please report it"
                    )
                with _parent(top, parts) as parent:
                    _place(archive, member, parent, parts[-1], owner)
    finally:
        os.close(top)


def _walk(path: str) -> Iterator[tuple[str, str]]:
    waiting = [(path, _TOP)]
    while waiting:
        place, name = waiting.pop()
        yield place, name
        if stat.S_ISDIR(os.lstat(place).st_mode):
            waiting += [
                (f"{place}/{item}", f"{name}/{item}") for item in sorted(os.listdir(place), reverse=True)
            ]


def _add(archive: tarfile.TarFile, place: str, name: str) -> None:
    info = tarfile.TarInfo(name)
    status = os.lstat(place)
    info.mode, info.mtime = status.st_mode & 0o777, status.st_mtime
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(place)
    elif stat.S_ISREG(status.st_mode):
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                info.size = status.st_size
                archive.addfile(info, file)
        return
    else:
        return
    archive.addfile(info)


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
    archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str, owner: tuple[int, int] | None
) -> None:
    mode = member.mode & 0o777
    if member.isdir():
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
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
