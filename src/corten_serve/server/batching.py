"""How much a worker is given, and when: decisions alone, no input, no output, no clock. Times are seconds."""

from __future__ import annotations

_AHEAD = 0.004
"""Seconds of work that a worker may hold. More would keep requests from being dropped when their clients leave."""
SLOW = 0.02
"""A request that takes longer than this is handed over alone: a worker that waits for us meanwhile costs nothing then."""
STALLED = 0.01
"""Seconds without an answer after which a worker is taken to be busy with something that takes longer than it used to."""
_MOST = 256
_QUIET = 0.1
"""Seconds without a batch after which a server counts as idle, and what it knew about its load as old."""


def window(typical: float | None) -> int:
    """How many requests that take `typical` a worker may hold: about four milliseconds' worth, at least one in hand, and
    one more so that it need not wait for us; but only the one when it takes so long that waiting for us does not count,
    or when nobody knows yet how long it takes."""
    if typical is None or typical > SLOW:
        return 1
    return max(2, min(_MOST, int(_AHEAD / max(typical, 1e-6))))


def patience(queued: int, size: int, waited: float, expected: float, delay: float) -> float:
    """How much longer an idle worker should wait for a batch of at most `size` to grow; 0: take it now.

    `waited` is the age of the oldest of the `queued` requests, `expected` how many came together lately. A batch that is
    as large as could be expected gains nothing by waiting, so one client alone, or an idle server, never waits."""
    if queued >= size or queued >= expected or waited >= delay:
        return 0.0
    return delay - waited


def expect(before: float, taken: int, idle: float) -> float:
    """What to expect of the next batch, after one of `taken` that came `idle` seconds after the one before."""
    if idle > _QUIET:
        return float(taken)
    return max(float(taken), before * 0.75)


def fresh(expected: float, idle: float) -> float:
    """What is left of an expectation after `idle` seconds in which nothing was in hand."""
    return 0.0 if idle > _QUIET else expected
