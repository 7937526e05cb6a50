"""The containers of a store on this disk: who they are, which of them live, ending them, and clearing up after them.

containers/<name>/state.json   what it is; `exit` once it has ended
containers/<name>/output.log   what it printed, when it is detached
containers/<name>/…            upper, work, rootfs, bundle, the engine's own state
containers/<name>.lock         held as long as the container's shim lives, which is how the living are known
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corten.errors import RuntimeFailure
from corten.oci.digest import Digest
from corten.runtime import cgroups, launch
from corten.runtime.identity import current_identity
from corten.store.disk import remove_tree
from corten.store.store import Store


@dataclass(frozen=True, slots=True)
class Listed:
    """A container as `ps` shows it. `exit_code` is None while it runs; `started` is seconds since the epoch."""

    name: str
    image: str
    running: bool
    started: float
    command: tuple[str, ...]
    url: str | None
    exit_code: int | None


def list_containers(store: Store) -> list[Listed]:
    """The containers of this store, newest first."""
    found = []
    for directory in directories(store):
        state = read_state(directory)
        if state is None:
            continue
        found.append(
            Listed(
                name=directory.name,
                image=str(state.get("image", "")),
                running=is_alive(directory),
                started=float(state.get("started", 0)),
                command=tuple(state.get("command", ())),
                url=state.get("url"),
                exit_code=state.get("exit"),
            )
        )
    return sorted(found, key=lambda item: -item.started)


def find(store: Store, name: str) -> Path:
    """The directory of the container called `name`. Raises RuntimeFailure naming those there are."""
    names = [directory.name for directory in directories(store)]
    if name not in names:
        hint = (
            f"there are: {', '.join(sorted(names)[:8])}"
            if names
            else "'corten ps' lists them; there are none now"
        )
        raise RuntimeFailure(f"there is no container '{name}'", hint=hint)
    return store.containers_directory / name


def stop(store: Store, name: str, grace: float) -> int | None:
    """Ask a container to end, kill it after `grace` seconds, and remove it. Returns its exit code where it is known."""
    directory = find(store, name)
    state = read_state(directory) or {}
    pid = int(state.get("pid", 0))
    deadline = time.monotonic() + grace
    asked = killed = False
    while is_alive(directory):
        if pid > 1 and not asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            asked = True
        elif pid > 1 and not killed and time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed = True
        time.sleep(0.02)
    code = (read_state(directory) or {}).get("exit")
    remove_dead(directory)
    return code


def layers_in_use(store: Store) -> set[Digest]:
    """The layers of containers that live."""
    found: set[Digest] = set()
    for directory in directories(store):
        if is_alive(directory):
            found |= {Digest.parse(item) for item in (read_state(directory) or {}).get("layers", ())}
    return found


def sweep(store: Store) -> None:
    """Remove what killed containers left behind. Detached ones that ended keep their log until they are stopped."""
    for directory in directories(store):
        state = read_state(directory)
        if state is None or not state.get("detached"):
            remove_dead(directory)


def directories(store: Store) -> list[Path]:
    """Where every container of the store has its files."""
    try:
        return [path for path in store.containers_directory.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []


def read_state(directory: Path) -> dict[str, Any] | None:
    """What a container wrote down about itself; None where that is missing or damaged."""
    try:
        state = json.loads((directory / "state.json").read_bytes())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def lock_path(directory: Path) -> Path:
    """The lock that the living hold."""
    return directory.with_name(directory.name + ".lock")


def is_alive(directory: Path) -> bool:
    """Whether the container in `directory` runs."""
    try:
        descriptor = os.open(lock_path(directory), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def remove_dead(directory: Path) -> None:
    """Remove a container that does not live, holding its lock, so that nobody takes its name at the same moment."""
    descriptor = os.open(lock_path(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(descriptor, lock_path(directory)):
            if os.geteuid() == 0:
                cgroups.remove(directory.name)
            remove(directory)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)


def remove(directory: Path) -> None:
    """Remove a container's files and its lock, which the caller holds or knows to be free."""
    try:
        remove_tree(directory)
    except PermissionError:
        # Files of a container's other users belong to subordinate IDs: only a namespace that has them may delete them.
        launch.in_namespace(current_identity(), lambda: remove_tree(directory))
    with contextlib.suppress(FileNotFoundError):
        lock_path(directory).unlink()
