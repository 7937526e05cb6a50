"""Which folder is the project: people give a repository's, and the code with its requirements lies in one below."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from corten.errors import ProjectError
from corten.lazy import regex
from corten.project.recognize.folder import Folder
from corten.project.recognize.places import SKIPPED

_LISTING = regex(
    r"require?ments?.*\.(?:txt|in|lock)|pyproject\.toml|uv\.lock|poetry\.lock|pdm\.lock|Pipfile|environment\.ya?ml"
)
"""Files that say what a project needs."""
_SHOWN = 6


def projects_below(folder: Folder) -> list[str]:
    """The folders below the project's own that have Python or requirements in them, the outermost of each branch."""
    found: set[str] = set()
    for path in folder.files():
        above, _, name = path.rpartition("/")
        if above and (name.endswith(".py") or _LISTING.fullmatch(name)):
            parts = above.split("/")
            if not any(part.lower() in SKIPPED or part.startswith(".") for part in parts):
                found.add(above)
    listing = {above for above in found if lists_requirements(folder, above)}
    kept: list[str] = []
    for above in sorted(found, key=lambda item: (item.count("/"), item)):
        if any(above.startswith(f"{other}/") for other in kept):
            continue
        inner = sorted(other for other in listing if other.startswith(f"{above}/"))
        if (
            inner
            and above not in listing
            and not any(posixpath.dirname(path) == above for path in folder.files(".py"))
        ):
            continue  # only what is below it has anything
        kept.append(above)
    return kept


def lists_requirements(folder: Folder, above: str) -> bool:
    """Whether a file in the folder `above` says what a project needs."""
    return any(
        posixpath.dirname(path) == above and _LISTING.fullmatch(posixpath.basename(path))
        for path in folder.files()
    )


def home(folder: Folder, path: str) -> str:
    """The nearest folder above the file `path` that lists requirements of its own; empty where only the project's own does."""
    above = posixpath.dirname(path)
    while above:
        if lists_requirements(folder, above):
            return above
        above = posixpath.dirname(above)
    return ""


def several(path: str, found: Sequence[str]) -> ProjectError:
    """The error for more than one project below the folder that was given as `path`."""
    shown = ", ".join(f"'{item}'" for item in found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    return ProjectError(
        f"there are {len(found)} projects below '{path}': {shown}",
        hint=f"name one of them: {commands(path, found)}",
    )


def commands(path: str, found: Sequence[str]) -> str:
    """The command that serves each of the folders `found` below `path`."""
    import shlex

    prefix = "./" if path in (".", "") else f"{path.rstrip('/')}/"
    return "  or  ".join(f"corten up {shlex.quote(prefix + item)}" for item in found[:_SHOWN])
