"""Named volumes: folders of the store that outlive containers.

volumes/<name>/volume.json   labels, when it was made, whether it has its first content
volumes/<name>/data/         what containers see

A new volume begins with what its first container's image has at the place where it is mounted, as docker does it. What is
root's in the image belongs to the container's user in the volume, so that a user that is not root can use it.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from corten.errors import RuntimeFailure, UsageError, listed
from corten.runtime.identity import Identity
from corten.runtime.mounts import VOLUME_NAME, NamedVolume, Volume
from corten.runtime.rootfs import Root
from corten.runtime.spec import Container
from corten.runtime.users import User
from corten.store.disk import explained, private_directory, remove_tree, write_atomically
from corten.store.store import Store
from corten.values import dataclass, replace

MODEL_CACHE = NamedVolume("model-cache", "/model-cache", seeded=False, per_user=True)
MODEL_CACHE_VARIABLES = (
    ("HF_HOME", "/model-cache/huggingface"),
    ("TORCH_HOME", "/model-cache/torch"),
    ("KERAS_HOME", "/model-cache/keras"),
    ("TFHUB_CACHE_DIR", "/model-cache/tfhub"),
    ("NLTK_DATA", "/model-cache/nltk"),
    ("PIP_CACHE_DIR", "/model-cache/pip"),
    ("UV_CACHE_DIR", "/model-cache/uv"),
)
"""Where libraries keep what they download, in the volume that `--model-cache` mounts."""

_LOCK = "volumes"


@dataclass(frozen=True, slots=True)
class Found:
    """A volume of a store. `created` is in seconds since the epoch; `path` is what containers see; `used_by` are the
    containers, running or not, that name it."""

    name: str
    created: float
    labels: tuple[tuple[str, str], ...]
    path: Path
    used_by: tuple[str, ...] = ()


def create(store: Store, name: str, labels: Iterable[tuple[str, str]] = ()) -> Found:
    """Make a volume; one that is there already is kept as it is. Raises UsageError when that has other labels."""
    labels = tuple(labels)
    with store.lock(_LOCK), explained(store.root):
        there = _read(store, name)
        if there is None:
            _make(store, name, labels)
        elif labels and dict(labels) != dict(there.labels):
            raise UsageError(
                f"there is a volume '{name}' with other labels",
                hint="use it as it is, or choose another name",
            )
    return find(store, name)


def list_volumes(store: Store) -> list[Found]:
    """The volumes of a store by name."""
    users = _users(store)
    names = sorted(os.listdir(store.root / "volumes")) if (store.root / "volumes").is_dir() else []
    return [
        replace(found, used_by=tuple(users.get(name, ())))
        for name in names
        if VOLUME_NAME.fullmatch(name) and (found := _read(store, name)) is not None
    ]


def find(store: Store, name: str) -> Found:
    """The volume called `name`. Raises RuntimeFailure naming those there are."""
    volumes = list_volumes(store)
    for volume in volumes:
        if volume.name == name:
            return volume
    names = listed(volume.name for volume in volumes)
    raise RuntimeFailure(
        f"there is no volume '{name}'",
        hint=f"there are: {names}" if names else "'corten volume ls' lists them",
    )


def remove(store: Store, name: str, identity: Identity) -> None:
    """Delete a volume and what is in it. Raises RuntimeFailure when there is none, or a container names it."""
    with store.lock(_LOCK), explained(store.root):
        volume = find(store, name)
        if volume.used_by:
            raise RuntimeFailure(
                f"the volume '{name}' is in use by {', '.join(volume.used_by[:5])}",
                hint=f"remove what uses it first: {_removal(store, volume.used_by[0])}",
            )
        _delete(store, name, identity)


def _removal(store: Store, container: str) -> str:
    """The command that removes a container, whether it runs or not."""
    from corten.runtime.inventory import SERVICE, look

    listed = look(store.containers_directory / container)
    service = dict(listed.record.labels).get(SERVICE) if listed is not None else None
    if service is not None:
        return f"corten down {service}"
    force = "--force " if listed is not None and (listed.running or listed.status == "restarting") else ""
    return f"corten rm {force}{container}"


def prune(store: Store, identity: Identity) -> list[str]:
    """Delete the volumes that no container names. Returns their names."""
    with store.lock(_LOCK), explained(store.root):
        unused = [volume.name for volume in list_volumes(store) if not volume.used_by]
        for name in unused:
            _delete(store, name, identity)
    return unused


def with_volumes(
    container: Container,
    named: Iterable[NamedVolume],
    rooms: Iterable[str],
    store: Store,
    asked: Iterable[str] = (),
) -> Container:
    """`container` with its named volumes, which are made and filled where they are new, and with the folders that its
    image (`rooms`) or its caller (`asked`) calls volumes writable. To be called where its IDs exist, between mounting and starting. Raises UsageError,
    RuntimeFailure."""
    inside = Root(container.root)
    uid, gid = container.identity.shim_ids(container.user.uid, container.user.gid)
    user = replace(container.user, uid=uid, gid=gid)
    taken = {volume.target for volume in container.volumes} | {item.target for item in container.tmpfs}
    volumes = []
    for volume in named:
        taken.add(volume.target)
        # Its container's record names it already, so whoever removes volumes after this leaves it. Filling one may take
        # long, and only its own other containers wait for that.
        with (
            store.lock(_LOCK, shared=True),
            store.lock(f"{_LOCK}-{volume.name}"),
            explained(store.root),
        ):
            source = _ready(store, volume, inside, user, container.identity)
        volumes.append(Volume(str(source), volume.target, volume.writable))
    for room in () if container.read_write else asked:
        in_memory = room.startswith(("/tmp/", "/run/")) or room in ("/tmp", "/run")
        if not in_memory and _room(room, inside, user, container.identity) is None:
            raise UsageError(
                f"'{room}' cannot be a volume: it is a link in the image, or a place of its own",
                hint=f"mount a volume there: -v NAME:{room}",
            )
    rooms = dict.fromkeys((*rooms, *asked))
    open_rooms = [] if container.read_write else [place for place in rooms if place not in taken]
    return replace(
        container,
        volumes=(*container.volumes, *volumes),
        rooms=tuple(place for room in open_rooms if (place := _room(room, inside, user, container.identity))),
    )


def _ready(store: Store, volume: NamedVolume, inside: Root, user: User, identity: Identity) -> Path:
    """The folder to mount for `volume`, made and filled if it is new."""
    directory = store.root / "volumes" / volume.name
    place = inside.place(volume.target)
    if place is not None and not stat.S_ISDIR(os.lstat(place).st_mode):
        raise UsageError(
            f"the volume '{volume.name}' cannot be mounted at '{volume.target}': the image has a file there",
            hint="a volume is a folder: mount it beside the file",
        )
    if _read(store, volume.name) is None:
        _make(store, volume.name, ())
    data = directory / "data"
    if volume.per_user:
        own = data / str(user.uid)
        if not own.is_dir():
            own.mkdir(mode=0o755)
            _own(own, user.uid, user.gid, identity)
        return own
    document = _document(directory) or {}
    if not document.get("filled"):
        if not os.listdir(data):
            _fill(directory, place if volume.seeded else None, user, identity)
        write_atomically(directory / "volume.json", json.dumps({**document, "filled": True}).encode())
    return data


def _fill(directory: Path, place: str | None, user: User, identity: Identity) -> None:
    """Give an empty volume its first content and owner: all of it, or after a kill nothing."""
    new, data = directory / "new", directory / "data"
    remove_tree(new)
    new.mkdir(mode=0o755)
    if place is not None:
        _copy(place, str(new), user, identity)
    else:
        _own(new, user.uid, user.gid, identity)
    os.rename(new, data)


def _copy(source: str, target: str, user: User, identity: Identity) -> None:
    """What is in the folder `source` into the folder `target`: files, folders and links with modes, owners and times."""
    for entry in os.scandir(source):
        place = f"{target}/{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(place, 0o700)
            _copy(entry.path, place, user, identity)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(entry.path), place)
            _own(place, status.st_uid or user.uid, status.st_gid or user.gid, identity)
        elif stat.S_ISREG(status.st_mode):
            _copy_file(entry.path, place)
            _settle(place, status, user, identity)
    _settle(target, os.lstat(source), user, identity)


def _copy_file(source: str, target: str) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while os.sendfile(writing, reading, None, 1 << 24):
                pass
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _settle(path: str, status: os.stat_result, user: User, identity: Identity) -> None:
    _own(path, status.st_uid or user.uid, status.st_gid or user.gid, identity)
    os.chmod(path, stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _own(path: str | Path, uid: int, gid: int, identity: Identity) -> None:
    """Give `path` to `uid`:`gid` inside. Without subordinate IDs there is one user, who has it already."""
    if identity.kind != "single":
        os.chown(path, uid, gid, follow_symlinks=False)


def _room(path: str, inside: Root, user: User, identity: Identity) -> str | None:
    """A folder that an image calls a volume, made where it is missing; None where it cannot be written to by itself."""
    path = os.path.normpath("/" + path.strip("/"))
    if path == "/" or "\x00" in path or not inside.is_plain(path):
        return None
    if any(
        path == taken or path.startswith(taken + "/") for taken in ("/proc", "/sys", "/dev", "/tmp", "/run")
    ):
        return None
    place = inside.path + path
    existed = os.path.isdir(place)
    os.makedirs(place, mode=0o755, exist_ok=True)
    if not existed or os.lstat(place).st_uid == 0:
        _own(place, user.uid, user.gid, identity)
    return path


def _make(store: Store, name: str, labels: tuple[tuple[str, str], ...]) -> None:
    """A volume appears whole: its document is what makes it one."""
    directory = store.root / "volumes" / name
    private_directory(directory)
    (directory / "data").mkdir(mode=0o755, exist_ok=True)
    document = {"version": 1, "created": time.time(), "labels": dict(labels)}
    write_atomically(directory / "volume.json", json.dumps(document).encode())


def _delete(store: Store, name: str, identity: Identity) -> None:
    directory = store.root / "volumes" / name
    # Without its document it is no volume any more, so a kill leaves none that is half there.
    with contextlib.suppress(FileNotFoundError):
        (directory / "volume.json").unlink()
    try:
        remove_tree(directory)
    except PermissionError:
        # What other users of containers wrote belongs to subordinate IDs.
        from corten.runtime import launch

        launch.in_namespace(
            identity, lambda: remove_tree(directory), what=f"the volume '{directory.name}' cannot be removed"
        )


def _document(directory: Path) -> dict[str, Any] | None:
    try:
        document = json.loads((directory / "volume.json").read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _read(store: Store, name: str) -> Found | None:
    directory = store.root / "volumes" / name
    document = _document(directory)
    if document is None:
        return None
    labels = document.get("labels")
    pairs = labels.items() if isinstance(labels, dict) else ()
    return Found(
        name,
        float(document.get("created") or 0),
        tuple((str(key), str(value)) for key, value in pairs),
        directory / "data",
    )


def _users(store: Store) -> dict[str, list[str]]:
    """Which containers name which volumes, by their records."""
    users: dict[str, list[str]] = {}
    for path in sorted(store.containers_directory.glob("*/state.json")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            options = json.loads(path.read_bytes())["options"]
            named = [str(volume["name"]) for volume in options["named_volumes"]]
            named += [str(volume["name"]) for volume in options.get("project_volumes", ())]
            for name in dict.fromkeys(named):
                users.setdefault(name, []).append(path.parent.name)
    return users
