"""The folders of a container that it may write to, where they are not mounted: below its own directory, gone at its end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from corten.runtime.rootfs import Root
from corten.runtime.spec import Container
from corten.store.merged import copy_tree
from corten.values import dataclass

DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where on this machine what is written inside goes: `root` for all of it, else None; `home` where the image has files
    in it, or where nothing can be mounted; `rooms` for what the image calls volumes; `folders` for (place, place inside), `devices` for /dev, for PRoot alone."""

    root: str | None = None
    home: str | None = None
    rooms: tuple[tuple[str, str], ...] = ()
    folders: tuple[tuple[str, str], ...] = ()
    devices: str | None = None


def make_scratch(directory: str, container: Container, rooms: Sequence[str] = (), *, mounts: bool) -> Scratch:
    """Make them for `container`, whose tree is `container.root`. `mounts`: temporary file systems can be mounted, so that
    only what the image has there already needs a folder."""
    upper = Path(directory, "upper")
    root = home = None
    if container.read_write:
        root = _folder(upper / "root", 0o755)
        copy_tree(Path(container.root), Path(root))
    elif container.home and (container.home_is_kept or not mounts):
        home = _folder(upper / "home", 0o755)
        if container.home_is_kept:
            copy_tree(Path(container.root + container.home), Path(home))
    own = () if container.read_write else tuple((_room(upper, container.root, room), room) for room in rooms)
    if mounts:
        return Scratch(root, home, own)
    folders = tuple(
        (_folder(upper / name, 0o1777), place)
        for name, place in (("tmp", "/tmp"), ("run", "/run"), ("shm", "/dev/shm"))
    )
    devices = _folder(upper / "dev", 0o755)
    for name in (*DEVICES, "shm"):
        if os.path.isdir(f"/dev/{name}"):
            _folder(Path(devices, name), 0o755)
        else:
            Path(devices, name).touch()
    for name, target in _LINKS.items():
        os.symlink(target, f"{devices}/{name}")
    return Scratch(root, home, own, folders, devices)


def rooms_in(volumes: Iterable[str], container: Container) -> tuple[str, ...]:
    """The writable places of an image, without those where something else is shown already."""
    taken = {"/", *(volume.target for volume in container.volumes), container.home}
    kernels = ("/proc", "/sys", "/dev", "/tmp", "/run")
    found = {os.path.normpath(f"/{place.strip('/')}") for place in volumes if "\x00" not in place}
    return tuple(
        place
        for place in sorted(found - taken)
        if not any(f"{place}/".startswith(f"{other}/") for other in kernels)
        and Root(container.root).is_plain(place)
    )


def _room(upper: Path, root: str, place: str) -> str:
    room = _folder(upper / f"room{place.replace('/', '-')}"[:200], 0o755)
    if Root(root).status(place) is not None:
        copy_tree(Path(root + place), Path(room))
    return room


def _folder(path: Path, mode: int) -> str:
    path.mkdir(exist_ok=True)
    os.chmod(path, mode)
    return os.fspath(path)
