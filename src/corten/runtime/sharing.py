"""A container that shares process numbers or System V IPC and /dev/shm with this machine or with another container.

One that shares process numbers is in no process namespace of its own, so the kernel does not end it with the shim. A guard does:

    corten ── shim ── engine ── the container's first process
                 └── guard

The guard waits for the end of the shim, however it comes, and kills what is left. A guard that is killed is noticed by the shim, which
kills everything then. Both hold the lock, so nobody takes the container for ended before it is.

What belongs to the container is told by its mounts: nobody else has its root mounted, and no process leaves its mount namespace
without a right that a container has not. Whatever the program started, and whoever its parent is now, is found.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path

from corten.errors import RuntimeFailure
from corten.runtime import cgroups, inventory, records
from corten.runtime.decide import Situation
from corten.runtime.descriptors import close_others
from corten.runtime.identity import Identity
from corten.runtime.options import RunOptions
from corten.runtime.processes import FIRST, first_of, handle, tree
from corten.sandbox import kernel
from corten.store.disk import write_atomically
from corten.store.store import Store
from corten.values import dataclass, replace

HOST = "host"
JOINED = "joined"
"""The folder in a container's directory where the namespaces of another one are mounted, and its /dev/shm."""
_SHM = f"{JOINED}/shm"
_MOUNTS = "bundle/mounts"
"""The mount namespace of its first process, as `mnt:[4026531841]`."""
_PAUSE, _LONGEST = 0.002, 0.05
_WORDS = {"pid": "its processes", "ipc": "its IPC"}


@dataclass(frozen=True, slots=True)
class Shared:
    """What a container shares: `pid` and `ipc` are `host`, the directory of another container, or None for its own."""

    pid: str | None = None
    ipc: str | None = None

    @property
    def directories(self) -> tuple[str, ...]:
        """Those of the other containers."""
        return tuple(item for item in (self.pid, self.ipc) if item not in (None, HOST))


def choose(options: RunOptions, store: Store, identity: Identity) -> Shared | None:
    """What `options` ask for; None where it shares nothing. Raises RuntimeFailure where that cannot be."""
    pid, ipc = _wanted("pid", options.pid, store), _wanted("ipc", options.ipc, store)
    if pid is None and ipc is None:
        return None
    shared = Shared(pid, ipc)
    if identity.inner_uids and shared.directories:
        raise RuntimeFailure(
            "a container that keeps its caller's number cannot join another one: its user namespace has no right there",
            hint="leave --userns and -u out",
        )
    return shared


def _wanted(kind: str, text: str | None, store: Store) -> str | None:
    if text in (None, "private", "shareable"):
        return None
    if text == HOST:
        return HOST
    name = text.removeprefix("container:")
    directory = inventory.find(store, name)
    record = records.read(directory)
    if record is None or not inventory.is_alive(directory) or first_of(directory) is None:
        raise _ended(str(directory), kind)
    if record.uid != os.geteuid():
        raise RuntimeFailure(
            f"'{name}' belongs to another user of this machine, so {_WORDS[kind]} cannot be shared",
            hint="only containers of the same user share",
        )
    if not (directory / "bundle" / "config.json").exists():
        raise RuntimeFailure(
            f"'{name}' runs without an OCI engine, so {_WORDS[kind]} cannot be shared",
            hint="run it with crun or runc",
        )
    others = records.read_options(directory)
    if kind == "ipc" and others.ipc == "private":
        raise RuntimeFailure(
            f"'{name}' was started with --ipc private, so {_WORDS[kind]} cannot be shared",
            hint="start it without that, or with --ipc shareable",
        )
    return HOST if (others.pid if kind == "pid" else others.ipc) == HOST else str(directory)


def situated(situation: Situation, shared: Shared, directory: str) -> Situation:
    """`situation` of the container in `directory`, with what it shares."""

    def place(kind: str, value: str | None) -> str:
        return "private" if value is None else HOST if value == HOST else f"{directory}/{JOINED}/{kind}"

    return replace(
        situation,
        pid=place("pid", shared.pid),
        ipc=place("ipc", shared.ipc),
        shared_memory=f"{directory}/{_SHM}" if shared.ipc not in (None, HOST) else None,
    )


def _ended(directory: str, kind: str) -> RuntimeFailure:
    return RuntimeFailure(
        f"'{os.path.basename(directory)}' is not running, so {_WORDS[kind]} cannot be shared",
        hint="'corten ps' lists those that run",
    )


def join(shared: Shared, directory: str) -> None:
    """Mount the namespaces that are shared, and /dev/shm of the same container, below `directory`. Called in the shim's mount namespace,
    while /proc is the machine's. Raises RuntimeFailure, OSError."""
    for kind, other in (("pid", shared.pid), ("ipc", shared.ipc)):
        if other in (None, HOST):
            continue
        first = handle(partial(first_of, Path(other)))
        if first is None:
            raise _ended(other, kind)
        try:
            pid = first_of(Path(other))
            if pid is None:
                raise _ended(other, kind)
            place = Path(directory, JOINED, kind)
            place.parent.mkdir(mode=0o755, exist_ok=True)
            place.touch()
            kernel.mount(f"/proc/{pid}/ns/{kind}", str(place), None, kernel.MS_BIND)
            if kind == "ipc":
                Path(directory, _SHM).mkdir(exist_ok=True)
                _show_memory(pid, f"{directory}/{_SHM}")
            if select.select([first], [], [], 0)[0]:
                # It ended meanwhile, and the number may be a stranger's.
                raise _ended(other, kind)
        finally:
            os.close(first)


def _show_memory(pid: int, place: str) -> None:
    """Mount /dev/shm of the process `pid` at `place`. A mount of another namespace can only be copied there."""
    ours, theirs = socket.socketpair()
    mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            kernel.setns(mounts, kernel.CLONE_NEWNS)
            socket.send_fds(theirs, [b"m"], [kernel.copy_mount("/dev/shm")])
        finally:
            os._exit(0)
    os.close(mounts)
    theirs.close()
    with ours:
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(child, 0)
    if not descriptors:
        raise RuntimeFailure(
            "/dev/shm of the other container cannot be shown on this kernel", hint="it needs Linux 5.2"
        )
    try:
        kernel.move_mount(descriptors[0], place)
    finally:
        os.close(descriptors[0])


class Guard:
    """A process that ends the container whose overlay is mounted below `directory` when this one, the shim, is gone; and how this one
    ends it. `machine` is the mount namespace from before that of the shim; `helpers` are processes that go with the container and have
    other mounts; `lock` is held until the end."""

    def __init__(self, directory: str, machine: str, helpers: Collection[int], lock: int) -> None:
        self._directory = Path(directory)
        self._device = _device_of(f"{directory}/rootfs")
        self._machine = machine
        self._group = cgroups.group_name(Path(directory))
        self._helpers = [os.pidfd_open(pid) for pid in helpers]
        self._shim = os.getpid()
        shim = os.pidfd_open(self._shim)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._watch(shim, lock)
            finally:
                os._exit(0)
        os.close(shim)

    def _watch(self, shim: int, lock: int) -> None:
        # Whoever kills a whole group or session does not mean the guard.
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for place in range(3):
            os.dup2(null, place)
        close_others({shim, *self._helpers, *([lock] if lock >= 0 else [])})
        if self._outlived(shim):
            # An engine without control groups waits until nobody has what the program printed to.
            self._kill(spared_mounts=_mounts_of(os.getpid()))
        select.select([shim], [], [])
        self.end()

    def _outlived(self, shim: int) -> bool:
        """Wait for the end of the container's first process or of the shim; whether it was the former's."""
        while not (self._directory / FIRST).exists():
            if select.select([shim], [], [], _LONGEST)[0]:
                return False
        first = handle(partial(first_of, self._directory))
        pid = first_of(self._directory)
        if pid is not None:
            with contextlib.suppress(OSError):
                # Who is left alone there may have another root, and see nothing of this one. As long as it is open here, no other
                # namespace gets its number.
                pinned = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
                write_atomically(self._directory / _MOUNTS, os.readlink(f"/proc/self/fd/{pinned}").encode())
        if first is None:
            return True
        return shim not in select.select([shim, first], [], [])[0]

    def end(self, *, lost: bool = False) -> None:
        """Kill everything of the container but this process and the other one of shim and guard, and return when it is gone. `lost`: the
        guard was killed."""
        for helper in self._helpers:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(helper, signal.SIGKILL)
        self._kill(lost=lost)

    def _kill(self, spared_mounts: str | None = None, *, lost: bool = False) -> None:
        spared = {os.getpid(), self._shim, self.pid}
        pause = _PAUSE
        while found := [
            (pid, place)
            for pid, place in members(self._device, self._machine, self._known(lost)).items()
            if place != spared_mounts and pid not in spared
        ]:
            cgroups.forbid_forks(self._group)
            for pid, place in found:
                descriptor = handle(lambda pid=pid, place=place: pid if _mounts_of(pid) == place else None)  # type: ignore[misc]
                if descriptor is not None:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    os.close(descriptor)
            time.sleep(pause)
            pause = min(_LONGEST, pause * 2)

    def _known(self, lost: bool) -> tuple[str, ...]:
        """The mount namespaces of the first process, and of what it started and the shim or the engine have adopted."""
        found = [_mounts_of(pid) for pid in tree(self._shim)]
        with contextlib.suppress(OSError):
            if not lost:
                found.append((self._directory / _MOUNTS).read_text(encoding="ascii"))
        return tuple(place for place in found if place is not None)

    def dismiss(self) -> None:
        """End the guard itself, and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def members(device: str, machine: str, known: Collection[str] = ()) -> dict[int, str]:
    """The processes in mount namespaces where the file system `device` is mounted, and in those that are `known`, with these.
    `machine` is a namespace that is none of them, and the largest."""
    by_mounts: dict[str, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (place := _mounts_of(int(name))) not in (None, machine):
            by_mounts.setdefault(place, []).append(int(name))
    return {
        pid: place
        for place, pids in by_mounts.items()
        # One alone may have another root, and see nothing of it.
        if place in known or any(_sees(pid, device) for pid in pids)
        for pid in pids
    }


def _mounts_of(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return None


def _sees(pid: int, device: str) -> bool:
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as file:
            return any(line.split(" ", 3)[2] == device for line in file)
    except (OSError, IndexError):
        return False


def _device_of(path: str) -> str:
    number = os.stat(path).st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def enter_users(directories: Iterable[str]) -> None:
    """Enter the user namespace of the containers in `directories`, which a plain user's container shares something with: the right
    to join is held there. Raises RuntimeFailure where they have several, or have ended, and OSError."""
    from corten.runtime.network.wire import users_of

    opened = [users_of(directory) for directory in directories]
    try:
        if len({os.fstat(item).st_ino for item in opened}) > 1:
            raise RuntimeFailure(
                "a plain user's container cannot join two that have different user namespaces",
                hint="start the second of them with --network, --pid or --ipc container: of the first one",
            )
        kernel.setns(opened[0], kernel.CLONE_NEWUSER)
    finally:
        for item in opened:
            os.close(item)
