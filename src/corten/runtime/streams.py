"""Standard streams that are files of this machine: a container gets a pipe in place of each, and a process here passes on.

Whoever has a file open can open it again through /proc with other rights, or change its mode and owner: a container in which
root is this machine's could write what it was to read. runc does the same by itself; crun and bubblewrap pass on what there is.
Pipes, sockets, terminals and /dev/null are passed on as they are.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from corten.runtime.descriptors import close_others
from corten.sandbox import kernel
from corten.values import dataclass

_PIECE = 1 << 16
_NULL = os.makedev(1, 3)


@dataclass(frozen=True, slots=True)
class Streams:
    """`ends` are the pipes' ends for a container by the numbers of the streams that they stand for, `writers` the processes that
    write what it prints to files."""

    ends: tuple[tuple[int, int], ...] = ()
    writers: tuple[int, ...] = ()

    def take(self) -> None:
        """Make the pipes the standard streams of this process."""
        for number, end in self.ends:
            os.dup2(end, number)

    def release(self) -> None:
        """Close the pipes here, once the container's process has them."""
        for end in {end for _, end in self.ends}:
            os.close(end)

    def finish(self) -> None:
        """Wait until everything that was printed is in its file."""
        for pid in self.writers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def replaced_files(numbers: Sequence[int] = (0, 1, 2)) -> Streams:
    """Pipes for those of this process's standard streams `numbers` that are files; nothing is read from another one. Call it
    before there is a new process namespace: what writes to files must outlive the container."""
    ends: list[tuple[int, int]] = []
    writers: list[int] = []
    files: dict[tuple[int, int], int] = {}
    for number in numbers:
        try:
            status = os.fstat(number)
        except OSError:
            continue
        if not _is_file(number, status):
            continue
        key = (status.st_dev, status.st_ino)
        if number and key in files:  # one pipe, so that the order stays
            ends.append((number, files[key]))
            continue
        reading, writing = os.pipe2(os.O_CLOEXEC)
        own, other = (reading, writing) if number else (writing, reading)
        pid = os.fork()
        if pid == 0:
            _pass_on(number, own)
        os.close(own)
        ends.append((number, other))
        if number:
            files[key] = other
            writers.append(pid)
    return Streams(tuple(ends), tuple(writers))


def _is_file(number: int, status: os.stat_result) -> bool:
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
        return False
    return not (stat.S_ISCHR(status.st_mode) and (status.st_rdev == _NULL or os.isatty(number)))


def _pass_on(number: int, pipe: int) -> None:
    """Copy between the stream `number` and `pipe` until one of them ends; in a process of its own, which ends here."""
    try:
        if number == 0:
            kernel.die_with_parent(9)
        close_others({pipe})
        null = os.open(os.devnull, os.O_RDWR)
        for other in {0, 1, 2} - {number}:
            os.dup2(null, other)
        source, target = (pipe, number) if number else (number, pipe)
        while piece := os.read(source, _PIECE):
            view = memoryview(piece)
            while view:
                view = view[os.write(target, view) :]
    except OSError:
        pass  # nobody reads any more, or the disk is full: the container hears of its pipe
    finally:
        os._exit(0)
