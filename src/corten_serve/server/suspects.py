"""Inputs on which a worker ended. The second time is no accident any more: for a while they are not tried again."""

from __future__ import annotations

_MOST = 256
_TERM = 600.0
"""Seconds for which an input is remembered."""
_TIMES = 2


class Suspects:
    """Keys of inputs, with how often and when. An input that is answered is innocent: a worker that an operator or the
    kernel ended had to be working on something."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, float]] = {}

    @property
    def any(self) -> bool:
        """Whether there is anything to look up."""
        return bool(self._known)

    def accuse(self, key: bytes, now: float) -> None:
        """A worker has ended over it."""
        count = self._known.pop(key, (0, 0.0))[0]
        self._known[key] = (count + 1, now)
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def innocent(self, key: bytes) -> None:
        """It has been answered."""
        self._known.pop(key, None)

    def guilty(self, key: bytes, now: float) -> bool:
        """Whether it is not to be tried."""
        count, since = self._known.get(key, (0, 0.0))
        if count and now - since > _TERM:
            del self._known[key]
            return False
        return count >= _TIMES
