"""The command lines of bubblewrap (bwrap(1)) and PRoot (proot(1)) for a container: pure, but for looking into its tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence

from corten.runtime.bounds import HOME, RUN, SHARED, TEMPORARY, share
from corten.runtime.fallback.scratch import DEVICES, Scratch
from corten.runtime.spec import Container

_STICKY = ("--perms", "1777")


def bwrap_arguments(path: str, container: Container, scratch: Scratch, filter_descriptor: int) -> list[str]:
    """bubblewrap at `path`: the tree read-only, temporary file systems where programs write, namespaces of its own, one user,
    no capabilities, and the seccomp filter on `filter_descriptor`."""
    command = [
        path,
        "--unshare-user",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]
    if container.network == "none":
        command.append("--unshare-net")
    command += ["--die-with-parent", "--as-pid-1", "--cap-drop", "ALL", "--disable-userns"]
    command += ["--uid", str(container.user.uid), "--gid", str(container.user.gid)]
    command += ["--hostname", container.hostname, "--seccomp", str(filter_descriptor)]
    if not container.terminal:
        command.append("--new-session")
    mounts = _bwrap_mounts(container, scratch)
    if scratch.root:
        command += ["--bind", scratch.root, "/"]
        closing = []
    else:
        command += _read_only_root(container.root, [target for target, _ in mounts])
        closing = ["--remount-ro", "/"]
    for _, arguments in mounts:
        command += arguments
    return [*command, *closing, "--chdir", container.workdir, "--", *container.arguments]


def _bwrap_mounts(container: Container, scratch: Scratch) -> list[tuple[str, list[str]]]:
    """What is mounted over the root as (place inside, arguments), in order."""
    shm = ["--size", str(container.shm_size)] if container.shm_size else _bound(SHARED, container)
    mounts = [
        ("/proc", ["--proc", "/proc"]),
        ("/dev", ["--dev", "/dev"]),
        ("/dev/shm", [*_STICKY, *shm, "--tmpfs", "/dev/shm"]),
        ("/sys", ["--ro-bind", "/sys", "/sys"]),
        ("/tmp", [*_STICKY, *_bound(TEMPORARY, container), "--tmpfs", "/tmp"]),
        ("/run", [*_STICKY, *_bound(RUN, container), "--tmpfs", "/run"]),
    ]
    if container.home and not container.read_write:
        memory = [*_STICKY, *_bound(HOME, container), "--tmpfs"]
        own = ["--bind", scratch.home] if scratch.home else memory
        mounts.append((container.home, [*own, container.home]))
    mounts += [(inside, ["--bind", place, inside]) for place, inside in scratch.rooms]
    mounts += [(inside, ["--ro-bind", place, inside]) for place, inside in container.files]
    for volume in sorted(container.volumes, key=lambda item: item.target):
        how = "--bind" if volume.writable else "--ro-bind"
        mounts.append((volume.target, [how, volume.source, volume.target]))
    return mounts


def _bound(place: str, container: Container) -> list[str]:
    size = share(place, container.memory)
    return ["--size", str(size)] if size else []


def variables(environment: Mapping[str, str]) -> bytes:
    """What --args reads (bwrap(1)): the container's environment. bubblewrap itself is started without it, because its loader
    would act on it on this machine, before anything is isolated (LD_PRELOAD, LD_DEBUG_OUTPUT)."""
    words = [word for key, value in environment.items() if key for word in ("--setenv", key, value)]
    return "".join(f"{word}\0" for word in words).encode(errors="surrogateescape")


def _read_only_root(tree: str, targets: Sequence[str]) -> list[str]:
    """The tree at `/`. Mount points that it lacks can be made in a temporary file system alone: that becomes the root then,
    with the tree's own entries bound into it one by one, and it is made read-only at the end."""
    missing = [
        target for target in targets if not os.path.lexists(tree + target) and not target.startswith("/dev/")
    ]
    if not missing:
        return ["--ro-bind", tree, "/"]
    open_places = {"/"}
    for target in missing:
        parent = os.path.dirname(target)
        while parent != "/":
            if os.path.isdir(tree + parent) and not os.path.islink(tree + parent):
                open_places.add(parent)
            parent = os.path.dirname(parent)
    arguments = ["--tmpfs", "/"]
    for place in sorted(open_places):
        if place != "/":
            mode = stat.S_IMODE(os.stat(tree + place).st_mode)
            arguments += ["--perms", f"{mode:o}", "--dir", place]
        for item in sorted(os.scandir(tree + place), key=lambda entry: entry.name):
            inside = f"{place.rstrip('/')}/{item.name}"
            if inside in open_places:
                continue
            if item.is_symlink():
                arguments += ["--symlink", os.readlink(item.path), inside]
            else:
                arguments += ["--ro-bind", item.path, inside]
    return arguments


def proot_arguments(
    path: str, container: Container, scratch: Scratch, identity: tuple[int, int] | None
) -> list[str]:
    """PRoot at `path` with the tree as its root and folders of the container's own where programs write. `identity`: the
    user and group that it pretends to be; None for the real ones."""
    command = [path, "-v", "-1", "-r", scratch.root or container.root, "-w", container.workdir]
    if identity is not None:
        command += ["-i", f"{identity[0]}:{identity[1]}"]
    binds = [("/proc", "/proc"), ("/sys", "/sys")]
    if scratch.devices:
        binds.append((scratch.devices, "/dev"))
    binds += [(f"/dev/{name}", f"/dev/{name}") for name in DEVICES if os.path.exists(f"/dev/{name}")]
    binds += scratch.folders
    if scratch.home and container.home:
        binds.append((scratch.home, container.home))
    binds += scratch.rooms
    binds += container.files
    binds += [
        (volume.source, volume.target) for volume in sorted(container.volumes, key=lambda item: item.target)
    ]
    for place, inside in binds:
        command += ["-b", f"{place}:{inside}"]
    return [*command, *container.arguments]
