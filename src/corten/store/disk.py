"""Writing to a disk so that a crash at any instant leaves either the old state or the new one."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from corten.errors import StoreError

FULL = (errno.ENOSPC, errno.EDQUOT)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DEEPEST = 64
"""Directories within each other that are removed by calls within each other, each of which holds one open."""
_ATTEMPTS = 5
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
        if error.errno in _REFUSED and (other := _elsewhere(error, path)) is not None:
            raise StoreError(
                f"'{other}' cannot be used: {os.strerror(error.errno).lower()}",
                hint="check whether it is there, and what this user may do with it",
            ) from error
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


def _elsewhere(error: OSError, path: Path) -> str | None:
    """The file that an error is about, where that does not lie below `path`. A relative name is seen from some directory there."""
    name = error.filename
    if not isinstance(name, (str, bytes)) or not os.path.isabs(name):
        return None
    found, place = os.path.realpath(os.fsdecode(name)), os.path.realpath(path)
    return None if found == place or found.startswith(place + "/") else os.fsdecode(name)


def private_directory(path: Path) -> None:
    """Make the directory `path`, and what is missing above it, for this user alone: mode 0700 whatever the umask. One that is
    there keeps its mode. Raises OSError."""
    try:
        os.mkdir(path, 0o700)
    except FileNotFoundError:
        private_directory(path.parent)
        with suppress(FileExistsError):  # another process was faster
            os.mkdir(path, 0o700)
    except FileExistsError:
        if not path.is_dir():
            raise


def close_to_others(path: Path, bits: int) -> None:
    """Take the permission `bits` from the directory `path`. A link, and what is not this user's to change, stays as it is."""
    with suppress(OSError):
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode) and status.st_mode & bits:
            descriptor = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
            try:
                os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & ~bits)
            finally:
                os.close(descriptor)


def write_privately(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write the new file `path`, with exactly this mode where the umask does not take more."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def write_atomically(path: Path, data: bytes, mode: int = 0o600, *, durable: bool = False) -> None:
    """Put `data` at `path`: readers see the old file or the whole new one, also after a kill; when `durable`, after a power
    loss too. The file is this user's alone, unless `mode` says something else."""
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
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def remove_tree(path: Path) -> None:
    """Remove the directory `path` and all below it, also directories that their owner may not write to; a link or a file in
    its place is removed itself. No link is followed, whatever changes meanwhile. What another process removes at the same time
    is no error. Directories may be nested as deeply as a container could make them, far beyond what calls can be. Raises
    OSError for what cannot be removed.

    It is not `shutil.rmtree`: that imports all compressors, which takes longer than removing what a container leaves."""
    for attempt in range(_ATTEMPTS):
        try:
            above = os.open(path.parent, _DIRECTORY)
        except FileNotFoundError:
            return
        try:
            root = _opened(path.name, above)
            try:
                while not _emptied(root, root, 0):
                    pass
            finally:
                os.close(root)
            os.rmdir(path.name, dir_fd=above)
        except FileNotFoundError:
            if not _is_there(path.name, above):
                return
        except OSError as error:
            if error.errno == errno.ENOTDIR and _is_unlinked(path.name, above):
                return
            # Otherwise something has changed meanwhile.
            changed = error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
            if not changed or attempt == _ATTEMPTS - 1:
                raise
        else:
            return
        finally:
            os.close(above)


def _is_unlinked(name: str, above: int) -> bool:
    try:
        os.unlink(name, dir_fd=above)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        return False
    return True


def _is_there(name: str, above: int) -> bool:
    try:
        os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _emptied(descriptor: int, root: int, depth: int) -> bool:
    """Remove what is in a directory. False where directories in it were moved to `root` for that, for they lay too deep."""
    whole = True
    with os.scandir(descriptor) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                whole = _removed(entry, descriptor, root, depth) and whole
    return whole


def _removed(entry: os.DirEntry[str], descriptor: int, root: int, depth: int) -> bool:
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.name, dir_fd=descriptor)
        return True
    inner = _opened(entry.name, descriptor)
    try:
        if depth == _DEEPEST:
            os.rename(entry.name, os.urandom(12).hex(), src_dir_fd=descriptor, dst_dir_fd=root)
            return False
        whole = _emptied(inner, root, depth + 1)
    finally:
        os.close(inner)
    os.rmdir(entry.name, dir_fd=descriptor)
    return whole


def _opened(name: str, above: int) -> int:
    """The directory `name`, opened; its owner may change it from here on, whatever it was made with."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        if os.stat(place).st_mode & 0o700 == 0o700:
            return os.open(".", _DIRECTORY, dir_fd=place)
        try:
            descriptor = os.open(".", _DIRECTORY, dir_fd=place)
        except PermissionError:
            # Only where it must be: a container's shim has the /proc of a process namespace that has ended.
            os.chmod(f"/proc/self/fd/{place}", 0o700)
            return os.open(".", _DIRECTORY, dir_fd=place)
        try:
            os.fchmod(descriptor, 0o700)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    finally:
        os.close(place)
