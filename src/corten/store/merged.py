"""An image's layers as one plain tree, for whoever cannot mount them: laid over each other here as an overlay would.

caches/merged/<key>.json       which tree is current for these layers, and what was in it when it was made
caches/merged/<tree>/          a tree; `<tree>.lock` is held shared by whoever uses it, which keeps `prune` away

A `linked` tree is made of hard links: it costs no bytes, and a write to one of its files would be a write to a layer. So it
is for readers that cannot write (a read-only mount). A `copied` tree has files of its own, read-only by mode, copied by
reference where the file system can (FICLONE): what writes to it cannot reach a layer. Every change leaves a newer
ctime behind, which no user can set; a tree that was changed is found by that, and not used again.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from corten.oci.digest import Digest
from corten.store.disk import explained, remove_tree, write_atomically
from corten.store.store import Store
from corten.values import dataclass

Kind = Literal["linked", "copied"]
_FICLONE = 0x40049409
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 64 << 20


@dataclass(frozen=True, slots=True)
class Merged:
    """A tree that is used. It stays as long as the descriptor `lock`, or a copy of it in another process, is open."""

    path: Path
    lock: int

    def release(self) -> None:
        """Let `prune` have it."""
        os.close(self.lock)


def merged(store: Store, layers: Sequence[Digest], kind: Kind) -> Merged:
    """The tree of `layers` (bottom to top, all present), made where it is not there or was changed. Raises StoreError."""
    directory = store.cache_directory("merged")
    with explained(store.root):
        # A linked tree has the set-uid programs of its layers, which are nobody else's here.
        directory.chmod(0o700)
    pointer = directory / f"{kind}-{_key(layers)}.json"
    with explained(store.root):
        found = _current(pointer)
        if found is not None:
            return found
        with store.lock(f"merged-{pointer.stem[:40]}"):
            found = _current(pointer)
            if found is not None:
                return found
            _discard_old(directory, pointer.stem)
            return _make(store, layers, kind, pointer)


def read_only_tree(store: Store, layers: Sequence[Digest]) -> Path:
    """The linked tree of `layers`, for as long as the caller holds the store's lock. It must not be changed."""
    found = merged(store, layers, "linked")
    found.release()
    return found.path


def copy_tree(source: Path, target: Path) -> None:
    """A copy of a tree in the empty directory `target`, which its owner may write to."""
    _merge_trees(source, target, "copied", writable=True)


def prune_merged(store: Store) -> int:
    """Remove every tree that nobody uses, and return the bytes that this frees. Nobody may be starting anything."""
    directory = store.root / "caches" / "merged"
    if not directory.is_dir():
        return 0
    freed = 0
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            freed += _discard(path)
    for pointer in directory.glob("*.json"):
        tree = _tree_of(pointer)
        if tree is None or not tree.exists():
            pointer.unlink(missing_ok=True)
    for lock in directory.glob("*.lock"):
        if not lock.with_suffix("").exists():
            lock.unlink(missing_ok=True)
    return freed


def _key(layers: Sequence[Digest]) -> str:
    return Digest.of("\n".join(str(layer) for layer in layers).encode()).hex


def _make(store: Store, layers: Sequence[Digest], kind: Kind, pointer: Path) -> Merged:
    with store.temporary_directory("merged") as work:
        target = work / "fs"
        target.mkdir(mode=0o755)
        # A directory that is there twice counts once, at its upper place, as in the overlay.
        for layer in reversed(list(dict.fromkeys(reversed(layers)))):
            _merge_trees(store.layers.tree(layer), target, kind)
        if kind == "copied":
            _settle(os.fspath(target))
        tree = pointer.with_name(f"{pointer.stem}.{os.urandom(6).hex()}")
        lock = _hold(tree)
        # A directory that may not be written to cannot be moved (its `..` changes).
        os.chmod(target, 0o755)
        os.rename(target, tree)
        if kind == "copied":
            os.chmod(tree, 0o555)
        entries, newest = _state(os.fspath(tree)) if kind == "copied" else (0, 0)
        known = {"tree": tree.name, "entries": entries, "newest": newest}
        write_atomically(pointer, json.dumps(known).encode())
        return Merged(tree, lock)


def _current(pointer: Path) -> Merged | None:
    tree = _tree_of(pointer)
    if tree is None:
        return None
    lock = _hold(tree)
    if tree.is_dir():
        known = json.loads(pointer.read_bytes())
        if not known["newest"] or _state(os.fspath(tree)) == (known["entries"], known["newest"]):
            return Merged(tree, lock)
    os.close(lock)
    return None


def _tree_of(pointer: Path) -> Path | None:
    try:
        name = str(json.loads(pointer.read_bytes())["tree"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pointer.with_name(name) if "/" not in name else None


def _hold(tree: Path) -> int:
    lock = os.open(tree.with_name(f"{tree.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def _discard_old(directory: Path, stem: str) -> None:
    for path in directory.glob(f"{stem}.*"):
        if path.is_dir():
            _discard(path)


def _discard(tree: Path) -> int:
    """Remove a tree unless somebody uses it; the bytes that this frees."""
    lock = os.open(tree.with_name(f"{tree.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        freed = 0
        for status in _walk(os.fspath(tree)):
            if status.st_nlink == 1 and not stat.S_ISDIR(status.st_mode):
                freed += status.st_blocks * 512
        remove_tree(tree)
        tree.with_name(f"{tree.name}.lock").unlink(missing_ok=True)
        return freed
    except BlockingIOError:
        return 0
    finally:
        os.close(lock)


def _walk(root: str) -> Iterator[os.stat_result]:
    yield os.lstat(root)
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as items:
            for item in items:
                status = item.stat(follow_symlinks=False)
                yield status
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(item.path)


def _state(root: str) -> tuple[int, int]:
    """How many entries a tree has, and the newest ctime among them in nanoseconds."""
    entries = newest = 0
    try:
        for status in _walk(root):
            entries += 1
            newest = max(newest, status.st_ctime_ns)
    except OSError:
        return -1, 0
    return entries, newest


def _settle(root: str) -> None:
    """Take the right to write from every directory; the files have none already."""
    for _, _, _, directory in os.fwalk(root, topdown=False):
        os.fchmod(directory, stat.S_IMODE(os.fstat(directory).st_mode) & ~0o222)


def _merge_trees(source: Path, target: Path, kind: Kind, *, writable: bool = False) -> None:
    above, below = os.open(source, _ENTER), os.open(target, _ENTER)
    try:
        _merge(above, below, kind, writable)
    finally:
        os.close(above)
        os.close(below)


def _merge(source: int, target: int, kind: Kind, writable: bool) -> None:
    """Lay one layer's directory over what is there, as an overlay would (the kernel's overlayfs.rst, "whiteouts and
    opaque directories"): what is no directory, file or link hides what is below it and is not shown itself. Both are open
    directories, and no link is followed: a program may have been at work in a copied tree."""
    with os.scandir(source) as items:
        for item in items:
            status = item.stat(follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                _remove(target, item.name)
                _put(source, target, item.name, status, kind, writable)
                continue
            inner = os.open(item.name, _ENTER, dir_fd=source)
            try:
                place = _directory(target, item.name, opaque=_is_opaque(inner))
                try:
                    # Its owner must be able to enter it, here and at its end, whatever the image says.
                    os.fchmod(place, stat.S_IMODE(status.st_mode) & 0o1777 | 0o700)
                    _merge(inner, place, kind, writable)
                finally:
                    os.close(place)
            finally:
                os.close(inner)


def _directory(target: int, name: str, *, opaque: bool) -> int:
    """The directory `name`, open: that of the layers below, or a new one in the place of whatever is there."""
    if not opaque:
        with suppress(OSError):
            return os.open(name, _ENTER, dir_fd=target)
    _remove(target, name)
    os.mkdir(name, dir_fd=target)
    return os.open(name, _ENTER, dir_fd=target)


def _remove(target: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=target)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        remove_tree(Path(f"/proc/self/fd/{target}/{name}"))


def _is_opaque(directory: int) -> bool:
    try:
        found = os.listxattr(directory)
    except OSError:
        return False
    return "user.overlay.opaque" in found or "trusted.overlay.opaque" in found


def _put(source: int, target: int, name: str, status: os.stat_result, kind: Kind, writable: bool) -> None:
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISREG(status.st_mode) and kind == "linked":
        os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    elif stat.S_ISREG(status.st_mode):
        mode = stat.S_IMODE(status.st_mode) & 0o777
        _copy(source, target, name, status, mode | 0o200 if writable else mode & ~0o222)


def _copy(source: int, target: int, name: str, status: os.stat_result, mode: int) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            try:
                fcntl.ioctl(writing, _FICLONE, reading)
            except OSError:
                while os.sendfile(writing, reading, None, _PIECE):
                    pass
            os.fchmod(writing, mode)
            os.utime(writing, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(writing)
    finally:
        os.close(reading)
