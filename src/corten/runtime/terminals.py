"""The caller's terminal: its size, and getting it back as it was."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NoReturn


@contextlib.contextmanager
def kept_terminal(terminal: bool) -> Iterator[None]:
    """Give the terminal back as it was, whatever becomes of the engine that makes it raw."""
    if not terminal:
        yield
        return
    import termios

    before = termios.tcgetattr(0)
    try:
        yield
    finally:
        # A process in the background that sets a terminal is stopped otherwise.
        old = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTTOU, old)


@contextlib.contextmanager
def guarded_terminal(terminal: bool) -> Iterator[None]:
    """`kept_terminal`, even where this process is killed: one more process gives the terminal back as soon as this one and
    its children are gone without having said that all is well."""
    if not terminal:
        yield
        return
    watched, alive = os.pipe2(os.O_CLOEXEC)
    guard = os.fork()
    if guard == 0:
        os.close(alive)
        _guard(watched)
    os.close(watched)
    try:
        with kept_terminal(terminal):
            yield
    finally:
        # Somebody may have killed it: that changes nothing for what ran here.
        with contextlib.suppress(BrokenPipeError):
            os.write(alive, b"ended")
        os.close(alive)
        os.waitpid(guard, 0)


def _guard(watched: int) -> NoReturn:
    try:
        import termios

        before = termios.tcgetattr(0)
        # In a session of its own no key reaches it, and it may set the terminal at any time.
        os.setsid()
        os.dup2(watched, 3)
        os.dup2(0, 1)
        os.dup2(0, 2)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        if not os.read(3, 1):
            termios.tcsetattr(0, termios.TCSANOW, before)
    finally:
        os._exit(0)


def terminal_size() -> tuple[int, int]:
    """Columns and lines of the terminal that is standard output."""
    size = os.get_terminal_size(1)
    return size.columns, size.lines
