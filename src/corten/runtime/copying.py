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
from typing import BinaryIO, Literal

from corten.errors import CortenError, RuntimeFailure, UsageError
from corten.runtime import archives, enter, launch, records, tree_stream
from corten.runtime.identity import current_identity
from corten.runtime.inventory import find, is_at, lock_path, look, remove_as_owner, take
from corten.runtime.overlay import enter_mount_namespace, mount_overlay
from corten.runtime.processes import first_of, inside
from corten.runtime.rootfs import Root
from corten.sandbox import kernel
from corten.store.disk import remove_tree
from corten.store.store import Store

Kind = Literal["folder", "file", "nothing"]
_MOUNTED = "copying"
_PAUSE = 0.05


def copy_out(store: Store, name: str, source: str, target: str, *, keep: bool = False) -> tuple[str, ...]:
    """Copy `source` of the container to `target` here, as `destination` says, and where that leads if it is a link. What is written
    belongs to the caller, or with `keep` to whom it belonged, by number. Returns what was left out, sockets and devices. Raises RuntimeFailure, UsageError: a device or a pipe is
    not replaced by a file."""
    base = os.path.basename(os.path.normpath("/" + source)) or name
    real, kind = os.path.realpath(target), _kind(target)
    folder, last = destination(source, base, None, target, real, kind)
    _check_reachable(find(store, name))
    if _is_stream(Path(target)) or _is_stream(Path(folder, last)):
        raise UsageError(
            f"'{target}' is neither a file nor a folder",
            hint=f"to see a file: corten exec {name} -- cat {source}",
        )
    if not os.path.isdir(folder):
        raise UsageError(f"there is no folder '{folder}'", hint="make it first")

    def act(stream: BinaryIO) -> None:
        # A link that is named is followed, as cp does; those below it are copied as links.
        path = os.path.realpath("/" + source)
        if not os.path.lexists(path):
            raise RuntimeFailure(
                f"there is no '{source}' in '{name}'", hint="'corten exec NAME -- ls' lists files"
            )
        destination(source, base, os.path.isdir(path), target, real, kind)
        tree_stream.send(path, stream)

    with _side(store, name, act, writes=True) as stream:
        return tree_stream.receive(stream, folder, last, keep=keep)


def copy_in(store: Store, name: str, source: str, target: str, *, keep: bool = False) -> tuple[str, ...]:
    """Copy `source` here to `target` in the container, as `destination` says. What is written belongs to the container's user, or
    with `keep` to whom it belonged, by number. Returns what was left out, sockets and devices. Raises RuntimeFailure, UsageError."""
    if not os.path.exists(source):
        raise UsageError(f"there is no '{source}'", hint="check its path")
    base, is_folder = os.path.basename(os.path.abspath(source)), os.path.isdir(source)
    destination(source, base, is_folder, "", "", "folder")
    directory = find(store, name)
    _check_reachable(directory)
    owner = _owner(directory)

    def act(stream: BinaryIO) -> None:
        real, kind = os.path.realpath("/" + target), _kind("/" + target)
        folder, last = destination(source, base, is_folder, target, real, kind)
        if not os.path.isdir(folder):
            raise RuntimeFailure(
                f"there is no folder '{folder}' in '{name}'", hint="copy to one that is there"
            )
        tree_stream.receive(stream, folder, last, owner, keep=keep)

    with _side(store, name, act, writes=False) as stream:
        return tree_stream.send(os.path.realpath(source), stream)


def tar_out(store: Store, name: str, source: str, output: BinaryIO) -> tuple[str, ...]:
    """Write `source` of the container to `output` as a tar archive, in which it has its own name; `DIR/.` are the contents of
    DIR. Returns what was left out. Raises RuntimeFailure."""
    _check_reachable(find(store, name))
    base = os.path.basename(os.path.normpath("/" + source))

    def act(stream: BinaryIO) -> None:
        path = os.path.realpath("/" + source)
        if not os.path.lexists(path):
            raise RuntimeFailure(
                f"there is no '{source}' in '{name}'", hint="'corten exec NAME ls' lists files"
            )
        tree_stream.send(path, stream)

    with _side(store, name, act, writes=True) as stream:
        return archives.from_tree(stream, output, "" if os.path.basename(source) == "." else base)


def tar_in(store: Store, name: str, archive: BinaryIO, target: str, *, keep: bool = False) -> tuple[str, ...]:
    """Unpack a tar archive, packed or not, into the folder `target` of the container. What is written belongs to the container's
    user, or with `keep` to whom the archive says. Returns what was left out. Raises RuntimeFailure, UsageError."""
    directory = find(store, name)
    _check_reachable(directory)
    owner = _owner(directory)

    def act(stream: BinaryIO) -> None:
        folder = os.path.realpath("/" + target)
        if not os.path.isdir(folder):
            raise RuntimeFailure(
                f"there is no folder '{target}' in '{name}'",
                hint="an archive is unpacked into one that is there",
            )
        tree_stream.receive(stream, folder, "", owner, keep=keep)

    with _side(store, name, act, writes=False) as stream:
        return archives.to_tree(archive, stream)


def destination(
    source: str, base: str, is_folder: bool | None, target: str, real: str, kind: Kind
) -> tuple[str, str]:
    """Where `source`, called `base`, is copied to: a folder and a name in it, or no name where its contents go into that folder. The
    rules are docker's: into `target` where that is a folder, else under that name; `DIR/.` stands for the contents of DIR. `real`
    is where `target` leads, and `kind` what is there; `is_folder` is None while it is not known what the source is. Raises
    UsageError."""
    contents = os.path.basename(source) == "."
    if is_folder is False and (contents or source.endswith("/")):
        raise UsageError(f"'{source}' is not a folder", hint="leave out what follows its name")
    if kind == "folder":
        return real, "" if contents else base
    as_folder = target.endswith("/") or os.path.basename(target) == "."
    if kind == "file" and as_folder:
        raise UsageError(f"'{target}' is not a folder", hint="leave out what follows its name")
    if kind == "file" and is_folder:
        raise UsageError(f"a folder cannot take the place of the file '{target}'", hint="choose another name")
    if kind == "nothing" and as_folder and is_folder is False:
        raise UsageError(
            f"there is no folder '{target}'",
            hint="make it first, or leave out the slash for a file of that name",
        )
    folder, last = os.path.split(real)
    return folder, last


def _kind(path: str) -> Kind:
    if os.path.isdir(path):
        return "folder"
    # A name that ends with a slash is looked up without it: a file is none with it.
    return "file" if os.path.lexists(os.path.realpath(path)) else "nothing"


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
        refused: CortenError | None = None
        try:
            with os.fdopen(others, "rb" if writes else "wb") as stream:
                yield stream
        except (tarfile.TarError, BrokenPipeError) as error:
            failure = error
        except CortenError as error:
            # Whatever the other side says then, is a consequence.
            refused = error
        finally:
            _, status = os.waitpid(child, 0)
            if refused is not None:
                os.close(told)
            else:
                enter.check(told)
        if refused is not None:
            raise refused
        if failure is not None or status != 0:
            raise RuntimeFailure("not everything was copied", hint="try it again") from failure


@contextlib.contextmanager
def _started(store: Store, directory: Path, work: Callable[[], int]) -> Iterator[tuple[int, int]]:
    """Start `work` with the container's root: in its own mounts while it runs, else in its layers, mounted once more while
    its lock is held, so that nobody starts it meanwhile."""
    while True:
        listed = look(directory)
        first = first_of(directory) if listed is not None and listed.running else None
        if first is not None:
            # setns(2) makes the root of the mount namespace this process's: engines pivot to the container's.
            yield enter.fork_inside(first, work)
            return
        lock = os.open(lock_path(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            take(lock)
        except BlockingIOError:
            os.close(lock)
            # Its monitor may be ending still, when the end is written down already.
            if inside(directory) is not None and not (directory / "exit" / directory.name).exists():
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
            _mount_volumes(directory, f"{own}/rootfs")
            os.chroot(f"{own}/rootfs")
            os.chdir("/")
            work()
        except BaseException as error:
            enter.tell_failure(tell, error)

    launch.in_namespace(identity, act, what=f"the files of '{directory.name}' cannot be reached")
    return 0


def _mount_volumes(directory: Path, root: str) -> None:
    """Show the volumes and folders of this machine where the container had them. What is not there any more stays away."""
    options = records.read_options(directory)
    targets = {volume.target for volume in options.volumes} | {
        volume.target for volume in options.every_volume
    }
    if not targets:
        return
    spec = json.loads((directory / "bundle" / "config.json").read_bytes())
    inside = Root(root)
    for mount in spec["mounts"]:
        if mount["destination"] not in targets:
            continue
        place = inside.place(mount["destination"])
        if place is None or os.path.isdir(place) != os.path.isdir(mount["source"]):
            continue
        kernel.bind(mount["source"], place)
        kernel.harden(place, writable="ro" not in mount["options"])
