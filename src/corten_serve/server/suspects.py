"""Inputs on which a worker ended. The second time is no accident any more: for a while they are not tried again."""

from __future__ import annotations

_MOST = 256
_TERM = 600.0
"""Seconds for which an input is remembered."""
_TIMES = 2

Mark = tuple[int, bytes, bytes, bytes]
"""A body's size and some of its bytes."""


class Suspects:
    """Keys of inputs, with how often and when. An input that is answered is innocent: a worker that an operator or the
    kernel ended had to be working on something."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, float]] = {}
        self._marks: dict[bytes, Mark] = {}

    def may_be(self, body: bytes) -> bool:
        """Whether any of them looks like this one: only then it is worth while to compute a key. Size alone does not tell: all
        tensors of a model may have the same."""
        return bool(self._known) and _mark(body) in self._marks.values()

    def accuse(self, key: bytes, body: bytes, now: float) -> None:
        """A worker has ended over it."""
        self._marks[key] = _mark(body)
        count = self._known.pop(key, (0, 0.0))[0]
        self._known[key] = (count + 1, now)
        if len(self._known) > _MOST:
            self.innocent(next(iter(self._known)))

    def innocent(self, key: bytes) -> None:
        """It has been answered."""
        self._known.pop(key, None)
        self._marks.pop(key, None)

    def guilty(self, key: bytes, now: float) -> bool:
        """Whether it is not to be tried."""
        count, since = self._known.get(key, (0, 0.0))
        if count and now - since > _TERM:
            self.innocent(key)
            return False
        return count >= _TIMES


def _mark(body: bytes) -> Mark:
    half = len(body) // 2
    return len(body), body[:64], body[half : half + 64], body[-64:]
