"""Children that the project's code forks (`os.fork`, `multiprocessing`): none of them is a worker.

A child has everything of its parent's, the way to the server too. What it wrote there the server would read between the parent's
frames, and what it read would be missing in the parent. So it loses channel, board and signal handlers before its first step,
and ends where it would go on as a worker.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

child = False
"""Whether this process is one."""


def part(descriptors: tuple[int, ...], *more: Callable[[], Any]) -> None:
    """Have every child lose `descriptors`, whose numbers then stand for nothing, and call each of `more` there."""

    def in_child() -> None:
        global child
        child = True
        with suppress(OSError):
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for descriptor in descriptors:
                os.dup2(nothing, descriptor, inheritable=False)
            os.close(nothing)
        with suppress(ValueError, OSError):
            signal.set_wakeup_fd(-1)  # It is a socket of the parent's event loop.
            for number in (signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, signal.SIG_DFL)
        for each in more:
            each()

    os.register_at_fork(after_in_child=in_child)


def end(error: BaseException | None = None) -> NoReturn:
    """The end of a child that returned from the project's code, or raised `error` there."""
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code & 0xFF)
