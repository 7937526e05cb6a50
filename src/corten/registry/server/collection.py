"""Garbage collection: frees what no tag leads to.

What a tag names is kept, and what that leads to: the children of an index, blobs, the subject, and all that refers to a manifest
which is kept. So is whatever was pushed, mounted or asked for within the last hour, with all that it leads to, and
everything in a repository to which an upload is under way: a push sends blobs first and names them last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from corten.errors import FormatError, StoreError
from corten.oci.digest import Digest
from corten.registry.server.contents import Contents
from corten.registry.server.manifests import contained
from corten.registry.server.repository import Repository
from corten.registry.server.uploads import KEPT
from corten.store.disk import explained
from corten.values import dataclass

SPARED = 3600.0
"""Seconds for which what a push may still need is kept."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed: manifests and blobs out of repositories, abandoned uploads, and the bytes that the disk got back."""

    manifests: int
    blobs: int
    uploads: int
    bytes: int


def collect(contents: Contents, spared: float = SPARED) -> Collected:
    """Collect garbage, also while a server runs: its pulls go on, its pushes wait for the moment that this takes. Killed at
    any time it leaves a registry in order. Raises StoreError when a manifest that is needed is damaged: what it leads to
    cannot be known, so nothing of its repository may go."""
    if not contents.root.is_dir():
        raise StoreError(f"there is no registry at '{contents.root}'")
    now = time.time()
    with explained(contents.root, "the registry at "), contents.collecting():
        # All are looked at before the first is changed, so that damage is found while everything is still there.
        names = list(contents.names())
        reached = {name: _reached(contents.repository(name), now - spared) for name in names}
        manifests = blobs = uploads = freed = 0
        linked: set[str] = set()
        for name in names:
            repository = contents.repository(name)
            gone_uploads, upload_bytes = _sweep_uploads(repository, now)
            uploads, freed = uploads + gone_uploads, freed + upload_bytes
            kept = reached[name]
            if kept is not None:
                gone = _remove(repository.manifests(), kept)
                manifests += gone
                _remove(repository.referrer_entries(), {path.name for path in repository.manifests()})
                blobs += _remove(repository.blobs(), kept)
            linked |= {path.name for path in (*repository.blobs(), *repository.manifests())}
            _tidy(repository.directory, contents.repositories_directory)
        freed += sum(_free(directory, linked) for directory in contents.blobs.directories)
        return Collected(manifests, blobs, uploads, freed)


def _reached(repository: Repository, since: float) -> set[str] | None:
    """The names of the links to be kept; None: all of them."""
    if any(_younger(path, since) for path in repository.uploads()):
        return None
    kept = {path.name for path in repository.blobs() if _younger(path, since)}
    pending = [digest for tag in repository.tags() if (digest := repository.tag(tag)) is not None]
    pending += [Digest.from_hex(path.name) for path in repository.manifests() if _younger(path, since)]
    while pending:
        digest = pending.pop()
        if digest.hex in kept:
            continue
        try:
            found = repository.manifest(digest)
        except FormatError as error:
            raise StoreError(
                f"a manifest of '{repository.name}' is damaged: {error.message}",
                hint="push the image again, or delete its tag",
            ) from None
        if found is None:
            continue
        kept.add(digest.hex)
        leads_to = contained(found[1], found[0])
        kept |= {blob.digest.hex for blob in leads_to.blobs}
        # An index may list what is a blob here.
        kept |= {item.digest.hex for item in leads_to.manifests if repository.media_type(item.digest) is None}
        pending += [item.digest for item in leads_to.manifests]
        pending += [leads_to.subject] if leads_to.subject else []
        pending += [Digest.parse(entry["digest"]) for entry in repository.referrers(digest)]
    return kept


def _younger(path: Path, since: float) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime > since
    return False


def _remove(paths: Iterable[Path], kept: set[str]) -> int:
    gone = [path for path in paths if path.name not in kept]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def _sweep_uploads(repository: Repository, now: float) -> tuple[int, int]:
    count = freed = 0
    for path in list(repository.uploads()):
        with suppress(FileNotFoundError):
            status = path.stat()
            if now - status.st_mtime > KEPT:
                path.unlink()
                count, freed = count + 1, freed + status.st_blocks * 512
    return count, freed


def _free(directory: Path, linked: set[str]) -> int:
    """Remove the bytes that no repository has; returns how many there were."""
    freed = 0
    if not directory.is_dir():
        return 0
    for entry in list(os.scandir(directory)):
        if entry.name not in linked:
            freed += entry.stat(follow_symlinks=False).st_blocks * 512
            os.unlink(entry.path)
    return freed


def _tidy(directory: Path, top: Path) -> None:
    """Remove directories that have nothing in them, up to `top`, and what a killed server was writing."""
    for parent, _, names in os.walk(directory, topdown=False):
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                with suppress(FileNotFoundError):
                    os.unlink(f"{parent}/{name}")
        with suppress(OSError):
            os.rmdir(parent)
    directory = directory.parent
    while directory != top:
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent
