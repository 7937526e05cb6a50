"""Which of the project's files go into an image, and which of them are weights.

One walk over the folder. A store of Corten never enters an image, whatever names it: the one in use is known by its device
and inode, every other by its marker. What stays out, strongest first: `exclude` of `[tool.corten]`; `.cortenignore`; the default
excludes; what docker ignores; what git ignores. `models` and `include` bring back what they name; a file named exactly stays
whatever `exclude` says. Files that git tracks are not ignored by it, and a file that is named like weights goes in although git
ignores it: people keep weights out of repositories, and their programs need them. Nothing is opened but ignore files, git's
index, and files whose names do not tell whether they hold a private key; git is not run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from corten.errors import ProjectError
from corten.project.dockerignore import Seen
from corten.project.git_index import UnreadableIndex
from corten.project.ignoring import Ignoring, Reason
from corten.project.model import Command, Project, SourceFile, SourceFiles
from corten.project.patterns import compile_glob, is_glob
from corten.project.sensitive import is_below_secret, is_secret
from corten.store.marker import MARKER

WEIGHT_BYTES = 10_000_000
"""A larger file is treated as weights, whatever its name."""
WEIGHT_ENDINGS = (
    ".pt",
    ".pth",
    ".onnx",
    ".safetensors",
    ".joblib",
    ".pkl",
    ".skops",
    ".h5",
    ".keras",
    ".gguf",
)
_MOST_LOOKED_AT = 2000
"""Entries of ignored folders that are looked at for weights that a program may miss."""
DATABASE_ENDINGS = (".db", ".db3", ".sqlite", ".sqlite3", ".duckdb")
"""Endings of databases in one file. An application writes to its own, so they lie in /app however large they are."""
_CODE_ENDINGS = (".py", ".pyi", ".ipynb")

_SPECIAL = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "named pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def scan(project: Project, store: Path | None = None) -> SourceFiles:
    """Every file of `project` that belongs in its image, as `lstat` sees it now. `store` is the directory of the store in use.

    Raises ProjectError for a symbolic link that leaves the project, a folder that cannot be read, and a name that an
    image cannot hold (not UTF-8, a control character, `.wh.` in front)."""
    return _Scan(project, store).run()


class _Scan:
    def __init__(self, project: Project, store: Path | None) -> None:
        self.project = project
        self.writable = isinstance(project.entry, Command)
        self.store = _identity(store) if store is not None else None
        self.root = os.path.realpath(project.root)
        self.ignoring = Ignoring(self.root, project.exclude)
        self.code: dict[str, SourceFile] = {}
        self.weights: dict[str, SourceFile] = {}
        self.left_out: set[str] = set()
        self.secrets: set[str] = set()
        self.by_docker: set[str] = set()
        self.brought: set[str] = set()
        """Files that were named exactly, and hold secrets."""
        self.folders_of_declared: set[str] = set()
        """With a slash at the end: they are not left out as a whole."""
        self.folders: set[str] = set()
        """Those known to be folders, and no links to folders."""
        self.known_stores: dict[str, bool] = {}
        self.although_ignored: set[str] = set()
        self.ignored_folders: list[str] = []
        self.entered: set[str] = set()
        """Folders that git ignores, with files in them that it tracks."""
        self.unknown_tracked = False
        self._tracked: frozenset[str] | None = None
        self._folders_of_tracked: set[str] = set()

    def run(self) -> SourceFiles:
        if self._is_store(""):
            raise ProjectError(
                f"'{self.root}' is a store of Corten, and no project",
                hint=f"set CORTEN_HOME to another folder; if this is no store any more, delete '{MARKER}' in it",
            )
        missing = tuple(
            pattern for pattern in self.project.models if not self._declare(pattern, weights=True)
        )
        for pattern in self.project.include:
            if not self._declare(pattern, weights=False):
                raise ProjectError(
                    f"'include' in [tool.corten] names '{pattern}', and there is no such file",
                    hint="paths and globs are relative to the project's folder",
                )
        self._walk()
        for path in self.weights:
            self.code.pop(path, None)
        found = {*self.code, *self.weights}

        def listed(paths: set[str]) -> tuple[str, ...]:
            return tuple(sorted(paths - found - self.folders_of_declared))

        return SourceFiles(
            code=tuple(self.code[path] for path in sorted(self.code)),
            weights=tuple(self.weights[path] for path in sorted(self.weights)),
            left_out=listed(self.left_out | self.secrets | self.by_docker),
            missing=missing,
            stores=tuple(sorted(path.rstrip("/") for path, known in self.known_stores.items() if known)),
            secrets=listed(self.secrets),
            by_docker=listed(self.by_docker),
            brought=tuple(sorted(self.brought & found)),
            unread=self.ignoring.unread,
            although_ignored=tuple(sorted(self.although_ignored & set(self.weights))),
            in_ignored=self._weights_in_ignored_folders(),
            unknown_tracked=self.unknown_tracked,
        )

    def _is_tracked(self, path: str, folder: bool) -> bool:
        """Whether git tracks a file, or a file in a folder. Its index is read when this is first asked."""
        if self._tracked is None:
            try:
                self._tracked = self.ignoring.tracked()
            except UnreadableIndex:
                self._tracked, self.unknown_tracked = frozenset(), True
            for file in self._tracked:
                above = file.rpartition("/")[0]
                while above and above not in self._folders_of_tracked:
                    self._folders_of_tracked.add(above)
                    above = above.rpartition("/")[0]
        return path in (self._folders_of_tracked if folder else self._tracked)

    def _weights_in_ignored_folders(self) -> tuple[str, ...]:
        """Some of what is named like weights in folders that git ignores: to be told, within bounds."""
        found: list[str] = []
        pending, left = sorted(self.ignored_folders, reverse=True), _MOST_LOOKED_AT
        while pending and left > 0:
            prefix = pending.pop()
            try:
                entries = self._entries(prefix)
            except ProjectError:
                continue
            left -= len(entries)
            if any(entry.name == "pyvenv.cfg" for entry in entries):
                continue
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = prefix + entry.name
                folder = entry.is_dir(follow_symlinks=False)
                if path in self.weights or self.ignoring.never(entry.name, path, folder):
                    continue
                if folder:
                    pending.append(path + "/")
                elif entry.name.endswith(WEIGHT_ENDINGS):
                    found.append(path)
        return tuple(sorted(found))

    def _is_store(self, prefix: str) -> bool:
        """Whether the folder `prefix` (`""`, or with a slash at its end) is the store in use, or has the marker of one."""
        found = self.known_stores.get(prefix)
        if found is None:
            folder = f"{self.root}/{prefix}"
            found = os.path.lexists(folder + MARKER) or (
                self.store is not None and _identity(folder) == self.store
            )
            self.known_stores[prefix] = found
        return found

    def _walk(self) -> None:
        """The whole folder, but for what is ignored. Symbolic links to folders are links, and are not entered."""
        ignoring, docker = self.ignoring, self.ignoring.docker
        code, weights = self.code, self.weights
        nothing: Seen = ()
        pending = [("", ignoring.outermost(), nothing, False)]
        while pending:
            prefix, rules, seen, is_ignored = pending.pop()
            if self._is_store(prefix):
                continue
            entries = self._entries(prefix)
            names = {entry.name for entry in entries}
            if "pyvenv.cfg" in names and prefix:
                self.left_out.add(prefix)
                continue
            if ".gitignore" in names:
                rules = ignoring.within(prefix, rules)
            for entry in entries:
                name = entry.name
                path = prefix + name
                folder = entry.is_dir(follow_symlinks=False)
                reason = ignoring.ignored(name, path, folder, rules)
                if reason == "git" or (
                    is_ignored and not reason and not ignoring.brings_back(name, path, folder)
                ):
                    # git takes nothing back that lies in a folder it ignores.
                    reason = self._git_ignores(path, folder, is_ignored)
                if reason:
                    left_out = self.secrets if reason == "secret" else self.left_out
                    left_out.add(path + "/" if folder else path)
                    continue
                below = seen
                if docker is not None:
                    out, below = docker.verdict(path, seen)
                    if out and not (folder and docker.may_keep_within(path)):
                        self.by_docker.add(path + "/" if folder else path)
                        continue
                if folder and name == "site-packages" and prefix.endswith("Lib/"):
                    self.left_out.add(
                        path + "/"
                    )  # a virtual environment of Windows, whose pyvenv.cfg nobody committed
                    continue
                if folder:
                    _check_name(name, path)
                    within = is_ignored or path in self.entered
                    pending.append((path + "/", rules, below, within))
                elif path not in weights:
                    file = self._file(path, entry.stat(follow_symlinks=False))
                    if file is None:
                        continue
                    if ignoring.brings_back(name, path, False) and is_secret(name, path, self.root):
                        self.brought.add(path)
                    if _is_weight(file, self.writable):
                        weights[path] = file
                    else:
                        code[path] = file

    def _git_ignores(self, path: str, folder: bool, is_ignored: bool) -> Reason:
        """What becomes of something that git's rules leave out, which lies in a folder that they do where `is_ignored`."""
        if self._is_tracked(path, folder):
            if folder:
                self.entered.add(path)
            return ""
        if folder:
            self.ignored_folders.append(path + "/")
            return "git"
        if path.endswith(WEIGHT_ENDINGS):
            if is_ignored:
                return "git"
            self.although_ignored.add(path)
            return ""
        return "git"

    def _declare(self, pattern: str, *, weights: bool) -> bool:
        """Adds what an entry of `models` or `include` names. False when that is nothing."""
        seen: set[str] = set()
        if is_glob(pattern) and not os.path.lexists(f"{self.root}/{pattern}"):
            paths, exact = list(self._glob(pattern)), False
        else:
            paths, exact = [pattern.rstrip("/")], True
        brought = [self._bring(path, seen, weights=weights, exact=exact) for path in paths]
        return any(brought)

    def _glob(self, pattern: str) -> Iterator[str]:
        """What matches a glob: files and folders, searched below the glob's fixed part only."""
        segments = pattern.rstrip("/").split("/")
        fixed = next(index for index, segment in enumerate(segments) if is_glob(segment))
        prefix = "".join(f"{segment}/" for segment in segments[:fixed])
        expression = compile_glob("/".join(segments))
        depth = None if "**" in segments else len(segments)
        pending = [prefix]
        while pending:
            prefix = pending.pop()
            if not os.path.isdir(f"{self.root}/{prefix}") or self._is_store(prefix):
                continue
            for entry in self._entries(prefix):
                path = prefix + entry.name
                folder = entry.is_dir(follow_symlinks=False)
                if self.ignoring.never(entry.name, path, folder):
                    continue
                if expression.fullmatch(path):
                    yield path
                elif folder and (depth is None or path.count("/") + 1 < depth):
                    pending.append(path + "/")

    def _bring(self, path: str, seen: set[str], *, weights: bool, exact: bool) -> bool:
        """Adds one file, or everything in one folder. A symbolic link on the way goes along as a link, and what it leads to
        under its own path. `seen` has the paths that were brought already. False when nothing was added."""
        if path in seen:
            return False
        seen.add(path)
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            above = "/".join(parts[:end])
            if above in self.folders:
                continue
            if self._is_store(f"{above}/"):
                if exact:
                    raise ProjectError(
                        f"'{path}' is in a store of Corten, which never enters an image",
                        hint="copy what is wanted of it to another folder of the project",
                    )
                return False
            if os.path.islink(f"{self.root}/{above}"):
                link = self._file(above, os.lstat(f"{self.root}/{above}"))
                target = os.path.realpath(f"{self.root}/{above}")
                if link is None or target == self.root:
                    return False
                self.code[above] = link
                inner = "/".join([target[len(self.root) + 1 :], *parts[end:]])
                return self._bring(inner, seen, weights=weights, exact=exact)
        try:
            status = os.lstat(f"{self.root}/{path}")
        except OSError:
            return False
        folder = stat.S_ISDIR(status.st_mode)
        reason = "" if exact else self.ignoring.never(parts[-1], path, folder)
        if reason:
            if reason == "secret":
                self.secrets.add(path + "/" if folder else path)
            return False
        if folder:
            self.folders.add(path)
            names = sorted(entry.name for entry in self._entries(f"{path}/"))
            brought = [self._bring(f"{path}/{name}", seen, weights=weights, exact=False) for name in names]
            return any(brought)
        file = self._file(path, status)
        if file is None:
            return False
        self.folders_of_declared.update("/".join(parts[:end]) + "/" for end in range(1, len(parts)))
        if exact and is_below_secret(path, self.root):
            self.brought.add(path)
        if weights or _is_weight(file, self.writable):
            self.weights[path] = file
        else:
            self.code[path] = file
        return True

    def _entries(self, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(f"{self.root}/{prefix}") as listing:
                return list(listing)
        except OSError as error:
            raise ProjectError(
                f"folder '{prefix or self.root}' cannot be read: {(error.strerror or 'error').lower()}",
                hint=f'make it readable, or leave it out: exclude = ["/{prefix.rstrip("/")}"]'
                if prefix
                else None,
            ) from error

    def _file(self, path: str, status: os.stat_result) -> SourceFile | None:
        """`status` as a SourceFile; None, with a word in `left_out`, for what is no file."""
        _check_name(path.rpartition("/")[2], path)
        mode = status.st_mode
        link = None
        if stat.S_ISLNK(mode):
            link = self._link(path)
        elif not stat.S_ISREG(mode):
            self.left_out.add(f"{path} ({_SPECIAL.get(stat.S_IFMT(mode), 'special file')})")
            return None
        return SourceFile(
            path,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
            mode & 0o111 != 0,
            link,
        )

    def _link(self, path: str) -> str:
        """The target of a link that stays inside the project, as a relative path that is true in the image too."""
        full = f"{self.root}/{path}"
        written = os.readlink(full)
        here = os.path.dirname(full)
        first = os.path.normpath(os.path.join(here, written))
        real = os.path.realpath(full)
        inside = f"{self.root}/"
        if real != self.root and not real.startswith(inside):
            raise ProjectError(
                f"'{path}' is a symbolic link to '{written}', which is outside the project",
                hint=f'copy what it points to into the project, or leave the link out: exclude = ["/{path}"]',
            )
        relative_depth = 0
        climbs = written.startswith("/")
        for part in written.split("/"):
            relative_depth += 0 if part in ("", ".") else -1 if part == ".." else 1
            climbs = climbs or relative_depth < -path.count("/")
        if climbs or not first.startswith(inside):
            return os.path.relpath(real, here)
        return written


def _identity(folder: str | Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_weight(file: SourceFile, writable: bool) -> bool:
    if file.link is not None or (writable and file.path.endswith(DATABASE_ENDINGS)):
        return False
    if file.size > WEIGHT_BYTES:
        return not file.path.endswith(_CODE_ENDINGS)
    return file.path.endswith(WEIGHT_ENDINGS)


def _check_name(name: str, path: str) -> None:
    """Raises ProjectError for a name that an image cannot hold everywhere."""
    if name.isprintable():
        if name.startswith(".wh."):
            raise ProjectError(
                f"'{path}' cannot be in an image: names that begin with '.wh.' mean deletion there",
                hint="rename it, or leave it out with 'exclude'",
            )
        return
    try:
        name.encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise ProjectError(f"the name of '{shown}' is not UTF-8", hint="rename the file") from error
    if any(character < " " or character == "\x7f" for character in name):
        raise ProjectError(f"the name of {path!r} has a control character", hint="rename the file")
