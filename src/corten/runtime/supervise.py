"""The one more process of a container with `--restart` or a health check: `python -m corten.runtime.supervise STORE NAME
LOCK`. It starts the container again when its policy says so, and asks it whether it is well.

It holds `supervisor.lock` in the container's directory, which it inherited from whoever started it. When it is killed, the
container lives on without it, and `inspect` says so. A machine's restart ends it too: nothing starts containers at boot.

health    `starting`, `healthy` or `unhealthy`, and in a second line how often in a row it has failed
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from functools import partial
from pathlib import Path

from corten.errors import CortenError
from corten.events import Event
from corten.runtime import records
from corten.runtime.container import start_again
from corten.runtime.executing import Execution, execute
from corten.runtime.inventory import STOPPED, Ending, ending_of, find, is_alive
from corten.runtime.processes import inside, wait_for_end
from corten.runtime.records import Health, Record, Restart
from corten.store.disk import write_atomically
from corten.store.store import Store

FIRST_DELAY, LONGEST_DELAY = 0.1, 60.0
"""Seconds before the first restart in a row, doubled for every further one up to the longest."""
SETTLED = 10.0
"""A container that ran for so many seconds begins a new row."""
_PAUSE = 0.05


def is_due(restart: Restart, ending: Ending | None, in_a_row: int) -> bool:
    """Whether a container that ended so is started again, after `in_a_row` restarts that did not last."""
    if restart.most is not None and in_a_row >= restart.most:
        return False
    if restart.policy == "on-failure":
        return ending is None or ending.code != 0
    return restart.policy == "always"


def delay(in_a_row: int) -> float:
    """Seconds to wait before the next start."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(in_a_row, 30))


def next_health(health: Health, status: str, failures: int, well: bool, age: float) -> tuple[str, int]:
    """Status and failures in a row after one more answer of a container that has run for `age` seconds. While it has never
    been well, failures in its start period do not count."""
    if well:
        return "healthy", 0
    if status == "starting" and age < health.start_period:
        return status, 0
    failures += 1
    return ("unhealthy" if failures >= health.retries else status), failures


def supervise(store: Store, name: str) -> None:
    """Watch the container until it has ended for good."""
    directory = find(store, name)
    in_a_row = 0
    while (record := records.read(directory)) is not None:
        begun = time.monotonic()
        _watch(store, directory, record)
        if time.monotonic() - begun >= SETTLED:
            in_a_row = 0
        if (directory / STOPPED).exists() or not is_due(
            record.restart, ending_of(directory, record), in_a_row
        ):
            return
        until = time.monotonic() + delay(in_a_row)
        while time.monotonic() < until:
            if (directory / STOPPED).exists():
                return
            time.sleep(_PAUSE)
        in_a_row += 1
        try:
            start_again(store, name, _nobody, supervised=True)
        except CortenError as error:
            _note(directory, error.message)
        except Exception:
            # Whatever it is, the next attempt may succeed, and a container must not be left alone in silence.
            import traceback

            _note(directory, traceback.format_exc())


def _note(directory: Path, text: str) -> None:
    with contextlib.suppress(OSError), open(directory / "supervisor.log", "a", encoding="utf-8") as log:
        log.write(f"{time.time():.3f} {text}\n")


def _watch(store: Store, directory: Path, record: Record) -> None:
    """Return when the container has ended; ask after its health meanwhile."""
    status, failures = "starting", 0
    begun = time.monotonic()
    if record.health is not None:
        _write_health(directory, status, failures)
    while is_alive(directory):
        pid = inside(directory)
        if pid is None:
            time.sleep(_PAUSE)
            continue
        due = time.monotonic() + record.health.interval if record.health else None
        if wait_for_end(partial(inside, directory), due) or record.health is None:
            continue
        well = _is_well(store, directory.name, record.health)
        age = time.monotonic() - begun
        status, failures = next_health(record.health, status, failures, well, age)
        if directory.exists():
            _write_health(directory, status, failures)


def _is_well(store: Store, name: str, health: Health) -> bool:
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return execute(store, name, Execution(health.command), output=null, timeout=health.timeout) == 0
    except CortenError:
        return False
    finally:
        os.close(null)


def _write_health(directory: Path, status: str, failures: int) -> None:
    write_atomically(directory / "health", f"{status}\n{failures}\n".encode())


def _nobody(event: Event) -> None:
    """Nobody is there to be told."""


def main(root: str, name: str, lock: int) -> None:
    """Supervise with the lock that the caller took."""
    os.set_inheritable(lock, False)
    store = Store(Path(root))
    try:
        supervise(store, name)
    except Exception:
        import traceback

        _note(store.containers_directory / name, traceback.format_exc())
        raise


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
