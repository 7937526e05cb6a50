"""Ending a service, whatever of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from functools import partial

from corten.errors import RuntimeFailure
from corten.runtime.control import stop
from corten.runtime.inventory import is_locked, living_of
from corten.runtime.processes import send
from corten.store.store import Store
from corten.supervise import control, services
from corten.supervise.services import Service

_PATIENCE = 5.0
"""Seconds that a supervisor has beyond what its containers have, before it is killed."""


def end(store: Store, name: str, grace: float) -> None:
    """End the service `name`: its containers finish what is in flight, for `grace` seconds. When this returns nothing of it is
    left, and its port is free. Raises RuntimeFailure where there is none."""
    service = services.find(store, name)
    if service.supervised:
        _tell(service, grace)
        _wait(service, grace + _PATIENCE)
    for item in living_of(store, name):
        with contextlib.suppress(RuntimeFailure):
            stop(store, item.name, grace)
    services.forget(service)


def _tell(service: Service, grace: float) -> None:
    """Tell its supervisor to end; one that is only starting as soon as it listens."""
    until = time.monotonic() + grace + _PATIENCE
    while True:
        with contextlib.suppress(RuntimeFailure):
            control.tell(service.directory, do="end", grace=grace)
            return
        state = services.read(service.directory)
        starting = state is not None and not state.pid and is_locked(services.lock_path(service.directory))
        if not starting or time.monotonic() > until:
            return
        time.sleep(0.02)


def _wait(service: Service, seconds: float) -> None:
    lock = services.lock_path(service.directory)
    until = time.monotonic() + seconds
    while is_locked(lock):
        if time.monotonic() > until:
            send(partial(_holder, service), signal.SIGKILL)
            until = float("inf")
        time.sleep(0.02)


def _holder(service: Service) -> int | None:
    """The supervisor by what it wrote down, if it is the one that has the lock open, and no stranger with its number."""
    state = services.read(service.directory)
    if state is None or not state.pid:
        return None
    try:
        lock = os.stat(services.lock_path(service.directory))
        for descriptor in os.listdir(f"/proc/{state.pid}/fd"):
            with contextlib.suppress(OSError):
                # Not by its name: that has other spellings where a link leads to the store.
                if os.path.samestat(os.stat(f"/proc/{state.pid}/fd/{descriptor}"), lock):
                    return state.pid
    except OSError:
        pass
    return None
