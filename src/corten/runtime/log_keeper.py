"""Keeping what conmon drops: a log that has grown too long begins anew, and the former one stays, whole, as `output.log.1`. Where
more are to be kept, the ones before it are `output.log.2` and so on.

conmon (2.1) opens `output.log.tmp` and renames it to `output.log`, which lets go of the former file. So that has a second name
always, and the next one too, before conmon makes it:

kept/now     the log that conmon writes to
kept/next    the file that waits as `output.log.tmp`

Two logs may begin before anybody has to act; then `settle` puts the names right. A process does so at each rename in the folder:
`python log_keeper.py DIRECTORY FORMERS`, below the monitor, with which it ends. It imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys

LOG, FORMER = "output.log", "output.log.1"
NOW, NEXT = "kept/now", "kept/next"
BEGINS = "output.log.1.begins"
"""Where in the log `output.log.1` began, when that was copied and the log made shorter, as it is without conmon (`attend.shorten_log`)."""
CUT = "output.log.cut"
"""There where the oldest of several former logs may begin within a line, as it is without conmon."""
_TEMPORARY = f"{LOG}.tmp"
_LATEST = 5.0
"""Seconds between two looks where the kernel tells nothing."""


def formers_of(files: int | None) -> int:
    """How many former logs are kept where a log may have so many files, with the one that is written to: at least one, so that
    whoever follows loses nothing."""
    return max(1, files - 1) if files is not None else 1


def make_room(log: str, formers: int) -> None:
    """Give each former log of `log` the next number, up to `formers`, so that the first one is free or can be replaced. Raises
    OSError."""
    free = next((number for number in range(1, formers) if not os.path.exists(f"{log}.{number}")), formers)
    for number in range(free - 1, 0, -1):
        os.rename(f"{log}.{number}", f"{log}.{number + 1}")


def settle(directory: str, formers: int = 1) -> None:
    """Give the log its second names, and keep the former one where a new one has begun. Raises OSError."""
    log, now, following = (f"{directory}/{name}" for name in (LOG, NOW, NEXT))
    while not _same(now, log):
        two = _size(following) and not _same(following, log)
        if os.path.exists(now) and (formers > 1 or not two):
            make_room(log, formers)
            os.rename(now, f"{directory}/{FORMER}")
        if two:
            # Two have begun since.
            make_room(log, formers)
            os.rename(following, f"{directory}/{FORMER}")
            _unlink(now)
        with contextlib.suppress(FileExistsError):
            os.link(log, now)
    if not os.path.exists(f"{directory}/{_TEMPORARY}"):
        _unlink(following)
        os.close(os.open(following, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.suppress(FileExistsError):
            # Where conmon was faster, the one that it makes has its second name a moment later.
            os.link(following, f"{directory}/{_TEMPORARY}")


def prepare(directory: str, formers: int = 1) -> None:
    """Make the log of a container that is about to start, with its second names. Raises OSError."""
    os.makedirs(f"{directory}/kept", mode=0o700, exist_ok=True)
    os.close(os.open(f"{directory}/{LOG}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    settle(directory, formers)


def start(directory: str, formers: int = 1) -> None:
    """Start the process that keeps the logs, as a child in the namespaces of this one. A container that has ended meanwhile needs
    none."""
    # A process namespace whose first process is gone refuses more (ENOMEM).
    with contextlib.suppress(OSError):
        if os.fork() == 0:
            with contextlib.suppress(OSError):
                null = os.open(os.devnull, os.O_RDWR)
                for descriptor in range(3):
                    os.dup2(null, descriptor)
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                os.execve(sys.executable, [sys.executable, "-I", "-S", __file__, directory, str(formers)], {})
            os._exit(125)


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))
    except FileNotFoundError:
        return False


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def keep(directory: str, formers: int) -> None:
    """Settle at each rename, for ever."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        fcntl.fcntl(folder, fcntl.F_NOTIFY, fcntl.DN_RENAME | fcntl.DN_MULTISHOT)
    while True:
        # The disk may be full for a while.
        with contextlib.suppress(OSError):
            settle(directory, formers)
        signal.sigtimedwait({signal.SIGIO}, _LATEST)


if __name__ == "__main__":
    keep(sys.argv[1], int(sys.argv[2]))
