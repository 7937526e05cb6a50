"""Pauses between attempts, which end when the work that they belong to has failed elsewhere: a registry may ask for a minute."""

from __future__ import annotations

import threading
import time

from corten.errors import RegistryError

_thread = threading.local()


class Stopped(RegistryError):
    """Another part of the same work failed, so this one was stopped."""


def belong(stop: threading.Event | None) -> None:
    """Pauses of this thread end when `stop` is set; None: when they are over."""
    _thread.stop = stop


def pause(seconds: float) -> None:
    """Wait for so long. Raises Stopped as soon as the work has failed."""
    stop: threading.Event | None = getattr(_thread, "stop", None)
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise Stopped("the transfer was stopped")
