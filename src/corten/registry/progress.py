"""How far a blob on its way is, also when it has to begin again: what is moved twice counts once."""

from __future__ import annotations

from collections.abc import Callable

from corten.events import Observer, Phase, TaskAdvanced


class Progress:
    """The progress of the task `name`, over all its attempts."""

    def __init__(self, observe: Observer, phase: Phase, name: str) -> None:
        self._observe, self._phase, self._name = observe, phase, name
        self._furthest = 0

    def of_attempt(self) -> Callable[[int], None]:
        """What hears of the length of every piece of one attempt."""
        at = 0

        def advance(amount: int) -> None:
            nonlocal at
            at += amount
            if at > self._furthest:
                self._observe(TaskAdvanced(self._phase, self._name, at - self._furthest))
                self._furthest = at

        return advance
