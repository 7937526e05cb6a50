"""File locks between processes: `flock(2)` on files below `locks/`, released by the kernel when a process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Busy(Exception):
    """Another process holds the lock, and waiting was not wanted."""


@contextmanager
def locked(path: Path, *, shared: bool = False, blocking: bool = True) -> Iterator[None]:
    """Hold the lock at `path`, shared or alone. Raises Busy at once when it is taken and `blocking` is false.

    The file stays: removing a lock file while another process waits for it would let two hold "the same" lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, operation | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Busy(path.name) from None
        yield
    finally:
        os.close(descriptor)
