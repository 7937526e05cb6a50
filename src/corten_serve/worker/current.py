"""The request that is being worked on, as the project's code may ask for it, and as its output is labelled."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import NamedTuple


class Current(NamedTuple):
    """`ids` are the requests' ids, several for a batch. `until` is on the clock of `time.monotonic`, 0 for no limit."""

    ids: tuple[str, ...] = ()
    until: float = 0.0


NOBODY = Current()
current: ContextVar[Current] = ContextVar("corten_request", default=NOBODY)


def request_id() -> str:
    """The id of the request that is being predicted, as the client sent it or the server made it; empty outside of one.
    In a batch they are all there, with commas between them."""
    return ",".join(current.get().ids)


def time_left() -> float | None:
    """Seconds until the request's time is up, None where it has no limit; in a batch those of the request with the
    least. Never below 0."""
    until = current.get().until
    return max(0.0, until - time.monotonic()) if until else None
