"""Writing to a disk so that a crash at any instant leaves either the old state or the new one."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corten.errors import StoreError

FULL = (errno.ENOSPC, errno.EDQUOT)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DEEPEST = 64
"""Directories within each other that are removed by calls within each other, each of which holds one open."""
_REFUSED = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)


@contextmanager
def explained(path: Path, what: str = "the store at ") -> Iterator[None]:
    """Turn the disk's own refusals (full, read-only, not permitted, not a folder) into a StoreError that names `path`,
    which is `what`: the store, unless it is said to be another place."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            elsewhere = "run 'corten prune', or set CORTEN_HOME to a directory on a larger disk"
            raise StoreError(
                f"the disk of '{path}' is full",
                hint=elsewhere if what else "choose a folder on a larger disk",
            ) from error
        if error.errno in _REFUSED:
            place = "CORTEN_HOME to a directory" if what else "another folder"
            raise StoreError(
                f"cannot write to {what}'{path}': {os.strerror(error.errno).lower()}",
                hint=f"set {place} that you may write to" if what else f"choose {place}",
            ) from error
        raise


def write_atomically(path: Path, data: bytes, mode: int = 0o644, *, durable: bool = False) -> None:
    """Put `data` at `path`: readers see the old file or the whole new one, also after a kill; when `durable`, after a power
    loss too."""
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fdatasync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_file_system(path: Path) -> None:
    """Flush the whole file system that holds `path` to its device (syncfs(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(path))
    finally:
        os.close(descriptor)


def boot_identity() -> str:
    """A name for the time since this machine was switched on; empty where the kernel does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def remove_tree(path: Path) -> None:
    """Remove the directory `path` and all below it, also directories that their owner may not write to. What another
    process removes at the same time is no error."""
    if _removed(path):
        return
    import shutil

    def retry(function: object, name: str, error: BaseException) -> None:
        if isinstance(error, FileNotFoundError):
            return
        parent = os.path.dirname(name)
        os.chmod(parent, 0o700)
        if os.path.isdir(name) and not os.path.islink(name):
            os.chmod(name, 0o700)
            shutil.rmtree(name, ignore_errors=True)
        else:
            os.unlink(name)

    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path, onerror=lambda function, name, info: retry(function, name, info[1]))


def _removed(path: Path) -> bool:
    """Remove the directory `path` where nothing in it resists. What a container leaves is little, and somebody waits for its end:
    `shutil` imports all compressors, which takes longer than this. Like it, this follows no link that appears meanwhile.
    Directories may be nested as deeply as a container could make them, far beyond what calls can be."""
    try:
        above = os.open(path.parent, _DIRECTORY)
        try:
            root = _opened(path.name, above)
            try:
                while not _emptied(root, root, 0):
                    pass
            finally:
                os.close(root)
            os.rmdir(path.name, dir_fd=above)
        finally:
            os.close(above)
    except OSError:
        return False
    return True


def _emptied(descriptor: int, root: int, depth: int) -> bool:
    """Remove what is in a directory. False where directories in it were moved to `root` for that, for they lay too deep."""
    whole = True
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=descriptor)
                continue
            inner = _opened(entry.name, descriptor)
            try:
                if depth == _DEEPEST:
                    os.rename(entry.name, os.urandom(12).hex(), src_dir_fd=descriptor, dst_dir_fd=root)
                    whole = False
                    continue
                whole = _emptied(inner, root, depth + 1) and whole
            finally:
                os.close(inner)
            os.rmdir(entry.name, dir_fd=descriptor)
    return whole


def _opened(name: str, above: int) -> int:
    """The directory `name`, opened; its owner may change it from here on, whatever it was made with."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        if os.stat(place).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{place}", 0o700)
        return os.open(".", _DIRECTORY, dir_fd=place)
    finally:
        os.close(place)
