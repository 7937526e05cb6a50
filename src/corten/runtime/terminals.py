"""The caller's terminal: its size, and getting it back as it was."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator


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


def terminal_size() -> tuple[int, int]:
    """Columns and lines of the terminal that is standard output."""
    size = os.get_terminal_size(1)
    return size.columns, size.lines
