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
        self._sizes: dict[bytes, int] = {}

    def may_be(self, size: int) -> bool:
        """Whether any of them is of this size: only then it is worth while to compute a key."""
        return bool(self._known) and size in self._sizes.values()

    def accuse(self, key: bytes, size: int, now: float) -> None:
        """A worker has ended over it."""
        self._sizes[key] = size
        count = self._known.pop(key, (0, 0.0))[0]
        self._known[key] = (count + 1, now)
        if len(self._known) > _MOST:
            self.innocent(next(iter(self._known)))

    def innocent(self, key: bytes) -> None:
        """It has been answered."""
        self._known.pop(key, None)
        self._sizes.pop(key, None)

    def guilty(self, key: bytes, now: float) -> bool:
        """Whether it is not to be tried."""
        count, since = self._known.get(key, (0, 0.0))
        if count and now - since > _TERM:
            self.innocent(key)
            return False
        return count >= _TIMES
