"""The files of a package's folder that belong to its source: what is built, and what stands for it in a lock's inputs."""

from __future__ import annotations

import os
from pathlib import Path

from corten.errors import ProjectError
from corten.oci import tar
from corten.oci.inside import Inside

_LARGEST = 512 << 20
_MOST_FILES = 50_000
_LEFT_OUT = frozenset(
    (
        ".git",
        ".hg",
        ".svn",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        "node_modules",
        "__pycache__",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
    )
)
_MADE = frozenset(("build", "dist"))


def copy_source(folder: Path, target: Path) -> None:
    """Copy a package's files into the empty folder `target`, but for what tools leave there. No link is followed. Raises ProjectError for more
    than a source is."""
    entries = source_entries(folder)
    with Inside(folder) as given, Inside(target) as made:
        for entry in entries:
            if entry.kind == "directory":
                made.directory(entry.path, make=True)
            elif entry.kind == "symlink":
                joined = os.path.normpath(os.path.join(os.path.dirname(entry.path), entry.link))
                if entry.link.startswith("/") or joined.split("/")[0] == "..":
                    raise ProjectError(
                        f"'{folder.name}/{entry.path}' is a link that leads out of its folder",
                        hint="put the file itself there",
                    )
                made.symlink(entry.path, entry.link)
            else:
                descriptor = tar.opened(given, entry.path)
                with os.fdopen(descriptor, "rb") as file:
                    made.write(entry.path, file.read(entry.size), entry.mode)


def source_entries(folder: Path) -> list[tar.Entry]:
    """What of a folder belongs to a source. Raises ProjectError where that is too much."""
    entries = [entry for entry in tar.scan(folder) if not _is_left_out(entry.path)]
    if len(entries) > _MOST_FILES or sum(entry.size for entry in entries) > _LARGEST:
        raise ProjectError(
            f"'{folder.name}' has more than {_MOST_FILES:,} files or {_LARGEST >> 20} MB, which is too much for a package's source",
            hint="name the package's own folder",
        )
    return entries


def _is_left_out(path: str) -> bool:
    parts = path.split("/")
    return (
        parts[0] in _MADE
        or bool(_LEFT_OUT & set(parts))
        or path.endswith((".pyc", ".pyo"))
        or any(part.endswith(".egg-info") for part in parts)
    )


def digest_of(folder: Path) -> str:
    """What stands for the content of a folder that must be built: another one makes a lock stale."""
    return tar.digest(source_entries(folder), folder)[0].hex
