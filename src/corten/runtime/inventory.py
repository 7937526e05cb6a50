"""The containers of a store on this disk: who they are, which of them live, and clearing up after them. What each leaves
there is written in `records.py`; beside it:

containers/<name>/stopped   appears when somebody asked it to end, so that nothing starts it again
containers/<name>/…         upper, work, rootfs, bundle, the engine's own state
containers/<name>.lock      held as long as what watches the container lives, which is how the living are known
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from corten.errors import RuntimeFailure, listed
from corten.oci.digest import Digest
from corten.runtime import cgroups, launch, records
from corten.runtime.identity import current_identity
from corten.runtime.processes import inside, was_inside
from corten.runtime.records import Record
from corten.store.disk import boot_identity, remove_tree, write_atomically
from corten.store.store import Store
from corten.values import dataclass

STOPPED = "stopped"
SERVICE = "dev.corten.service"
"""The label of a container with the name of what it serves for, which starts others in its place."""
SUPERVISOR_LOCK = "supervisor.lock"
Status = Literal["created", "running", "restarting", "exited"]
_KILLED = 137
_TRIES, _BETWEEN = 10, 0.003


@dataclass(frozen=True, slots=True)
class Ending:
    """How a container ended. `code` as a shell gives it, None where nobody knows; `at` seconds since the epoch, None
    likewise; `reason` where it was not the program's own doing."""

    code: int | None
    at: float | None
    out_of_memory: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A container as `ps` shows it. `ending` is None while it lives; `started` is seconds since the epoch; `health` is
    `starting`, `healthy` or `unhealthy` where it is asked for."""

    name: str
    status: Status
    record: Record
    ending: Ending | None
    health: str | None

    @property
    def running(self) -> bool:
        """Whether it lives, even if its program has not begun yet."""
        return self.ending is None and self.status != "restarting"


def list_containers(store: Store) -> list[Listed]:
    """The containers of this store, newest first."""
    found = [item for directory in directories(store) if (item := look(directory)) is not None]
    return sorted(found, key=lambda item: -item.record.started)


def look(directory: Path) -> Listed | None:
    """The container in `directory` as it is now; None where there is none, or only the beginning of one."""
    alive = is_alive(directory)
    record = records.read(directory)
    if record is None:
        return None
    health = _health(directory) if record.health is not None else None
    if alive:
        return Listed(
            record.name, "running" if _has_begun(directory, record) else "created", record, None, health
        )
    ending = ending_of(directory, record)
    supervised = record.restart.policy != "no" and is_locked(directory / SUPERVISOR_LOCK)
    if supervised and not (directory / STOPPED).exists():
        return Listed(record.name, "restarting", record, ending, None)
    if ending is None:
        return Listed(record.name, "created", record, Ending(None, None, reason="it never started"), None)
    return Listed(record.name, "exited", record, ending, None)


def ending_of(directory: Path, record: Record) -> Ending | None:
    """How a container that does not live ended; None when it never began."""
    file = directory / "exit" / record.name
    try:
        code, at = int(file.read_text()), file.stat().st_mtime
    except (OSError, ValueError):
        if not was_inside(directory):
            return None
        if record.boot != boot_identity():
            return Ending(None, None, reason="the machine was restarted")
        return Ending(_KILLED, None, reason="its monitor was killed")
    if code < 0:
        # conmon's way to say that the time given by --timeout had run out.
        return Ending(_KILLED, at, False, "its time was over")
    marks = (directory / launch.RAN_OUT_OF_MEMORY, directory / "exit" / "oom")
    memory = any(mark.exists() for mark in marks) or cgroups.memory_ran_out(
        cgroups.group_name(directory), code
    )
    return Ending(code, at, memory, memory_reason(directory) if memory else None)


def memory_reason(directory: Path) -> str:
    """Why a container ended that ran out of memory."""
    try:
        limit = records.read_options(directory).limits.memory
    except RuntimeFailure:
        limit = None
    return (
        f"it used more than its {limit >> 20} MiB of memory"
        if limit
        else "it used more memory than its limit"
    )


def note_exit(directory: Path, code: int) -> None:
    """Write down the exit code, as conmon does."""
    write_atomically(directory / "exit" / directory.name, str(code).encode())


def _has_begun(directory: Path, record: Record) -> bool:
    """Whether the program has started. Where the one who would have said so was killed, the engine's pipe for starting
    tells: it is removed by the start."""
    if record.kind != "conmon":
        return was_inside(directory)
    if (directory / launch.STARTED).exists():
        return True
    return was_inside(directory) and (
        (directory / "engine" / record.name).exists()
        and not (directory / "engine" / record.name / "exec.fifo").exists()
    )


def _health(directory: Path) -> str:
    try:
        return (directory / "health").read_text().partition("\n")[0]
    except OSError:
        return "starting"


def find(store: Store, name: str) -> Path:
    """The directory of the container called `name`, or of the one that serves for it. Raises RuntimeFailure naming those
    there are."""
    names = [directory.name for directory in directories(store)]
    if name not in names:
        serving = living_of(store, name)
        if serving:
            return store.containers_directory / serving[0].name
        hint = (
            f"there are: {listed(sorted(names))}" if names else "'corten ps' lists them; there are none now"
        )
        raise RuntimeFailure(f"there is no container '{name}'", hint=hint)
    return store.containers_directory / name


def living_of(store: Store, service: str) -> list[Listed]:
    """The containers that live for a service, newest first."""
    return [
        item
        for item in list_containers(store)
        if item.running and dict(item.record.labels).get(SERVICE) == service
    ]


def layers_in_use(store: Store) -> set[Digest]:
    """The layers of containers that live, or may be started again."""
    found: set[Digest] = set()
    for directory in directories(store):
        record = records.read(directory)
        if record is not None and (record.is_kept or is_alive(directory)):
            found |= set(record.diff_ids)
    return found


def sweep(store: Store) -> None:
    """Remove what killed containers left behind. Detached ones that ended are kept until they are removed. What cannot be removed
    stays: it is no reason to start nothing any more."""
    for directory in directories(store):
        if _is_litter(directory):
            # Looked at once more under its lock: it may be about to start, and even have ended, meanwhile.
            with contextlib.suppress(OSError, RuntimeFailure):
                remove_dead(directory, _is_litter)
    for directory in _lost(store):
        with contextlib.suppress(OSError, RuntimeFailure):
            remove_dead(directory, lambda directory: not directory.exists())


def _lost(store: Store) -> list[Path]:
    """Containers of which only the lock is there: killed before they had a directory, or when they had none any more."""
    try:
        names = set(os.listdir(store.containers_directory))
    except FileNotFoundError:
        return []
    locked = [name.removesuffix(".lock") for name in names if name.endswith(".lock")]
    return [store.containers_directory / name for name in locked if name not in names]


def _is_litter(directory: Path) -> bool:
    record = records.read(directory)
    return record is None or not record.is_kept


def directories(store: Store) -> list[Path]:
    """Where every container of the store has its files."""
    try:
        return [path for path in store.containers_directory.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []


def lock_path(directory: Path) -> Path:
    """The lock that the living hold."""
    return directory.with_name(directory.name + ".lock")


def is_alive(directory: Path) -> bool:
    """Whether the container in `directory` runs, or what watches it has yet to write down its end: a monitor may let go of the
    lock some moments before."""
    if is_locked(lock_path(directory)):
        return True
    return inside(directory) is not None and not (directory / "exit" / directory.name).exists()


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock at `path`."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def take(descriptor: int) -> None:
    """Take the lock of a container that does not live. Raises BlockingIOError where it does: whoever only looks at a lock
    has it for some microseconds."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_BETWEEN)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def remove_dead(directory: Path, only: Callable[[Path], bool] | None = None) -> None:
    """Remove a container that does not live, holding its lock, so that nobody takes its name at the same moment; `only`
    where that says so then."""
    descriptor = os.open(lock_path(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        take(descriptor)
        if is_at(descriptor, lock_path(directory)) and (only is None or only(directory)):
            if os.geteuid() == 0:
                cgroups.remove(cgroups.group_name(directory))
            remove(directory)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)


def remove(directory: Path) -> None:
    """Remove a container's files and its lock, which the caller holds or knows to be free."""
    remove_as_owner(directory)
    with contextlib.suppress(FileNotFoundError):
        lock_path(directory).unlink()


def remove_as_owner(path: Path) -> None:
    """Remove files that a container's users may own. Raises RuntimeFailure where even that is refused."""
    with contextlib.suppress(PermissionError):
        remove_tree(path)
    if os.path.lexists(path):
        # Files of a container's other users belong to subordinate IDs, and an overlay's own folders are open to nobody:
        # only a namespace in which this user is root may delete them.
        launch.in_namespace(
            current_identity(),
            lambda: remove_tree(path),
            what=f"what a container left behind in '{path}' cannot be removed",
        )
