"""Progress as data: what long work tells whoever watches it.

The library emits events and never prints. A verb passes an `Observer` down; the command line renders it as a live
display on a terminal and as plain lines in a log. Events may arrive from several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from corten.values import dataclass

Phase = Literal[
    "resolve",
    "download",
    "install",
    "compile",
    "hash",
    "verify",
    "start",
    "copy",
    "push",
    "pull",
    "predict",
    "build",
]


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """Work on `name` has begun. `total` is in bytes for downloads and hashing, in items otherwise; None: unknown."""

    phase: Phase
    name: str
    total: int | None = None


@dataclass(frozen=True, slots=True)
class TaskAdvanced:
    """`amount` more of `name` is done, in the unit of its `TaskStarted.total`."""

    phase: Phase
    name: str
    amount: int


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """Work on `name` is complete. It is not emitted for work that failed: the error says so."""

    phase: Phase
    name: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth knowing that needs no action. `verbose` notes are shown with -v only."""

    message: str
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that works now and may surprise later."""

    message: str
    hint: str | None = None


Event = TaskStarted | TaskAdvanced | TaskFinished | Note | Warned
Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The observer that watches nothing."""


def once(observe: Observer) -> Observer:
    """`observe`, which hears of each warning once."""
    heard: set[Warned] = set()

    def tell(event: Event) -> None:
        if isinstance(event, Warned):
            if event in heard:
                return
            heard.add(event)
        observe(event)

    return tell
