"""Files that Git LFS has, and of which only a pointer is here (git-lfs's docs/spec.md): a model that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from corten.project.model import SourceFile
from corten.project.regular import open_regular

_BEGINNING = b"version https://git-lfs.github.com/spec/v1\n"
_TEXTS = (
    ".py",
    ".md",
    ".txt",
    ".toml",
    ".json",
    ".yml",
    ".yaml",
    ".html",
    ".css",
    ".js",
    ".ts",
    ".sh",
    ".cfg",
    ".ini",
    ".rst",
)
_MOST = 2000


def pointers(root: Path, files: Iterable[SourceFile]) -> tuple[str, ...]:
    """Those of `files` that are pointers. Only what is as small as one, and not named like text, is opened."""
    small = [
        file
        for file in files
        if file.link is None and 100 <= file.size <= 1024 and not file.path.endswith(_TEXTS)
    ]
    return tuple(file.path for file in small[:_MOST] if _is_pointer(root / file.path))


def _is_pointer(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return file.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return False
