"""Clean-up: removes what no image, container or running build reaches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from corten.events import Note, Observer, ignore
from corten.oci.descriptor import Manifest
from corten.oci.digest import Digest
from corten.store.disk import explained, private_directory, remove_tree
from corten.store.merged import prune_merged
from corten.store.store import Store
from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed. `bytes` is what the disk got back, as far as it can be told."""

    layers: int
    blobs: int
    files: int
    bytes: int


def prune(
    store: Store,
    in_use: Callable[[], Iterable[Digest]] = tuple,
    *,
    everything: bool = False,
    observe: Observer = ignore,
) -> Pruned:
    """Remove layers and blobs that no name reaches and that are not `in_use` (layers of containers, asked for when
    nothing can start any more), and what killed processes left behind. With `everything` also fetched files and
    caches, which the next build would fetch again.

    Waits for running builds, and keeps new ones waiting. Killed at any moment, it leaves a store in order."""
    waiting = Note("waiting for builds on this machine to end")
    with store.lock("store", waiting=lambda: observe(waiting)), explained(store.root):
        store.sweep()
        blobs: set[Digest] = set()
        layers: set[Digest] = set(in_use())
        images = store.images.all()
        for image in images:
            manifest = Manifest.decode(store.blobs.read(image.digest))
            blobs |= {image.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)}
            layers |= set(image.config.diff_ids)
        removed = [diff_id for diff_id in store.layers.all() if diff_id not in layers]
        freed = 0
        trash = store.root / "tmp"
        private_directory(trash)
        for diff_id in removed:
            freed += _disk_usage(store.layers.directory / diff_id.hex)
            store.layers.remove(diff_id, trash)
        _forget_keys(store, set(store.layers.all()))
        store.encodings.keep_only(layers)
        store.repo_digests.keep_only(image.id for image in images)
        _sweep_temporary_files(store)
        # Trees of hard links to a base's layers would keep the bytes of layers that are gone.
        freed += prune_merged(store)
        stale = _stale_blobs(store, blobs)
        for path in stale:
            freed += path.stat().st_size
            path.unlink()
        files, freed = _prune_unsorted(store, freed)
        if everything:
            caches = store.root / "caches"
            others = (
                [path for path in sorted(caches.iterdir()) if path.name != "merged"]
                if caches.is_dir()
                else []
            )
            for directory in (store.files.directory, *others):
                if not directory.is_dir():
                    continue
                files += sum(1 for path in directory.rglob("*") if path.is_file())
                freed += _disk_usage(directory)
                remove_tree(directory)
        return Pruned(len(removed), len(stale), files, freed)


def _prune_unsorted(store: Store, freed: int) -> tuple[int, int]:
    """Remove fetched files of older stores, which did not say whether a file is a wheel or a Debian package. Nothing uses
    them any more."""
    files = 0
    for directory in store.files.directory.glob("[0-9a-f][0-9a-f]"):
        files += sum(1 for path in directory.rglob("*") if path.is_file())
        freed += _disk_usage(directory)
        remove_tree(directory)
    return files, freed


def _forget_keys(store: Store, present: set[Digest]) -> None:
    """Drop the keys of layers that are gone. A key without a layer is harmless; many of them are litter."""
    if not store.layers.keys.is_dir():
        return
    for path in store.layers.keys.glob("*/*"):
        if path.name.startswith(".") or path.read_text(errors="replace").strip() not in present:
            path.unlink()


def _sweep_temporary_files(store: Store) -> None:
    """What `write_atomically` leaves behind when it is killed. Nobody else writes now."""
    for directory in (
        store.images.directory,
        store.root / "caches" / "projects",
        store.root / "caches" / "conflicts",
    ):
        if directory.is_dir():
            for path in directory.glob(".*.tmp"):
                path.unlink(missing_ok=True)


def _stale_blobs(store: Store, reached: set[Digest]) -> list[Path]:
    names = {digest.hex for digest in reached}
    there = [directory for directory in store.blobs.directories if directory.is_dir()]
    return [path for directory in there for path in directory.iterdir() if path.name not in names]


def _disk_usage(path: Path) -> int:
    """Bytes that removing `path` frees: blocks of files without further hard links."""
    total = 0
    for _, _, names, directory in os.fwalk(path):
        for name in names:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if status.st_nlink == 1:
                total += status.st_blocks * 512
    return total
