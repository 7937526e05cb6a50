"""What is to be done with a service, decided from what is known of it: pure."""

from __future__ import annotations

from typing import Literal

from corten.values import dataclass

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the second restart in a row, doubled for every further one up to the longest. The first is at once."""
SETTLED = 10.0
"""A container that lived for so many seconds begins a new row."""

Action = Literal["start", "wait", "listen", "sleep", "give up", "end"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A service at the moment `now` (all times are monotonic seconds).

    `serving`: the container that has the socket. `begun` is its start, `busy` the last moment at which it was seen at work,
    `due` the moment before which none is started. `asleep`: none is wanted until a connection comes, which `knocked` says.
    `idle` is after how many seconds without work it goes to sleep, `patience` how many it has to get ready; None: for
    ever. `updating`: another container is about to take over. `ending`: the end was asked for."""

    now: float
    serving: Literal["none", "starting", "ready"] = "none"
    begun: float = 0.0
    busy: float = 0.0
    due: float = 0.0
    asleep: bool = False
    knocked: bool = False
    updating: bool = False
    ending: bool = False
    idle: float | None = None
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done now. `until` is when to decide again at the latest; None: when something happens."""

    action: Action
    until: float | None = None


def next_step(seen: Seen) -> Step:
    """`start` a container, `wait`, `listen` for a first connection, let the container `sleep`, `give up` on one that does not
    get ready, or `end`."""
    if seen.ending:
        return Step("end")
    if seen.serving == "none":
        if seen.asleep and not seen.knocked:
            return Step("listen")
        return Step("wait", seen.due) if seen.now < seen.due else Step("start")
    if seen.serving == "starting":
        if seen.patience is None:
            return Step("wait")
        limit = seen.begun + seen.patience
        return Step("give up") if seen.now >= limit else Step("wait", limit)
    if seen.idle is None or seen.updating:
        return Step("wait")
    limit = seen.busy + seen.idle
    return Step("sleep") if seen.now >= limit else Step("wait", limit)


def delay(in_a_row: int) -> float:
    """Seconds to wait before the next start, after so many restarts that did not last: 0, 0.5, 1, 2, … 30."""
    return 0.0 if in_a_row == 0 else min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(in_a_row - 1, 30))


def row_after(in_a_row: int, lived: float) -> int:
    """The restarts in a row when the container that the last one started has ended after `lived` seconds."""
    return 0 if lived >= SETTLED else in_a_row
