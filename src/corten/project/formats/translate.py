"""Which files of other tools are read as requirements, by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corten.lazy import regex
from corten.project.formats.lines import Translated, table
from corten.project.hints.names import CONDA
from corten.project.setup_files import of_config, of_source

_WHOLE = regex(r"^\[metadata\]", re.MULTILINE)
_CONFLICT = regex(r"^(?:<{7}|={7}|>{7})", re.MULTILINE)
Translate = Callable[[str, Mapping[str, Any], Sequence[str], Sequence[str]], Translated]


def _poetry_lock(
    text: str, pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]
) -> Translated:
    from corten.project.formats import poetry

    return poetry.with_lock(text, pyproject, extras, groups)


def _pdm_lock(
    text: str, pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]
) -> Translated:
    from corten.project.formats import pdm

    return pdm.with_lock(text, pyproject, extras, groups)


def _pyproject(
    text: str, pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]
) -> Translated:
    from corten.project.formats import poetry

    return poetry.without_lock(pyproject, extras, groups)


def _pipfile_lock(text: str, *_: object) -> Translated:
    from corten.project.formats import pipenv

    return pipenv.with_lock(text)


def _pipfile(text: str, *_: object) -> Translated:
    from corten.project.formats import pipenv

    return pipenv.without_lock(text)


def _setup(read: Callable[[str], tuple[str, ...] | None]) -> Translate:
    return lambda text, *_: Translated((), written=read(text) or ())


def _conda(file: str) -> Translate:
    def environment(text: str, *_: object) -> Translated:
        from corten.project.formats import conda

        return conda.environment(text, file)

    return environment


FORMATS: dict[str, Translate] = {
    "poetry.lock": _poetry_lock,
    "pdm.lock": _pdm_lock,
    "pyproject.toml": _pyproject,
    "Pipfile.lock": _pipfile_lock,
    "Pipfile": _pipfile,
    "setup.cfg": _setup(of_config),
    "setup.py": _setup(of_source),
    **{file: _conda(file) for file in CONDA},
}
"""By the name of the file. A pyproject.toml stands for its `[tool.poetry]`."""

LOCKS = frozenset(("poetry.lock", "pdm.lock", "Pipfile.lock"))
"""Those that tools write."""
_DONE: dict[tuple[str, str, str, tuple[str, ...], tuple[str, ...]], Translated] = {}


def translated(
    file: str, text: str, pyproject: Mapping[str, Any], extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> Translated | None:
    """The file as requirements; None where it is a requirements file itself. Raises ProjectError."""
    translate = FORMATS.get(file)
    if translate is None:
        return None
    # A large lock is read several times in one command.
    key = (file, text, repr(pyproject), tuple(extras), tuple(groups))
    if key not in _DONE:
        _DONE.clear()
        _DONE[key] = translate(text, pyproject, extras, groups)
    return _DONE.get(key) or translate(text, pyproject, extras, groups)


def names_in(
    file: str, text: str, pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]
) -> list[str] | None:
    """Requirements with the names of the packages in a large lock, whose hashes are not read: every build asks for the names, and only
    a new lock needs the rest. None for other files, and for a lock that is cut off or has conflicts of a merge. Raises ProjectError for a
    requirement of pyproject.toml."""
    if file not in ("poetry.lock", "pdm.lock") or _CONFLICT.search(text) or not _WHOLE.search(text):
        return None
    from corten.project.formats import poetry

    roots = [root.requirement() for root in poetry.required(pyproject, extras, groups)]
    return [*roots, *re.findall(r'^name = "([^"\n]+)"', text, re.MULTILINE)]


def has_poetry(pyproject: Mapping[str, Any]) -> bool:
    """Whether `[tool.poetry.dependencies]` names a package."""
    return bool(table(pyproject, "tool", "poetry", "dependencies").keys() - {"python"})
