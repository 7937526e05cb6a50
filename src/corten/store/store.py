"""The store: one directory that holds everything Corten keeps on a machine.

It lies at `CORTEN_HOME`, else below the XDG data directory. Every write goes to a temporary name and is renamed when it is
complete, so a kill leaves nothing to repair. Work that reads or adds holds the store's lock shared; `prune`, which takes
away, holds it alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from corten.store.blobs import Blobs
from corten.store.disk import close_to_others, explained, private_directory, remove_tree, write_atomically
from corten.store.encodings import Encodings
from corten.store.files import Files
from corten.store.images import Images
from corten.store.layers import Layers
from corten.store.locks import Busy, locked
from corten.store.marker import MARKER
from corten.store.repo_digests import RepoDigests

if TYPE_CHECKING:
    from corten.store.unpacking import Headroom, Unpacking

_MARK = b"This directory is Corten's store. 'corten prune' and 'corten store check' take care of it.\n"
_DIRECTORIES = (
    "blobs",
    "caches",
    "containers",
    "encodings",
    "files",
    "images",
    "keys",
    "layers",
    "locks",
    "registry",
    "repo-digests",
    "services",
    "tmp",
    "volumes",
)


class Store:
    """A store on this disk. Opening one is cheap and creates nothing; directories come with the first write.

    Whatever the umask, the store's directories are its user's alone, and so is what lies in them: configurations, wheels from
    private indexes, what is being built, secrets of containers. Only below a layer's `fs` modes are those of the image.

    `environment` says how much may be unpacked into it."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        self.root = root
        self._environment = environment or {}
        self.blobs = Blobs(root)
        self.files = Files(root)
        self.layers = Layers(root, lambda: self.headroom)
        self.images = Images(root, self.blobs)
        self.encodings = Encodings(root)
        self.repo_digests = RepoDigests(root)
        self.containers_directory = root / "containers"
        self._prepared = False

    @classmethod
    def open(cls, root: Path | None = None) -> Store:
        """The store at `root`, else at `$CORTEN_HOME`, else at `$XDG_DATA_HOME/corten` (`~/.local/share/corten`)."""
        if root is None:
            home = os.environ.get("CORTEN_HOME")
            data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
            root = Path(home) if home else Path(data) / "corten"
        return cls(root.absolute(), os.environ)

    @cached_property
    def unpacking(self) -> Unpacking:
        """What may be unpacked into this store. Raises UsageError for variables that say nonsense."""
        # Imported when something is unpacked: starting a container never is.
        from corten.store.unpacking import unpacking_from

        return unpacking_from(self._environment)

    @cached_property
    def headroom(self) -> Headroom:
        """What watches the free space of this store's disk. Raises as `unpacking`."""
        from corten.store.unpacking import Headroom

        return Headroom(self.root, self.unpacking.keep)

    def _prepare(self) -> None:
        """Make the store's directory, and make private what an earlier version of Corten has left open to others. Before the
        first write."""
        if self._prepared:
            return
        private_directory(self.root)
        # Its user may have made it, for others to look into; in a directory like /tmp the sticky bit protects what is ours.
        mode = os.stat(self.root).st_mode
        if mode & 0o022 and not mode & stat.S_ISVTX:
            close_to_others(self.root.resolve(), 0o022)
        for name in _DIRECTORIES:
            close_to_others(self.root / name, 0o077)
        if not (self.root / MARKER).exists():
            write_atomically(self.root / MARKER, _MARK)
        self._prepared = True

    @contextmanager
    def lock(
        self,
        name: str,
        *,
        shared: bool = False,
        blocking: bool = True,
        waiting: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Hold the lock `name` of this store; `waiting` is called when it is taken, before waiting for it. Raises
        `corten.store.locks.Busy` when it is taken and not `blocking`."""
        path = self.root / "locks" / name
        with ExitStack() as stack:
            with explained(self.root):
                self._prepare()
                try:
                    stack.enter_context(locked(path, shared=shared, blocking=False))
                except Busy:
                    if not blocking:
                        raise
                    if waiting:
                        waiting()
                    stack.enter_context(locked(path, shared=shared))
            yield

    @contextmanager
    def temporary_directory(self, prefix: str = "work") -> Iterator[Path]:
        """A new directory on the store's own file system, removed at the end. A process that is killed leaves it
        behind, unlocked; `sweep` finds it by that."""
        parent = self.root / "tmp"
        name = f"{prefix}-{os.urandom(8).hex()}"
        path, lock = parent / name, parent / f"{name}.lock"
        with ExitStack() as stack:
            with explained(self.root):
                self._prepare()
                stack.enter_context(locked(lock))
                stack.callback(lock.unlink, missing_ok=True)
                stack.callback(remove_tree, path)
                path.mkdir(mode=0o700)
            yield path

    def cache_directory(self, name: str) -> Path:
        """A directory for what can be made again at any time."""
        path = self.root / "caches" / name
        with explained(self.root):
            self._prepare()
            private_directory(path)
        return path

    def sweep(self) -> int:
        """Remove the temporary directories of processes that are gone. Returns how many there were."""
        parent = self.root / "tmp"
        removed = 0
        if not parent.is_dir():
            return 0
        for path in list(parent.iterdir()):
            if path.name.endswith(".lock"):
                # A lock without its directory is a process between two steps, which holds it, or one that was killed there.
                with suppress(Busy):
                    if not path.with_suffix("").exists():
                        with locked(path, blocking=False):
                            path.unlink()
                continue
            lock = parent / f"{path.name}.lock"
            try:
                with locked(lock, blocking=False):
                    remove_tree(path)
                    removed += 1
                    lock.unlink(missing_ok=True)
            except (Busy, PermissionError):
                # Files of subordinate users, of a sandbox that was killed, are no reason to refuse other work.
                continue
        return removed
