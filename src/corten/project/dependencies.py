"""Where a project's dependencies are written (DESIGN section 5), and which packages those files name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from corten.errors import ProjectError
from corten.lazy import regex
from corten.project.dependency_files import choose, development_files, holding, in_folders
from corten.project.formats.translate import FORMATS, has_poetry, names_in, translated
from corten.project.hints.names import CONDA
from corten.project.kinds import TABLE
from corten.project.model import Dependencies
from corten.project.regular import open_regular
from corten.project.repairs import Repairs
from corten.project.settings import Settings
from corten.project.setup_files import of_config, of_source
from corten.values import dataclass, replace

_NAME = regex(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_INCLUDED = regex(r"\s*(?:-r|--requirement)[\s=]*(\S+)")
_ANY_INCLUDED = regex(r"\s*(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)")
_PYLOCK = regex(r"pylock(?:\.[^.]+)?\.toml")
_MOST_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """The dependencies, with what is worth saying about how they were found."""

    dependencies: Dependencies
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    """Files that hold dependencies too, and are not read."""


def find(
    root: Path, settings: Settings, pyproject: dict[str, Any], paths: Callable[[], Sequence[str]]
) -> Found:
    """The dependencies, and what else could hold some: the project's folder as `_find` looks at it, else the only requirements
    file (or the one nearest to the top) among all its `paths`. Raises ProjectError."""
    found = _find(root, settings, pyproject)
    below: tuple[str, ...] = ()
    if found.dependencies.kind == "none":
        below = in_folders(paths())
        depth = below[0].count("/") if below else 0
        nearest = [path for path in below if path.count("/") == depth]
        if len(nearest) == 1 and _is_inside(root / nearest[0], root):
            _refuse_choice_within(settings, nearest[0])
            note = f"dependencies are in '{nearest[0]}'"
            found = Found(Dependencies("requirements", (root / nearest[0],)), (note,))
    return replace(found, unused=_unused(root, found.dependencies, below))


def _unused(root: Path, used: Dependencies, below: Sequence[str]) -> tuple[str, ...]:
    """The files with dependencies that are neither `used` nor included by what is."""
    names = {entry.name for entry in os.scandir(root)}
    nested = _nested(root, names)
    if nested:
        names.discard("requirements")
    read = {os.path.realpath(path) for path in _included(used.files, root)}
    if any(path.name == "Pipfile.lock" for path in used.files):
        read.add(os.path.realpath(root / "Pipfile"))
    return tuple(
        name
        for name in (*holding(names, nested), *below)
        if os.path.realpath(root / name) not in read
        and not (name in ("setup.py", "setup.cfg") and "install_requires" not in _inside(root, name))
    )


def _nested(root: Path, names: Collection[str]) -> list[str]:
    """What lies in the folder `requirements`."""
    if "requirements" not in names or not (root / "requirements").is_dir():
        return []
    return [f"requirements/{entry.name}" for entry in os.scandir(root / "requirements")]


def group_files(root: Path) -> dict[str, tuple[str, ...]]:
    """The requirements files for development in the project's folder, by the names of their groups."""
    names = [entry.name for entry in os.scandir(root)]
    found = development_files([name for name in names if not (root / name).is_dir()], _nested(root, names))
    return {group: inside for group, files in found.items() if (inside := _those_inside(root, files))}


def _those_inside(root: Path, files: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in files if _is_inside(root / name, root))


def _included(files: Iterable[Path], root: Path) -> set[Path]:
    """Requirements files, with those that they include."""
    pending, seen = list(files), set[Path]()
    while pending:
        path = pending.pop()
        if path in seen or not _is_inside(path, root):
            continue
        seen.add(path)
        if path.suffix in (".lock", ".toml"):
            continue
        for line in (_text(path) or "").splitlines():
            included = _ANY_INCLUDED.match(line)
            if included:
                pending.append(path.parent / included[1])
    return seen


def _find(root: Path, settings: Settings, pyproject: dict[str, Any]) -> Found:
    """The first that is there of: what `requirements` names, `uv.lock`, requirements files (with hashes first),
    `[project.dependencies]`. Raises ProjectError for several files that could be meant, for a lock that Corten cannot
    read, and for groups and extras that are not there."""
    names = {entry.name for entry in os.scandir(root)}
    table = pyproject.get("project") or {}
    if settings.requirements is not None:
        return Found(_written(root, settings, pyproject))
    chosen = None if {"uv.lock", "pylock.toml"} & names else _requirements_file(root, names)
    if chosen is not None:
        return _in_requirements(root, chosen, settings, pyproject)
    extras, groups = _wanted(settings, pyproject)
    if "uv.lock" in names:
        return Found(
            Dependencies("uv.lock", (root / "uv.lock",), extras, groups), ("dependencies are in 'uv.lock'",)
        )
    if "pylock.toml" in names:
        return Found(
            Dependencies("pylock", (root / "pylock.toml",), extras, groups),
            ("dependencies are in 'pylock.toml'",),
        )
    if "poetry.lock" in names:
        return _translated(root, "poetry.lock", pyproject, extras, groups)
    if "pdm.lock" in names:
        return _translated(root, "pdm.lock", pyproject, extras, groups)
    if "Pipfile.lock" in names:
        _refuse_choice_within(settings, "Pipfile.lock")
        return _translated(root, "Pipfile.lock", pyproject)
    if not table.get("dependencies") and has_poetry(pyproject):
        return _translated(root, "pyproject.toml", pyproject, extras, groups)
    if table.get("dependencies") or extras or groups:
        file = root / "pyproject.toml"
        return Found(
            Dependencies("pyproject", (file,), extras, groups), ("dependencies are in 'pyproject.toml'",)
        )
    for name in _others(root, names):
        _refuse_choice_within(settings, name)
        return _translated(root, name, pyproject)
    return Found(Dependencies("none"), _unread(root, names, pyproject))


def _in_requirements(root: Path, chosen: Path, settings: Settings, pyproject: dict[str, Any]) -> Found:
    """The dependencies in a requirements file, with the files of the groups that are asked for."""
    shown = chosen.relative_to(root).as_posix()
    files = _with_groups(root, (chosen,), settings, pyproject, shown)
    note = f"dependencies are in {' and '.join(repr(file.relative_to(root).as_posix()) for file in files)}"
    if (pyproject.get("project") or {}).get("dependencies"):
        note += "; those in 'pyproject.toml' are not read"
    return Found(Dependencies("requirements", files, groups=settings.groups), (note,))


def _with_groups(
    root: Path, files: tuple[Path, ...], settings: Settings, pyproject: dict[str, Any], shown: str
) -> tuple[Path, ...]:
    """Requirements files, with those for development whose groups are asked for. Raises ProjectError for other groups, and extras."""
    if not settings.groups:
        _wanted(settings, pyproject)
        _refuse_choice_within(settings, shown)
        return files
    known = group_files(root)
    for name in settings.groups:
        if _normal(name) not in known:
            _wanted(settings, pyproject)
            _refuse_choice_within(settings, shown)
    _refuse_choice_within(replace(settings, groups=()), shown)
    more = [root / file for name in settings.groups for file in known[_normal(name)]]
    return tuple(dict.fromkeys((*files, *more)))


def _others(root: Path, names: set[str]) -> Iterator[str]:
    """The files of other tools without a lock that list packages, the clearest first."""
    if "Pipfile" in names:
        yield "Pipfile"
    for name in CONDA:
        if name in names and re.search(r"^dependencies\s*:", _inside(root, name), re.MULTILINE):
            yield name
    for name, read in (("setup.cfg", of_config), ("setup.py", of_source)):
        if name in names and "install_requires" in (text := _inside(root, name)) and read(text):
            yield name


def _inside(root: Path, name: str) -> str:
    """The text of a file; empty for one outside the project."""
    return (_text(root / name) or "") if _is_inside(root / name, root) else ""


def _translated(
    root: Path,
    name: str,
    pyproject: dict[str, Any],
    extras: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
) -> Found:
    """The dependencies in a file of another tool, which is read as requirements."""
    file = root / name
    if _is_inside(file, root):  # one outside waits for a confirmation before it is read
        text = _text(file) or ""
        if names_in(name, text, pyproject, extras, groups) is None:
            translated(name, text, pyproject, extras, groups)  # a broken file is said at once
        if name == "Pipfile.lock" and (root / "Pipfile").is_file():
            from corten.project.formats import pipenv

            pipenv.check_current(text, _inside(root, "Pipfile"))
    shown = "[tool.poetry] of 'pyproject.toml'" if name == "pyproject.toml" else f"'{name}'"
    return Found(Dependencies("requirements", (file,), extras, groups), (f"dependencies are in {shown}",))


def _unread(root: Path, names: set[str], pyproject: dict[str, Any]) -> tuple[str, ...]:
    """Notes about, or an error for, dependencies that are written where Corten does not look."""
    if "dependencies" in (pyproject.get("project") or {}).get("dynamic", []):
        raise ProjectError(
            "the dependencies in 'pyproject.toml' are dynamic, and Corten runs no build backend to learn them",
            hint=f'name their file in {TABLE}: requirements = "requirements.txt"',
        )
    for name in ("setup.py", "setup.cfg"):
        if name in names and "install_requires" in _inside(root, name):
            return (f"no dependencies: those in '{name}' are not a list that can be read without running it",)
    return ("no dependencies",)


def _wanted(settings: Settings, pyproject: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The extras and groups that are asked for, all of which exist."""
    extras = dict((pyproject.get("project") or {}).get("optional-dependencies") or {})
    groups = groups_in(pyproject)
    if "poetry" in (pyproject.get("tool") or {}):
        from corten.project.formats import poetry

        extras |= poetry.extras_of(pyproject)
    for key, wanted, known, where in (
        ("extras", settings.extras, extras, "[project.optional-dependencies]"),
        ("groups", settings.groups, groups, "[dependency-groups]"),
    ):
        normal = {_normal(name) for name in known}
        for name in wanted:
            if _normal(name) not in normal:
                there = ", ".join(f"'{name}'" for name in known) or "none"
                raise ProjectError(
                    f"'{key}' in {TABLE} names '{name}', which is not in {where}", hint=f"there: {there}"
                )
    return settings.extras, settings.groups


def groups_in(pyproject: dict[str, Any]) -> dict[str, Any]:
    """The dependency groups of a pyproject.toml, Poetry's among them."""
    groups = dict(pyproject.get("dependency-groups") or {})
    if "poetry" in (pyproject.get("tool") or {}):
        from corten.project.formats import poetry

        groups |= poetry.groups_of(pyproject)
    return groups


def _written(root: Path, settings: Settings, pyproject: dict[str, Any]) -> Dependencies:
    assert settings.requirements is not None
    shown = settings.requirements[0]
    files = tuple(root / name for name in settings.requirements)
    for name, file in zip(settings.requirements, files, strict=True):
        if not file.is_file():
            raise ProjectError(f"'requirements' in {TABLE} names '{name}', and there is no such file")
    for special in ("uv.lock", "pyproject.toml"):
        if special in [file.name for file in files]:
            if files != (root / special,):
                raise ProjectError(
                    f"'requirements' in {TABLE} can name '{special}' of the project's folder alone"
                )
            _wanted(settings, pyproject)
            kind: Literal["uv.lock", "requirements", "pyproject"] = (
                "uv.lock" if special == "uv.lock" else "pyproject"
            )
            if special == "pyproject.toml" and not (pyproject.get("project") or {}).get("dependencies"):
                kind = "requirements" if has_poetry(pyproject) else kind
            return Dependencies(kind, files, settings.extras, settings.groups)
    if len(files) == 1 and (_PYLOCK.fullmatch(files[0].name) or files[0].name in FORMATS):
        _wanted(settings, pyproject)
    if len(files) == 1 and _PYLOCK.fullmatch(files[0].name):
        return Dependencies("pylock", files, settings.extras, settings.groups)
    if len(files) == 1 and files[0].name in FORMATS:
        if files[0].name not in ("poetry.lock", "pdm.lock"):
            _refuse_choice_within(settings, shown)
        return Dependencies("requirements", files, settings.extras, settings.groups)
    files = _with_groups(root, files, settings, pyproject, shown)
    return Dependencies("requirements", files, groups=settings.groups)


def _refuse_choice_within(settings: Settings, file: str) -> None:
    for key, wanted in (("extras", settings.extras), ("groups", settings.groups)):
        if wanted:
            raise ProjectError(
                f"'{key}' in {TABLE} has no meaning for dependencies from '{file}'",
                hint='write requirements = "pyproject.toml" to take them from there',
            )


def _requirements_file(root: Path, names: set[str]) -> Path | None:
    """The one requirements file that is not for development or tests (`corten.project.dependency_files`)."""
    nested = _nested(root, names)
    files = [name for name in names if not (root / name).is_dir()]
    chosen = choose(files, nested, lambda name: _is_inside(root / name, root) and _has_hashes(root / name))
    if chosen.several:
        raise ProjectError(
            "several files could hold the dependencies: " + ", ".join(f"'{name}'" for name in chosen.several),
            hint=f'write one into {TABLE}: requirements = "{chosen.several[0]}"',
        )
    return root / chosen.file if chosen.file else None


def _has_hashes(path: Path) -> bool:
    return "--hash=" in (_text(path) or "")


def package_names(
    dependencies: Dependencies, pyproject: dict[str, Any], root: Path | None = None
) -> frozenset[str]:
    """The normalised names of the packages that the files name (for uv.lock and pylock.toml, of all that it holds). An extra is there as
    `name[extra]`. Environment markers are not evaluated. With `root` no file outside of it is looked at."""
    found: set[str] = set()
    if dependencies.kind in ("uv.lock", "pylock"):
        for path in [file for file in dependencies.files if _is_inside(file, root)]:
            found.update(re.findall(r'^name = "([^"]+)"$', _text(path) or "", re.MULTILINE))
    elif dependencies.kind == "requirements":
        pending, seen = list(dependencies.files), set()
        while pending:
            path = pending.pop()
            if path in seen or not _is_inside(path, root):
                continue
            seen.add(path)
            text = _text(path) or ""
            made = None
            if path.name in FORMATS and path in dependencies.files:
                names = names_in(path.name, text, pyproject, dependencies.extras, dependencies.groups)
                if names is not None:
                    found.update(item for one in names for item in _names(one))
                    continue
                made = translated(path.name, text, pyproject, dependencies.extras, dependencies.groups)
            if made is not None:
                for one in (*made.lines, *made.constraints):
                    found.update(_names(one))
                text = "\n".join(made.written)
            repair = Repairs().of(text)
            for line in text.splitlines():
                included = _INCLUDED.match(line)
                if included:
                    pending.append(path.parent / included[1])
                    continue
                repaired = repair(re.sub(r"(^|\s)#.*$", "", line))
                for one in (line,) if repaired is None else repaired.lines:
                    found.update(_names(one))
    elif dependencies.kind == "pyproject":
        table = pyproject.get("project") or {}
        lines = list(table.get("dependencies") or [])
        optional = table.get("optional-dependencies") or {}
        groups = pyproject.get("dependency-groups") or {}
        for known, wanted in ((optional, dependencies.extras), (groups, dependencies.groups)):
            chosen = {_normal(name) for name in wanted}
            lines += [line for name, lines in known.items() if _normal(name) in chosen for line in lines]
        found.update(name for line in lines if isinstance(line, str) for name in _names(line))
    return frozenset(found)


def _is_inside(path: Path, root: Path | None) -> bool:
    try:
        return root is None or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    except ValueError:  # a null character in it
        return False


def _names(line: str) -> list[str]:
    match = _NAME.match(line)
    if not match:
        return []
    name = _normal(match[1])
    return [
        name,
        *(f"{name}[{_normal(extra.strip())}]" for extra in (match[2] or "").split(",") if extra.strip()),
    ]


def _normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _text(path: Path) -> str | None:
    try:
        with open_regular(path) as file:
            data = file.read(_MOST_BYTES)
    except OSError:
        return None
    # PowerShell's `pip freeze > requirements.txt` writes UTF-16.
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if wide else "utf-8-sig", "replace").replace("\r\n", "\n")
