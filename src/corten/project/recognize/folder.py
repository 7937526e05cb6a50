"""A bounded view of a project's folder: its files up to three folders deep, without what stays out of the image.

Every read goes through descriptors below the root and follows no link out of the project. A folder with thousands of entries holds
data, not code: it is passed over and named in `passed_over`. What cannot be read counts as absent here: whoever needs the file says so better.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from corten.errors import FormatError, ProjectError
from corten.oci.inside import Inside
from corten.project import syntax
from corten.project.dockerignore import Seen
from corten.project.git_index import UnreadableIndex
from corten.project.ignoring import Ignoring, Scoped
from corten.project.syntax import Module

DEPTH = 3
"""How many folders deep files are looked for."""
MOST_BYTES = 1_000_000
"""The largest file that is read."""
_MOST_READ = 32_000_000
_MOST_IN_ROOT = 100_000
_MOST_IN_FOLDER = 5_000
_MOST_FOLDERS = 2_000


class Folder:
    """The project's folder `root` (absolute, without links). Paths are relative to it, with `/`. Use it as a context manager."""

    def __init__(self, root: str, exclude: tuple[str, ...] = ()) -> None:
        self.root = root
        self.passed_over: tuple[str, ...] = ()
        """Folders with too many entries to be looked into, known after `files`."""
        self._exclude = exclude
        self._inside: Inside | None = None
        self._files: tuple[str, ...] | None = None
        self._folders: frozenset[str] = frozenset()
        self._names: frozenset[str] = frozenset()
        self._data: dict[str, bytes | None] = {}
        self._modules: dict[str, Module | None] = {}
        self._left = _MOST_READ

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._inside is not None:
            self._inside.close()
            self._inside = None

    # --- what is there ---------------------------------------------------------------------------------------

    def files(self, ending: str = "") -> tuple[str, ...]:
        """The files that end with `ending`: those of the root first, then folder by folder, each sorted. A symbolic link to a
        file of the project counts. Raises ProjectError for ignore files that cannot be read."""
        if self._files is None:
            self._files = tuple(self._walk())
            self._names = frozenset(self._files)
        return tuple(path for path in self._files if path.endswith(ending)) if ending else self._files

    def has_file(self, path: str) -> bool:
        """Whether `files` has `path`."""
        self.files()
        return path in self._names

    def has_folder(self, path: str) -> bool:
        """Whether there is a folder `path` that `files` looks into; the root is `""`."""
        self.files()
        return path in self._folders

    def exists(self, path: str) -> bool:
        """Whether something is at `path` in the project, also where it is ignored or deep. False for what leads out of it."""
        try:
            return self._opened().status(path) is not None
        except (OSError, FormatError, ValueError):
            return False

    # --- what is in it ---------------------------------------------------------------------------------------

    def data(self, path: str, limit: int = MOST_BYTES) -> bytes | None:
        """The regular file `path`, also one that `files` does not list. None where there is none, where it cannot be read, leads
        out of the project, or has more than `limit` bytes."""
        if path in self._data:
            found = self._data[path]
            return found if found is None or len(found) <= limit else None
        try:
            found = self._read(path, min(limit, self._left))
        except (OSError, FormatError, ValueError):
            found = None
        if found is not None or limit >= MOST_BYTES:
            self._data[path] = found
        self._left -= len(found or b"")
        return found

    def text(self, path: str, limit: int = MOST_BYTES) -> str | None:
        """The same as text: UTF-8 with or without a mark, UTF-16 with one (PowerShell writes it); line ends are `\\n`."""
        data = self.data(path, limit)
        if data is None:
            return None
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = data.decode("utf-16" if wide else "utf-8-sig", "replace")
        return text.replace("\r\n", "\n")

    def module(self, path: str) -> Module | None:
        """The Python module in `path`, parsed once; None where it cannot be read or is not Python of this version."""
        if path not in self._modules:
            data = self.data(path)
            self._modules[path] = None if data is None else syntax.parse_source(path, data)
        return self._modules[path]

    def modules(self, *words: bytes, under: tuple[str, ...] | None = None) -> Iterator[Module]:
        """Every module whose source has one of `words`, in the order of `files`; only those are parsed."""
        for path in self.files(".py") if under is None else under:
            data = self.data(path)
            if data is not None and any(word in data for word in words):
                module = self.module(path)
                if module is not None:
                    yield module

    def fault(self, path: str) -> str | None:
        """Why `path` is not Python: `invalid syntax in line 3`; None where it is, or cannot be read."""
        data = self.data(path)
        return None if data is None else syntax.fault_of(data)

    # --- how -------------------------------------------------------------------------------------------------

    def _opened(self) -> Inside:
        if self._inside is None:
            self._inside = Inside(self.root)
        return self._inside

    def _read(self, path: str, limit: int) -> bytes | None:
        inside = self._opened()
        try:
            data = inside.read(path, limit + 1)
        except OSError:
            # A link may lead to another file of the project.
            target = os.path.realpath(f"{self.root}/{path}")
            if target == f"{self.root}/{path}" or not target.startswith(f"{self.root}/"):
                raise
            data = inside.read(target[len(self.root) + 1 :], limit + 1)
        return data if len(data) <= limit else None

    def _walk(self) -> Iterator[str]:
        ignoring = Ignoring(self.root, self._exclude)
        tracked = _Tracked(ignoring)
        nothing: Seen = ()
        waiting: list[tuple[str, tuple[Scoped, ...], Seen, bool]] = [
            ("", ignoring.outermost(), nothing, False)
        ]
        folders: list[str] = []
        passed: list[str] = []
        while waiting and len(folders) < _MOST_FOLDERS:
            prefix, rules, seen, is_ignored = waiting.pop(0)
            entries = self._entries(prefix)
            if entries is None:
                passed.append(prefix.rstrip("/"))
                continue
            names = {name for name, _ in entries}
            if "pyvenv.cfg" in names and prefix:
                continue
            folders.append(prefix.rstrip("/"))
            if ".gitignore" in names:
                rules = ignoring.within(prefix, rules)
            for name, kind in entries:
                path = prefix + name
                folder = kind == "folder"
                reason = ignoring.ignored(name, path, folder, rules)
                if is_ignored and not reason and not ignoring.brings_back(name, path, folder):
                    reason = "git"
                if reason and not (reason == "git" and tracked.has(path, folder)):
                    continue
                below = seen
                if ignoring.docker is not None:
                    out, below = ignoring.docker.verdict(path, seen)
                    if out and not (folder and ignoring.docker.may_keep_within(path)):
                        continue
                if folder:
                    if path.count("/") < DEPTH:
                        waiting.append((f"{path}/", rules, below, reason == "git"))
                elif kind == "file" or self._is_inner_file(path):
                    yield path
        passed += [prefix.rstrip("/") for prefix, *_ in waiting]
        self._folders = frozenset(folders)
        self.passed_over = tuple(passed)

    def _entries(self, prefix: str) -> list[tuple[str, str]] | None:
        """The entries of the folder `prefix`, sorted, each as its name and "folder", "file" or "link"; None for too many."""
        most = _MOST_IN_FOLDER if prefix else _MOST_IN_ROOT
        found: list[tuple[str, str]] = []
        try:
            with os.scandir(self._opened().directory(prefix.rstrip("/"))) as listing:
                for entry in listing:
                    if len(found) == most:
                        return None
                    if not entry.name.isprintable():
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        found.append((entry.name, "folder"))
                    elif entry.is_symlink():
                        found.append((entry.name, "link"))
                    elif entry.is_file(follow_symlinks=False):
                        found.append((entry.name, "file"))
        except OSError:
            return []
        return sorted(found)

    def _is_inner_file(self, path: str) -> bool:
        """Whether a link leads to a file of the project."""
        target = os.path.realpath(f"{self.root}/{path}")
        return target.startswith(f"{self.root}/") and os.path.isfile(target)


class _Tracked:
    """What git tracks although a rule ignores it: that goes into the image."""

    def __init__(self, ignoring: Ignoring) -> None:
        self._ignoring = ignoring
        self._files: frozenset[str] | None = None
        self._folders: set[str] = set()

    def has(self, path: str, folder: bool) -> bool:
        if self._files is None:
            try:
                self._files = self._ignoring.tracked()
            except (UnreadableIndex, ProjectError):
                self._files = frozenset()
            for file in self._files:
                above = file.rpartition("/")[0]
                while above and above not in self._folders:
                    self._folders.add(above)
                    above = above.rpartition("/")[0]
        return path in (self._folders if folder else self._files)
