"""What the registry keeps on its disk.

    blobs/sha256/<hex>, blobs/sha512/<hex>  bytes by digest: layers, configurations, manifests
    repositories/<name>/_blobs/<hex>        the repository has this blob
                        _manifests/<hex>    the repository has this manifest; the file holds its media type
                        _tags/<tag>         the file holds a manifest's digest
                        _referrers/<hex of the subject>/<hex>    the file holds the referrer's descriptor
                        _uploads/<uuid>     what has arrived of a blob
    locks/

A file is written under another name, flushed, and renamed; bytes come before what leads to them. So whatever is killed
and whenever, all that can be seen is whole. Parts of repository names never begin with `_`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from corten.errors import StoreError
from corten.oci.digest import Digest
from corten.registry.server.repository import Repository
from corten.store.blobs import Blobs
from corten.store.disk import explained, private_directory, write_atomically
from corten.store.locks import Busy, locked


class Contents:
    """The contents below `root`. With `fixed`, nothing is ever written there, not even a lock. With `sparse`, a manifest may
    lead to what is not there."""

    def __init__(self, root: Path, *, fixed: bool = False, sparse: bool = False) -> None:
        self.root, self.fixed, self.sparse = root, fixed, sparse
        self.blobs = Blobs(root)
        self.repositories_directory = root / "repositories"
        # Manifests and tags of one repository change one after the other.
        self._orders = [threading.Lock() for _ in range(64)]

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be the one server of this root. Raises StoreError when another is, or when the root cannot be written to."""
        with ExitStack() as stack:
            if not self.fixed:
                with explained(self.root, "the registry at "):
                    try:
                        stack.enter_context(locked(self.root / "locks" / "server", blocking=False))
                    except Busy:
                        raise StoreError(
                            f"another registry serves '{self.root}'", hint="stop it, or choose another --root"
                        ) from None
                    private_directory(self.repositories_directory)
                    private_directory(self.blobs.directories[0])
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Add, or note that something is needed: many may at a time, but not while garbage is collected. Short: what takes
        long, as receiving bytes, is done before."""
        if self.fixed:
            yield
            return
        with locked(self.root / "locks" / "contents", shared=True):
            yield

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Take away: waits until nobody changes anything, and keeps new changes waiting."""
        with locked(self.root / "locks" / "contents"):
            yield

    @contextmanager
    def ordered(self, name: str) -> Iterator[None]:
        """Change the manifests or tags of the repository `name`, alone."""
        with self.changing(), self._orders[hash(name) % len(self._orders)]:
            yield

    def repository(self, name: str) -> Repository:
        """The repository `name`, a valid one; it may have nothing yet."""
        return Repository(self.repositories_directory, name, self.blobs)

    def names(self) -> Iterator[str]:
        """The names of all repositories that have a directory, in no order."""
        top = os.fspath(self.repositories_directory)
        for parent, directories, _ in os.walk(top):
            if any(name.startswith("_") for name in directories):
                yield os.path.relpath(parent, top)
            directories[:] = [name for name in directories if not name.startswith("_")]

    def put_document(self, data: bytes, digest: Digest) -> None:
        """Store the bytes of a manifest, whose digest it is, durably."""
        path = self.blobs.path(digest)
        if not path.exists() or path.read_bytes() != data:
            private_directory(path.parent)
            write_atomically(path, data, durable=True)

    def note_need(self, path: Path) -> bool:
        """Keep what `path` leads to from being collected for a while, because somebody was told that it is here; returns
        whether it is. A fixed root is not touched."""
        try:
            age = time.time() - path.stat().st_mtime
            if self.fixed or age < _FRESH:
                return True
            with self.changing():
                os.utime(path)
        except FileNotFoundError:
            return False
        return True


_FRESH = 600
"""Seconds for which a look need not be noted again; far below the hour that collection spares."""
