"""Ending containers, waiting for their end, and removing them.

Signals go to the container's own first process, by a handle that cannot hit a stranger. Whatever is killed meanwhile, what
is asked for here can be asked for again.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from functools import partial
from pathlib import Path

from corten.errors import RuntimeFailure, UsageError
from corten.runtime import records
from corten.runtime.inventory import (
    STOPPED,
    SUPERVISOR_LOCK,
    Ending,
    Listed,
    ending_of,
    find,
    is_alive,
    is_locked,
    look,
    remove_dead,
)
from corten.runtime.processes import (
    first_process,
    handle,
    handles,
    has_ended,
    inside,
    parent,
    send,
    wait_for_end,
)
from corten.runtime.records import Record
from corten.store.store import Store

_PAUSE = 0.02
_KILL_MONITOR_AFTER = 3.0
_GRACE = 10.0


def stop(store: Store, name: str, grace: float | None) -> Ending | None:
    """Ask a container to end, and kill it after `grace` seconds (None: what it was started with, else 10); what `up` started is removed then. Returns how it
    ended, where that is known. Raises RuntimeFailure when there is none."""
    directory = find(store, name)
    record = records.read(directory)
    if record is None:
        remove_dead(directory)
        return None
    mark_stopped(directory, record)
    if grace is None:
        grace = _GRACE if record.stop_timeout is None else record.stop_timeout
    _end(directory, record, _signal(record.stop_signal), grace)
    ending = ending_of(directory, record)
    if not record.is_kept or record.ends_with_stop:
        remove_dead(directory)
    return ending


def mark_stopped(directory: Path, record: Record) -> None:
    """Write down that somebody asked it to end. Where nobody would start it again, a disk that is full keeps it from nothing. Raises
    OSError."""
    try:
        (directory / STOPPED).touch(0o600)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or record.restart.policy != "no":
            raise


def kill(store: Store, name: str, number: int) -> None:
    """Send a signal to a container's first process. As docker has it, SIGKILL returns when all of the container has ended: until
    then it could still accept a connection, and lose it. Raises RuntimeFailure where it does not run, or does not end."""
    directory = find(store, name)
    record = records.read(directory)

    def target() -> int | None:
        return _target(directory, record, number) if record is not None and is_alive(directory) else None

    # As docker has it, who kills a container does not want it back. What `up` keeps running is started anew all the same.
    ends = number in (signal.SIGKILL, _signal(record.stop_signal if record is not None else None))
    marked = (
        record is not None and record.restart.policy != "no" and ends and not (directory / STOPPED).exists()
    )
    if marked:
        (directory / STOPPED).touch(0o600)
    # What the kernel ends last: the process that all others in the container's process namespace end with.
    last = handle(partial(inside, directory)) if number == signal.SIGKILL else None
    try:
        sent = send(target, number)
        ended = not sent or last is None or has_ended(last, time.monotonic() + _GRACE)
    finally:
        if last is not None:
            os.close(last)
    if not ended:
        raise RuntimeFailure(
            f"'{name}' got SIGKILL and has not ended after {_GRACE:g} s",
            hint="a process that waits for a disk or a network file system ends when that answers",
        )
    if not sent:
        if marked and record is not None and not is_locked(directory / SUPERVISOR_LOCK):
            (directory / STOPPED).unlink(missing_ok=True)
        raise RuntimeFailure(f"'{name}' is not running", hint="'corten ps --all' tells how it ended")


def wait(store: Store, name: str) -> int:
    """Wait until a container has ended for good, and return its exit code: 137 where it is not known."""
    directory = find(store, name)
    record = records.read(directory)
    ending: Ending | None = None
    while record is not None:
        listed = look(directory)
        if listed is None:
            # It removed itself, and what it wrote down went with it; the last look tells.
            break
        record = listed.record
        if listed.ending is not None and listed.status != "restarting":
            ending = listed.ending
            break
        if is_alive(directory):
            wait_for_end(partial(inside, directory), None)
        ending = ending_of(directory, record) or ending
        time.sleep(_PAUSE)
    return ending.code if ending is not None and ending.code is not None else 137


def wait_until(store: Store, name: str, condition: str) -> None:
    """Wait until a container is `running`, or until its health is `condition`. Raises RuntimeFailure where it has ended."""
    directory = find(store, name)
    while True:
        listed = look(directory)
        if listed is not None and condition in (listed.status, listed.health):
            return
        if listed is None or (listed.ending is not None and listed.status != "restarting"):
            raise RuntimeFailure(
                f"'{name}' has ended, and was not {condition}", hint=f"corten restart {name}"
            )
        time.sleep(_PAUSE)


def remove(store: Store, name: str, *, force: bool) -> None:
    """Remove a container that has ended; with `force`, one that runs is killed first. Raises RuntimeFailure where there is
    none, UsageError where it runs."""
    directory = find(store, name)
    listed = look(directory)
    if listed is not None and not force and (listed.ending is None or listed.status == "restarting"):
        raise UsageError(f"'{name}' is running", hint=f"stop it first, or: corten rm --force {name}")
    if listed is not None:
        mark_stopped(directory, listed.record)
        _end(directory, listed.record, signal.SIGKILL, 0)
    remove_dead(directory)


def running(store: Store, name: str) -> tuple[Listed, Path]:
    """A container that runs, and its directory. Raises RuntimeFailure where it does not."""
    directory = find(store, name)
    listed = look(directory)
    if listed is None or listed.status != "running":
        raise RuntimeFailure(
            f"'{name}' is not running",
            hint=f"start it again with 'corten restart {name}'; 'corten ps --all' tells how it ended",
        )
    return listed, directory


def parse_signal(text: str) -> int:
    """A signal's number from `TERM`, `SIGTERM` or `15`. Raises UsageError."""
    name = text.upper()
    try:
        if name.isascii() and name.isdigit() and len(name) < 4 and 0 < int(name) < signal.NSIG:
            return int(name)
        return int(signal.Signals[name if name.startswith("SIG") else f"SIG{name}"])
    except KeyError:
        raise UsageError(f"'{text[:40]}' is not a signal", hint="write it as TERM, HUP or 9") from None


def _signal(text: str | None) -> int:
    try:
        return parse_signal(text) if text else int(signal.SIGTERM)
    except UsageError:
        return int(signal.SIGTERM)


def _end(directory: Path, record: Record, number: int, grace: float) -> None:
    """Signal until the container's lock is free and nobody is left who would start it again."""
    begun = time.monotonic()
    asked = killed = monitor_killed = False
    while is_alive(directory) or is_locked(directory / SUPERVISOR_LOCK):
        passed = time.monotonic() - begun
        late = number == signal.SIGKILL or passed >= grace
        find = partial(_target, directory, record, signal.SIGKILL if late else number)
        target = find()
        if target is not None and is_alive(directory):
            if late and not killed:
                killed = send(find, signal.SIGKILL)
            elif not asked and not late:
                # Nobody hears a signal that the first process would not get: the kernel drops it.
                deaf = record.kind == "conmon" and not handles(target, number)
                asked = send(find, signal.SIGKILL if deaf else number)
        if passed > grace + _KILL_MONITOR_AFTER and not monitor_killed:
            monitor_killed = send(partial(inside, directory), signal.SIGKILL)
        time.sleep(_PAUSE)


def _target(directory: Path, record: Record, number: int) -> int | None:
    """Who gets a signal. conmon's container has its first process below conmon. Below a shim the engine passes signals
    on, and the shim does so for what the program does not handle; it survives to write down the end."""
    first = inside(directory)
    if first is None:
        return None
    if record.kind == "conmon":
        return first_process(first) or first
    return first if number == signal.SIGKILL else parent(first)
