"""Where a service's containers print, and what of it is shown when one does not get ready.

services/<name>/output.log     what a detached service prints
services/<name>/update.log     the same of a container that is to take over: it becomes output.log when it does
services/<name>/previous.log   what was output.log until then
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

LONGEST = 10 << 20
"""A log longer than this many bytes begins anew."""
_TAIL = 64 << 10
_LINES = 50
_NEXT, _PREVIOUS = "update.log", "previous.log"


class Log:
    """The output of one service. `output` is the descriptor that containers print to: that of `path`, or, where there is none,
    what whoever looks on has."""

    def __init__(self, output: int, path: Path | None) -> None:
        self.output, self.path = output, path
        self._next: int | None = None

    def bound(self) -> None:
        """Begin anew where it grew too long."""
        with suppress(OSError):
            if self.path is not None and os.stat(self.path).st_size > LONGEST:
                os.truncate(self.path, 0)

    def begin_next(self) -> int:
        """The descriptor for a container that is to take over. Raises OSError."""
        if self.path is None:
            return self.output
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._next = os.open(self.path.with_name(_NEXT), flags, 0o600)
        return self._next

    def take_over(self) -> None:
        """From here on it is the new container's, and what is printed here goes there too."""
        if self._next is None or self.path is None:
            return
        with suppress(OSError):
            os.rename(self.path, self.path.with_name(_PREVIOUS))
            os.rename(self.path.with_name(_NEXT), self.path)
        for place in {self.output, 2}:
            os.dup2(self._next, place)
        self._close()

    def drop_next(self) -> list[str]:
        """The container does not take over. The last lines that it has printed, as far as nobody has seen them."""
        if self._next is None or self.path is None:
            return []
        lines: list[str] = []
        path = self.path.with_name(_NEXT)
        with suppress(OSError):
            lines = last_lines(path)
            path.unlink()
        self._close()
        return lines

    def _close(self) -> None:
        if self._next is not None:
            os.close(self._next)
            self._next = None


def last_lines(path: Path) -> list[str]:
    """The end of a log, however long who holds it open has made the file. Raises OSError."""
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return file.read(_TAIL).decode(errors="replace").splitlines()[-_LINES:]
