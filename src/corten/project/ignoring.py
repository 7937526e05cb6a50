"""What stays out of an image: the default excludes, git's and docker's ignore files, `.cortenignore`, and `exclude`.

git's rules are read from the project's folder, from every folder in it, from the folders above it up to the one that
holds `.git`, and from `.git/info/exclude`. A user's own global excludes are not read: two people's images would differ.
`.dockerignore` is read where there is no `.cortenignore`. It leaves out more, and brings nothing back that another rule leaves out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Literal

from corten.errors import ProjectError
from corten.project import dockerignore, git_index
from corten.project.patterns import Rules
from corten.project.regular import open_regular
from corten.project.sensitive import is_secret

DEFAULT_NAMES = frozenset(
    [
        *(
            ".git",
            ".hg",
            ".svn",
            ".gitignore",
            ".gitattributes",
            ".gitmodules",
            ".cortenignore",
            ".dockerignore",
        ),
        *(".venv", "__pycache__", "node_modules", ".tox", ".nox", ".ipynb_checkpoints", ".DS_Store"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".idea", ".vscode"),
    ]
)
"""Files and folders of these names are left out wherever they are. Those that hold secrets are in `sensitive`."""
DEFAULT_ENDINGS = (".pyc", ".pyo")
"""Names with these endings are left out."""
DEFAULT_PATHS = frozenset(["corten.lock", "uv.lock"])
"""Left out of the project's own folder: locks say what is around the code, and would change its layer."""
_MOST_BYTES = 1_000_000

Reason = Literal["", "ignored", "secret", "git"]
"""Why something stays out: a rule says so, it holds secrets, or git ignores it; empty where it does not."""

Scoped = tuple[int, Rules]
"""Rules with the number of characters at the beginning of a path (relative to the project) that they do not see."""


class Ignoring:
    """Decides for one project. Paths are relative to its folder, with `/`; `rules` are those in force in a folder,
    strongest first, as `outermost` and `within` give them."""

    def __init__(self, root: str, exclude: Sequence[str]) -> None:
        self.root = root
        self._exclude = Rules(exclude)
        own = _read(f"{root}/.cortenignore", root)
        self._own = own or Rules(())
        docker = _text(f"{root}/{dockerignore.NAME}", root)
        self.docker = dockerignore.DockerRules(docker) if own is None and docker else None
        self.unread = (dockerignore.NAME,) if own is not None and docker else ()
        """Ignore files that another one stands in for."""
        self._above: list[tuple[str, Rules]] = _rules_above(root)

    def outermost(self) -> tuple[Scoped, ...]:
        """git's rules that are in force before any `.gitignore` of the project is read."""
        # A path seen from a folder above is longer; a negative number stands for the way that comes in front of it.
        return tuple((-1 - index, rules) for index, (_, rules) in enumerate(self._above))

    def within(self, prefix: str, rules: tuple[Scoped, ...]) -> tuple[Scoped, ...]:
        """`rules` with those of the `.gitignore` in the folder `prefix` (`""`, or with a slash at its end)."""
        read = _read(f"{self.root}/{prefix}.gitignore", self.root)
        return ((len(prefix), read), *rules) if read else rules

    def ignored(self, name: str, path: str, folder: bool, rules: tuple[Scoped, ...]) -> Reason:
        """Why a file or folder stays out, but for docker's rules. What is in an ignored folder is not asked for: it stays out
        too."""
        if self._exclude and self._exclude.verdict(name, path, folder):
            return "ignored"
        if self._own:
            verdict = self._own.verdict(name, path, folder)
            if verdict is not None:
                return "ignored" if verdict else ""
        if _by_default(name, path):
            return "ignored"
        if is_secret(name, path, self.root):
            return "secret"
        for skip, rule in rules:
            seen = path[skip:] if skip >= 0 else self._above[-1 - skip][0] + path
            verdict = rule.verdict(name, seen, folder)
            if verdict is not None:
                return "git" if verdict else ""
        return ""

    def tracked(self) -> frozenset[str]:
        """The files of the project that git tracks, whatever its rules say of them. Raises UnreadableIndex."""
        folder, way = self.root, ""
        while not os.path.lexists(f"{folder}/.git"):
            parent, name = os.path.split(folder)
            if parent == folder:
                return frozenset()
            folder, way = parent, f"{name}/{way}"
        own, common = git_directories(folder)
        return frozenset(path[len(way) :] for path in git_index.tracked(own, common) if path.startswith(way))

    def brings_back(self, name: str, path: str, folder: bool) -> bool:
        """Whether `.cortenignore` says of a file or folder that it belongs in the image."""
        return bool(self._own) and self._own.verdict(name, path, folder) is False

    def never(self, name: str, path: str, folder: bool) -> Reason:
        """Why a file or folder stays out although `models` or `include` name a folder or a glob that covers it."""
        if _by_default(name, path) or (self._exclude and self._exclude.verdict(name, path, folder)):
            return "ignored"
        return "secret" if is_secret(name, path, self.root) else ""


def _by_default(name: str, path: str) -> bool:
    return (
        name in DEFAULT_NAMES
        or name.endswith(DEFAULT_ENDINGS)
        or path in DEFAULT_PATHS
        or (path.startswith(".corten.lock.") and path.endswith(".tmp"))
    )


def _read(path: str, root: str | None = None) -> Rules | None:
    """The rules of an ignore file; None where there is none."""
    text = _text(path, root)
    return None if text is None else Rules(text.split("\n"))


def _text(path: str, root: str | None = None) -> str | None:
    """An ignore file; None where there is none. Names in it need not be UTF-8. Where it is one of the project at `root`, it may
    be a link to a file of that project, and to no other: what is wrong with a line is told with the line."""
    try:
        if root is not None and os.path.islink(path) and not os.path.realpath(path).startswith(f"{root}/"):
            raise ProjectError(
                f"'{path}' is a symbolic link to a file outside the project",
                hint="put the rules into the file itself",
            )
        # A pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise ProjectError(f"'{path}' cannot be read: {(error.strerror or 'error').lower()}") from error
    if len(data) > _MOST_BYTES:
        raise ProjectError(f"'{path}' is larger than a list of ignored files can be")
    return os.fsdecode(data.removeprefix(b"\xef\xbb\xbf"))


def _rules_above(root: str) -> list[tuple[str, Rules]]:
    """git's rules from the folders above the project, strongest first, each with the way from its folder to the project.
    Empty when the project is in no repository, or is itself ignored there."""
    folder, way = root, ""
    found: list[tuple[str, Rules]] = []
    while not os.path.lexists(f"{folder}/.git"):
        parent, name = os.path.split(folder)
        if parent == folder:
            return []
        folder, way = parent, f"{name}/{way}"
        rules = _read(f"{folder}/.gitignore")
        if rules:
            found.append((way, rules))
    rules = _read(f"{git_directories(folder)[1]}/info/exclude")
    if rules:
        found.append((way, rules))
    return [] if _ignored_itself(found) else found


def _ignored_itself(found: list[tuple[str, Rules]]) -> bool:
    """Whether the rules leave out the project's folder, or one above it in the repository."""
    deepest = max((way.count("/") for way, _ in found), default=0)
    for dropped in range(deepest):
        for way, rules in found:
            parts = way.split("/")[:-1]
            seen = parts[: len(parts) - dropped]
            verdict = rules.verdict(seen[-1], "/".join(seen), True) if seen else None
            if verdict is not None:
                if verdict:
                    return True
                break
    return False


def git_directories(folder: str) -> tuple[str, str]:
    """The directory that has the index, and the one that has `config` and `info`: both `.git`, or what a worktree's or
    submodule's `.git` file leads to (gitrepository-layout)."""
    path = f"{folder}/.git"
    try:
        with open_regular(path) as file:
            line = os.fsdecode(file.readline(8192))
    except OSError:
        return path, path
    if not line.startswith("gitdir:"):
        return path, path
    directory = os.path.normpath(os.path.join(folder, line[7:].strip()))
    try:
        with open_regular(f"{directory}/commondir") as file:
            common = os.fsdecode(file.readline(8192)).strip()
        return directory, os.path.normpath(os.path.join(directory, common))
    except (OSError, ValueError):
        return directory, directory
