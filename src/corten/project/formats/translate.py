"""Which files of other tools are read as requirements, by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corten.project.formats.lines import Translated, table

Translate = Callable[[str, Mapping[str, Any], Sequence[str], Sequence[str]], Translated]


def _poetry_lock(
    text: str, pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]
) -> Translated:
    from corten.project.formats import poetry

    return poetry.with_lock(text, pyproject, extras, groups)


def _pyproject(
    text: str, pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]
) -> Translated:
    from corten.project.formats import poetry

    return poetry.without_lock(pyproject, extras, groups)


FORMATS: dict[str, Translate] = {
    "poetry.lock": _poetry_lock,
    "pyproject.toml": _pyproject,
}
"""By the name of the file. A pyproject.toml stands for its `[tool.poetry]`."""


def translated(
    file: str, text: str, pyproject: Mapping[str, Any], extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> Translated | None:
    """The file as requirements; None where it is a requirements file itself. Raises ProjectError."""
    translate = FORMATS.get(file)
    return None if translate is None else translate(text, pyproject, extras, groups)


def has_poetry(pyproject: Mapping[str, Any]) -> bool:
    """Whether `[tool.poetry.dependencies]` names a package."""
    return bool(table(pyproject, "tool", "poetry", "dependencies").keys() - {"python"})
