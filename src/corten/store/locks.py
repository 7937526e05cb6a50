"""File locks between processes: `flock(2)` on files below `locks/`, released by the kernel when a process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corten.store.disk import private_directory


class Busy(Exception):
    """Another process holds the lock, and waiting was not wanted."""


@contextmanager
def locked(path: Path, *, shared: bool = False, blocking: bool = True) -> Iterator[None]:
    """Hold the lock at `path`, shared or alone. Raises Busy at once when it is taken and `blocking` is false.

    Whoever holds it alone may remove the file: one who waited for it then holds a lock that is nobody's any more, sees that by the
    file's number, and takes the new one."""
    private_directory(path.parent)
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, operation | (0 if blocking else fcntl.LOCK_NB))
            except BlockingIOError:
                raise Busy(path.name) from None
            if not _is_at(descriptor, path):
                continue
            yield
            return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)
