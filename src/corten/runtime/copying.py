"""Files into and out of a container, as a tar stream between two processes.

The one at the container's side has the container's root as its own before it touches a name there: whatever links and
mounts there are, the kernel resolves them as for the container's own programs, also while those change them. It can
import nothing any more by then. The other side stays on the machine and follows no link that came in the stream.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from corten.errors import RuntimeFailure, UsageError
from corten.runtime import enter, launch, records, tree_stream
from corten.runtime.identity import current_identity
from corten.runtime.inventory import find, is_at, lock_path, look, remove_as_owner, take
from corten.runtime.overlay import enter_mount_namespace, mount_overlay
from corten.runtime.processes import first_process, inside
from corten.store.disk import remove_tree
from corten.store.store import Store

_MOUNTED = "copying"
_PAUSE = 0.05


def copy_out(store: Store, name: str, source: str, target: Path) -> None:
    """Copy `source` of the container to `target` here: into it where it is a folder, and where it leads if it is a link. What
    is written belongs to the caller. Raises RuntimeFailure, UsageError: a device or a pipe is not replaced by a file."""
    base = os.path.basename(os.path.normpath("/" + source)) or name
    into = target / base if target.is_dir() else Path(os.path.realpath(target))
    _check_reachable(find(store, name))
    if _is_stream(target) or _is_stream(into):
        raise UsageError(
            f"'{target}' is neither a file nor a folder",
            hint=f"to see a file: corten exec {name} -- cat {source}",
        )
    if not into.parent.is_dir():
        raise UsageError(f"there is no folder '{into.parent}'", hint="make it first")

    def act(stream: BinaryIO) -> None:
        # A link that is named is followed, as cp does; those below it are copied as links.
        path = os.path.realpath("/" + source)
        if not os.path.lexists(path):
            raise RuntimeFailure(
                f"there is no '{source}' in '{name}'", hint="'corten exec NAME -- ls' lists files"
            )
        tree_stream.send(path, stream)

    with _side(store, name, act, writes=True) as stream:
        tree_stream.receive(stream, str(into.parent), into.name)


def copy_in(store: Store, name: str, source: Path, target: str) -> None:
    """Copy `source` here to `target` in the container: into it where it is a folder. What is written belongs to the
    container's user. Raises RuntimeFailure, UsageError."""
    if not source.exists():
        raise UsageError(f"there is no '{source}'", hint="check its path")
    source = source.resolve()
    directory = find(store, name)
    _check_reachable(directory)
    owner = _owner(directory)

    def act(stream: BinaryIO) -> None:
        path = os.path.realpath("/" + target)
        into = f"{path}/{source.name}" if os.path.isdir(path) else path
        folder, last = os.path.split(into)
        if not os.path.isdir(folder):
            raise RuntimeFailure(
                f"there is no folder '{folder}' in '{name}'", hint="copy to one that is there"
            )
        tree_stream.receive(stream, folder, last, owner)

    with _side(store, name, act, writes=False) as stream:
        tree_stream.send(str(source), stream)


def _is_stream(place: Path) -> bool:
    """Whether it is a device, a pipe, or a name for an open file such as /dev/stdout: nothing that a copy may replace."""
    if place.exists() and not (place.is_file() or place.is_dir()):
        return True
    leads = os.readlink(place) if place.is_symlink() else ""
    return any(path.startswith("/proc/") for path in (leads, os.path.realpath(place.parent) + "/"))


def _check_reachable(directory: Path) -> None:
    """Raise RuntimeFailure for a container that no OCI engine was asked to start: there is no root to enter."""
    record = records.read(directory)
    if record is not None and record.kind == "shim" and not (directory / "bundle" / "config.json").exists():
        raise RuntimeFailure(
            f"'{directory.name}' runs without an OCI engine, where its files cannot be reached",
            hint="give it a folder or a volume with -v for what it shall share",
        )


def _owner(directory: Path) -> tuple[int, int]:
    try:
        user = json.loads((directory / "bundle" / "config.json").read_bytes())["process"]["user"]
        return int(user["uid"]), int(user["gid"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeFailure(
            f"'{directory.name}' never started", hint="remove it with 'corten rm'"
        ) from error


@contextlib.contextmanager
def _side(store: Store, name: str, act: Callable[[BinaryIO], None], *, writes: bool) -> Iterator[BinaryIO]:
    """Run `act` at the container's side, and give the other end of its stream. Raises what it raises, at the end."""
    directory = find(store, name)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    own, others = (writing, reading) if writes else (reading, writing)

    def work() -> int:
        os.close(others)
        # From here on, a module would be the container's.
        sys.path.clear()
        sys.meta_path.clear()
        with os.fdopen(own, "wb" if writes else "rb") as stream:
            act(stream)
        return 0

    with _started(store, directory, work) as (child, told):
        os.close(own)
        failure: Exception | None = None
        try:
            with os.fdopen(others, "rb" if writes else "wb") as stream:
                yield stream
        except (tarfile.TarError, BrokenPipeError) as error:
            failure = error
        finally:
            _, status = os.waitpid(child, 0)
            enter.check(told)
        if failure is not None or status != 0:
            raise RuntimeFailure("not everything was copied", hint="try it again") from failure


@contextlib.contextmanager
def _started(store: Store, directory: Path, work: Callable[[], int]) -> Iterator[tuple[int, int]]:
    """Start `work` with the container's root: in its own mounts while it runs, else in its layers, mounted once more while
    its lock is held, so that nobody starts it meanwhile."""
    while True:
        listed = look(directory)
        monitor = inside(directory) if listed is not None and listed.running else None
        first = first_process(monitor) if monitor is not None else None
        if first is not None:
            # setns(2) makes the root of the mount namespace this process's: engines pivot to the container's.
            yield enter.fork_inside(first, work)
            return
        lock = os.open(lock_path(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            take(lock)
        except BlockingIOError:
            os.close(lock)
            if inside(directory) is not None:
                raise RuntimeFailure(
                    f"the files of '{directory.name}' cannot be reached while it runs", hint="stop it first"
                ) from None
            # Another copy has it, or it is about to start.
            time.sleep(_PAUSE)
        except BaseException:
            os.close(lock)
            raise
        else:
            break
    try:
        if not is_at(lock, lock_path(directory)):
            raise RuntimeFailure(f"there is no container '{directory.name}' any more", hint="it was removed")
        (directory / _MOUNTED).mkdir(exist_ok=True)
        try:
            yield enter.forked(lambda tell: _in_layers(store, directory, work, tell))
        finally:
            with contextlib.suppress(OSError):
                remove_as_owner(directory / _MOUNTED)
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _in_layers(store: Store, directory: Path, work: Callable[[], int], tell: int) -> int:
    record = records.read(directory)
    if record is None:
        raise RuntimeFailure(f"'{directory.name}' was never started whole", hint="remove it with 'corten rm'")
    if not (directory / "upper").is_dir():
        raise RuntimeFailure(
            f"'{directory.name}' ran without an OCI engine, and its files are gone",
            hint="write them to a volume",
        )
    identity = current_identity()

    def act() -> None:
        try:
            enter_mount_namespace()
            own = f"{directory}/{_MOUNTED}"
            remove_tree(Path(own))
            for part in ("", "/names", "/work", "/rootfs"):
                os.mkdir(own + part)
            mount_overlay(
                [str(store.layers.tree(diff_id)) for diff_id in record.diff_ids],
                f"{own}/rootfs",
                f"{directory}/upper",
                f"{own}/work",
                f"{own}/names",
                userxattr=identity.kind != "root",
            )
            os.chroot(f"{own}/rootfs")
            os.chdir("/")
            work()
        except BaseException as error:
            enter.tell_failure(tell, error)

    launch.in_namespace(identity, act, what=f"the files of '{directory.name}' cannot be reached")
    return 0
