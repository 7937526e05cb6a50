"""What is known of services on the disk.

services/<name>/state.json   a `State`, written whole at each change
services/<name>/control      the socket on which the supervisor is told what to do (control.py)
services/<name>/output.log   what a detached service's containers print, and what its supervisor has to say
services/<name>.lock         held as long as the supervisor lives, which is how the living are known

Whatever is killed at any instant, the lock and the containers' own tell what is there.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Literal

from corten.errors import RuntimeFailure, UsageError, listed
from corten.oci.digest import Digest
from corten.runtime import inventory
from corten.runtime.inventory import Listed, is_at, is_locked, living_of, take
from corten.runtime.options import RunOptions
from corten.runtime.records import decode
from corten.store.disk import boot_identity, explained, private_directory, remove_tree, write_atomically
from corten.store.store import Store
from corten.values import asdict, dataclass

VERSION = 1
LOG, CONTROL = "output.log", "control"
Phase = Literal["starting", "ready", "restarting", "idle", "stopping"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a service runs. `forward` is the port that a command listens on inside, None for a predictor. `path` is the
    project's folder, None where an image was given. `idle` is after how many seconds without work it goes to sleep, and
    `patience` how many a container has to get ready; None: for ever. `ready` is the path that a command is asked until it
    answers, or `tcp`; None: what the image says, else `/`."""

    name: str
    image: str
    image_id: str
    forward: int | None
    options: RunOptions
    host: str
    port: int
    path: str | None = None
    idle: float | None = None
    patience: float | None = None
    ready: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A service as its supervisor, the process `pid`, wrote it down. Times are seconds since the epoch: `started` that of
    the service, `since` that of its phase. `reason` says why a container ended; `due` when the next one is started.
    `layers` are its image's, which have to stay while no container has them."""

    plan: Plan
    pid: int
    boot: str
    detached: bool
    url: str
    phase: Phase
    started: float
    since: float
    layers: tuple[str, ...] = ()
    container: str | None = None
    updating: bool = False
    restarts: int = 0
    updates: int = 0
    reason: str | None = None
    due: float | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A service as it is now. `state` is None where it is damaged, or only beginning; `supervised` whether its supervisor
    lives; `containers` those that do, newest first."""

    name: str
    directory: Path
    state: State | None
    supervised: bool
    containers: tuple[Listed, ...]

    @property
    def status(self) -> str:
        """In a word: its phase, `updating`, `unsupervised` where only its containers live, `ended` where nothing does."""
        if self.supervised:
            if self.state is None:
                return "starting"
            return "updating" if self.state.updating else self.state.phase
        return "unsupervised" if self.containers else "ended"


class House:
    """A service's directory and lock, which this process holds."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory, self.lock = directory, lock

    @property
    def name(self) -> str:
        """The service's."""
        return self.directory.name

    @property
    def log(self) -> Path:
        """The file for what a detached service prints."""
        return self.directory / LOG

    def write(self, state: State) -> None:
        """Put the state down. Only its owner may read it: it holds the environment."""
        document = {"version": VERSION, **asdict(state)}
        write_atomically(self.directory / "state.json", json.dumps(document).encode(), 0o600)

    def release(self) -> None:
        """Let go of the lock; whoever inherited it holds it on."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def remove(self) -> None:
        """Leave nothing behind."""
        remove_tree(self.directory)
        with contextlib.suppress(FileNotFoundError):
            lock_path(self.directory).unlink()
        self.release()


def reserve(store: Store, name: str, *, numbered: bool) -> House:
    """Take a name for a service; where it is taken and `numbered`, one with a number behind. What a killed supervisor left
    under the name is cleared away first, its containers killed. Raises UsageError where it is taken."""
    parent = directory_of(store)
    with explained(store.root):
        private_directory(parent)
        for number in range(1, 1000):
            house = _take(store, parent / (name if number == 1 else f"{name}-{number}"))
            if house is not None:
                return house
            if not numbered:
                break
    raise _taken(name)


def check_free(store: Store, name: str) -> None:
    """Raise UsageError where a service has the name, before anything is built for it."""
    if is_locked(lock_path(directory_of(store) / name)):
        raise _taken(name)


def _taken(name: str) -> UsageError:
    return UsageError(
        f"a service called '{name}' is running",
        hint=f"renew it with 'corten up --update --name {name}', end it with 'corten down {name}', or give another --name",
    )


def _take(store: Store, directory: Path) -> House | None:
    house = _locked(directory)
    if house is not None:
        clear(store, directory.name)
        remove_tree(directory)
        directory.mkdir(mode=0o700)
    return house


def _locked(directory: Path) -> House | None:
    """The lock of a service, taken; None where somebody has it."""
    while True:
        descriptor = os.open(lock_path(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            take(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if is_at(descriptor, lock_path(directory)):
            return House(directory, descriptor)
        # Whoever held it has just removed it: this lock is nobody's any more.
        os.close(descriptor)


def clear(store: Store, name: str) -> None:
    """End the containers that a service without a supervisor has left."""
    from corten.runtime.control import remove

    for item in living_of(store, name):
        with contextlib.suppress(RuntimeFailure):
            remove(store, item.name, force=True)


def services(store: Store) -> list[Service]:
    """The services of this store by name, as they are now. What one in the foreground left is removed."""
    found = []
    listed: list[Listed] | None = None
    for directory in sorted(_directories(store)):
        supervised = is_locked(lock_path(directory))
        state = read(directory)
        if listed is None:
            listed = inventory.list_containers(store)
        own = tuple(
            item
            for item in listed
            if item.running and dict(item.record.labels).get(inventory.SERVICE) == directory.name
        )
        service = Service(directory.name, directory, state, supervised, own)
        if not supervised and not own and (state is None or not state.detached):
            _remove(directory)
            continue
        found.append(service)
    return found


def forget(service: Service) -> None:
    """Remove what a service without a supervisor has left on the disk."""
    if service.directory.exists():
        _remove(service.directory)


def _remove(directory: Path) -> None:
    house = _locked(directory)
    if house is not None:
        house.remove()


def find(store: Store, name: str) -> Service:
    """The service called `name`. Raises RuntimeFailure naming those there are."""
    found = services(store)
    for service in found:
        if service.name == name:
            return service
    names = listed(service.name for service in found)
    raise RuntimeFailure(
        f"there is no service '{name}'",
        hint=f"there are: {names}" if names else "'corten up --detach' starts one",
    )


def the_service(
    store: Store, name: str | None, path: Path | None = None, *, strictly: bool = False
) -> Service:
    """The service called `name`; without a name that of the project in the folder `path`, or else, if not `strictly`, the only
    one. Raises RuntimeFailure, UsageError where there are several."""
    if name is not None:
        return find(store, name)
    found = services(store)
    if path is not None:
        wanted = (os.path.realpath(path), str(path))
        own = [
            item for item in found if item.state and {item.state.plan.path, item.state.plan.image} & {*wanted}
        ]
        if not own and strictly:
            names = listed(service.name for service in found)
            raise RuntimeFailure(
                f"'{path if path != Path() else os.path.basename(os.getcwd())}' is not being served",
                hint="'corten up --detach' starts it" + (f"; there are: {names}" if names else ""),
            )
        found = own or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise RuntimeFailure("no service is running", hint="'corten up --detach' starts one")
    names = listed(service.name for service in found)
    raise UsageError("which service?", hint=f"there are: {names}")


def service_of(store: Store, name: str) -> str | None:
    """The service of that name, or that the container of that name serves for; None where there is neither."""
    if (directory_of(store) / name / "state.json").exists():
        return name
    from corten.runtime import records

    record = records.read(store.containers_directory / name)
    service = dict(record.labels).get(inventory.SERVICE) if record is not None else None
    if service is not None and is_locked(lock_path(directory_of(store) / service)):
        return service
    return None


def layers_in_use(store: Store) -> set[Digest]:
    """The layers of services that live, whose next container needs them."""
    found: set[Digest] = set()
    for directory in _directories(store):
        state = read(directory) if is_locked(lock_path(directory)) else None
        if state is not None:
            found |= {Digest.parse(layer) for layer in state.layers}
    return found


def read(directory: Path) -> State | None:
    """The state in a service's directory; None where it is missing or damaged. Fields of a later version are passed over."""
    try:
        document: Any = json.loads((directory / "state.json").read_bytes())
        return decode(State, document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def is_of_this_boot(state: State) -> bool:
    """Whether the machine has not been restarted since."""
    return state.boot == boot_identity()


def directory_of(store: Store) -> Path:
    """Where services have their directories."""
    return store.root / "services"


def lock_path(directory: Path) -> Path:
    """The lock that the living hold."""
    return directory.with_name(directory.name + ".lock")


def _directories(store: Store) -> list[Path]:
    try:
        return [path for path in directory_of(store).iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
