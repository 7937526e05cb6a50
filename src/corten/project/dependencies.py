"""Where a project's dependencies are written (DESIGN section 5), and which packages those files name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from corten.errors import ProjectError
from corten.lazy import regex
from corten.project.dependency_files import choose, development_files, holding, in_folders, is_misspelt
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
_EGG = regex(r"#(?:\S*&)?egg=([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")
_FOLDER = regex(
    r"\s*(?:(?:-e|--editable)[\s=]+)?(?:[\w.-]+\s*(?:\[[^\]]*\])?\s*@\s*)?(?:file:)?((?:\.{1,2}|[\w.-]+)/[^\s;#\[\]]*)(?:[\s;#\[]|$)"
)
_INCLUDED = regex(r"\s*(?:-r|--requirement)[\s=]*(\S+)")
_ANY_INCLUDED = regex(r"\s*(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)")
_PYLOCK = regex(r"pylock(?:\.[^.]+)?\.toml")
_WITH_PYPROJECT = ("pyproject.toml", "poetry.lock", "pdm.lock")
"""Files that are read together with what pyproject.toml requires."""
_MARKS = {
    "setup.py": "install_requires",
    "setup.cfg": "install_requires",
    "env.yml": "dependencies:",
    "conda_env.yml": "dependencies:",
}
"""What must stand in a file that need not hold dependencies."""
_MOST_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """The dependencies, with what is worth saying about how they were found."""

    dependencies: Dependencies
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    """Files that hold dependencies too, and are not read."""


class Look:
    """A project's folder, as the places of dependencies are looked for in it."""

    def __init__(
        self, root: Path, settings: Settings, pyproject: dict[str, Any], paths: Callable[[], Sequence[str]]
    ) -> None:
        self.root, self.settings, self.pyproject = root, settings, pyproject
        self.names = {entry.name for entry in os.scandir(root)}
        self._paths = paths

    @property
    def listed(self) -> bool:
        """Whether `[project.dependencies]` lists something."""
        return bool((self.pyproject.get("project") or {}).get("dependencies"))

    @cached_property
    def below(self) -> tuple[str, ...]:
        """Requirements files in folders of the project, the nearest first."""
        return in_folders(self._paths())

    @cached_property
    def wanted(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The extras and groups that are asked for. Raises ProjectError for those that are not there."""
        return _wanted(self.settings, self.pyproject)


@dataclass(frozen=True, slots=True)
class Place:
    """A place where dependencies may stand. `what` says it for the documentation, `gives` what is taken from it, and `chosen` whether
    extras and groups can be chosen."""

    find: Callable[[Look], Found | None]
    what: str
    gives: str
    chosen: str = "no"


def find(
    root: Path, settings: Settings, pyproject: dict[str, Any], paths: Callable[[], Sequence[str]]
) -> Found:
    """The dependencies: of the first place in `ORDER` that has some, and what else could hold some. `paths` are all of the project's
    files. Raises ProjectError for several files that could be meant, for one that cannot be read, and for groups and extras that are not
    there."""
    look = Look(root, settings, pyproject, paths)
    found = next(found for place in ORDER if (found := place.find(look)) is not None)
    below = look.below if found.dependencies.kind == "none" or "below" in look.__dict__ else ()
    return replace(found, unused=_unused(root, found.dependencies, below, pyproject))


def _unused(
    root: Path, used: Dependencies, below: Sequence[str], pyproject: dict[str, Any]
) -> tuple[str, ...]:
    """The files with dependencies that are neither `used` nor included by what is."""
    names = {entry.name for entry in os.scandir(root)}
    nested = _nested(root, names)
    if nested:
        names.discard("requirements")
    read = {os.path.realpath(path) for path in _included(used.files, root)}
    if any(path.name == "Pipfile.lock" for path in used.files):
        read.add(os.path.realpath(root / "Pipfile"))
    listed = (pyproject.get("project") or {}).get("dependencies") or has_poetry(pyproject)
    beside = used.kind == "requirements" and not {path.name for path in used.files} & {*_WITH_PYPROJECT}
    own = ("pyproject.toml",) if listed and beside else ()
    return own + tuple(
        name
        for name in (*holding(names, nested), *below)
        if os.path.realpath(root / name) not in read and _MARKS.get(name, "") in _inside(root, name)
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


def _named(look: Look) -> Found | None:
    if look.settings.requirements is None:
        return None
    return Found(_written(look.root, look.settings, look.pyproject))


def _lock_of(name: str, kind: Literal["uv.lock", "pylock"]) -> Callable[[Look], Found | None]:
    def of(look: Look) -> Found | None:
        if name not in look.names:
            return None
        return Found(
            Dependencies(kind, (look.root / name,), *look.wanted), (f"dependencies are in '{name}'",)
        )

    return of


def _requirements(look: Look) -> Found | None:
    chosen = _requirements_file(look.root, look.names)
    if chosen is None:
        _ = look.wanted
        return None
    return _in_requirements(look.root, chosen, look.settings, look.pyproject)


def _foreign_lock(*names: str) -> Callable[[Look], Found | None]:
    def of(look: Look) -> Found | None:
        name = next((name for name in names if name in look.names), None)
        if name is None:
            return None
        if name == "Pipfile.lock":
            _refuse_choice_within(look.settings, name)
            return _translated(look.root, name, look.pyproject)
        return _translated(look.root, name, look.pyproject, *look.wanted)

    return of


def _poetry(look: Look) -> Found | None:
    if look.listed or not has_poetry(look.pyproject):
        return None
    return _translated(look.root, "pyproject.toml", look.pyproject, *look.wanted)


def _project(look: Look) -> Found | None:
    if not look.listed and not any(look.wanted):
        return None
    file = look.root / "pyproject.toml"
    return Found(Dependencies("pyproject", (file,), *look.wanted), ("dependencies are in 'pyproject.toml'",))


def _other(*names: str) -> Callable[[Look], Found | None]:
    def of(look: Look) -> Found | None:
        name = next((name for name in names if _lists(look, name)), None)
        if name is None:
            return None
        _refuse_choice_within(look.settings, name)
        return _translated(look.root, name, look.pyproject)

    return of


def _lists(look: Look, name: str) -> bool:
    """Whether a file of another tool without a lock is there and lists packages."""
    if name not in look.names:
        return False
    if name in CONDA:
        return re.search(r"^dependencies\s*:", _inside(look.root, name), re.MULTILINE) is not None
    if name in ("setup.cfg", "setup.py"):
        text = _inside(look.root, name)
        read = of_config if name == "setup.cfg" else of_source
        return "install_requires" in text and bool(read(text))
    return True


def _in_folder(look: Look) -> Found | None:
    _unread(look.root, look.names, look.pyproject)
    depth = look.below[0].count("/") if look.below else 0
    nearest = [path for path in look.below if path.count("/") == depth]
    if len(nearest) != 1 or not _is_inside(look.root / nearest[0], look.root):
        return None
    _refuse_choice_within(look.settings, nearest[0])
    note = f"dependencies are in '{nearest[0]}'"
    return Found(Dependencies("requirements", (look.root / nearest[0],)), (note,))


def _imports(look: Look) -> Found | None:
    return Found(Dependencies("none"), _unread(look.root, look.names, look.pyproject))


_LINE = regex(
    r"\s*(?:[#-]|[A-Za-z0-9][\w.-]*\s*(?:\[[\w, .-]*\]\s*)?(?:[=<>!~;@#].*)?$|\.{0,2}/|\w+\+?\w*://|\S+\.(?:whl|zip|tar\.\w+)\b)"
)
"""A line as a requirements file has them."""
_AS_IT_IS_CALLED = ("requirements.txt", "requirements.in")
"""Files with these names are always read as requirements, whatever they contain."""
_PINS = "versions and sha256"
_RANGES = "what is required"
ORDER: tuple[Place, ...] = (
    Place(
        _named,
        "what `requirements` in `[tool.corten]` names, else what a Dockerfile or `cog.yaml` installs with `-r`",
        "what that file gives",
        "as for that file",
    ),
    Place(_lock_of("uv.lock", "uv.lock"), "`uv.lock`", _PINS, "extras and groups"),
    Place(_lock_of("pylock.toml", "pylock"), "`pylock.toml`", _PINS, "extras and groups"),
    Place(
        _requirements,
        "`requirements.txt`, or the only file among `requirements*.txt`, `requirements.lock` and `requirements/*.txt` that is not for "
        "development or tests; one with hashes wins, and of several one that is named for production (`prod`, `base`, `cpu`, …). Else a "
        "misspelt one: `requirement.txt`, `requirments.txt`, `Requirements.txt`, `reqs.txt`, `requirements` without an ending",
        "what is required, with hashes where it has them",
        "groups: `requirements-dev.txt` is `dev`",
    ),
    Place(
        _foreign_lock("poetry.lock", "pdm.lock"), "`poetry.lock`, else `pdm.lock`", _PINS, "extras and groups"
    ),
    Place(_foreign_lock("Pipfile.lock"), "`Pipfile.lock`", _PINS),
    Place(
        _poetry,
        "`[tool.poetry.dependencies]`, where `[project.dependencies]` is empty",
        _RANGES,
        "extras and groups",
    ),
    Place(_project, "`[project.dependencies]`", _RANGES, "extras and groups"),
    Place(_other("Pipfile"), "`Pipfile`", _RANGES),
    Place(
        _other(*CONDA),
        f"a conda environment: {', '.join(f'`{name}`' for name in CONDA)}",
        "the lines for pip, and packages that the Python index has",
    ),
    Place(
        _other("setup.cfg", "setup.py"),
        "`install_requires` of `setup.cfg`, else of `setup.py`, where it is a list that can be read without running it",
        _RANGES,
    ),
    Place(
        _in_folder,
        "the only requirements file in a folder of the project, or the one nearest to the top",
        _RANGES,
    ),
    Place(_imports, "the imports of the code", "packages of known names"),
)
"""Where dependencies are looked for: the first place that has some counts."""


def _in_requirements(root: Path, chosen: Path, settings: Settings, pyproject: dict[str, Any]) -> Found:
    """The dependencies in a requirements file, with the files of the groups that are asked for."""
    shown = chosen.relative_to(root).as_posix()
    files = _with_groups(root, (chosen,), settings, pyproject, shown)
    note = f"dependencies are in {' and '.join(repr(file.relative_to(root).as_posix()) for file in files)}"
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
    files = [
        name
        for name in names
        if not (root / name).is_dir()
        and not (
            name.lower() not in _AS_IT_IS_CALLED
            and is_misspelt(name)
            and _is_something_else(root / name, root)
        )
    ]
    chosen = choose(files, nested, lambda name: _is_inside(root / name, root) and _has_hashes(root / name))
    if chosen.several:
        raise ProjectError(
            "several files could hold the dependencies: " + ", ".join(f"'{name}'" for name in chosen.several),
            hint=f'write one into {TABLE}: requirements = "{chosen.several[0]}"',
        )
    return root / chosen.file if chosen.file else None


def _is_something_else(path: Path, root: Path) -> bool:
    """Whether a file that means `requirements.txt` by its name alone holds mostly other lines: words to people, or a session."""
    lines = (
        [line for line in (_text(path) or "").splitlines() if line.strip()] if _is_inside(path, root) else []
    )
    return sum(_LINE.match(line) is None for line in lines) * 2 > len(lines)


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
                    folder = _FOLDER.match(one) if repaired is None and root is not None else None
                    if folder is not None and root is not None:
                        found |= _of_folder(root, path.parent / folder[1], set())
    elif dependencies.kind == "pyproject":
        table = pyproject.get("project") or {}
        lines = list(table.get("dependencies") or [])
        optional = table.get("optional-dependencies") or {}
        groups = pyproject.get("dependency-groups") or {}
        for known, wanted in ((optional, dependencies.extras), (groups, dependencies.groups)):
            chosen = {_normal(name) for name in wanted}
            lines += [line for name, lines in known.items() if _normal(name) in chosen for line in lines]
        found.update(name for line in lines if isinstance(line, str) for name in _names(line))
        if root is not None:
            for place in _of_sources(root, pyproject, found):
                found |= _of_folder(root, root / place, set())
    return frozenset(found)


def _of_sources(root: Path, pyproject: dict[str, Any], names: Collection[str]) -> list[str]:
    """The folders of the project in which uv's sources have packages of `names`."""
    uv = (pyproject.get("tool") or {}).get("uv") or {}
    sources = uv.get("sources") if isinstance(uv, dict) else None
    found: list[str] = []
    for name, entry in sources.items() if isinstance(sources, dict) else ():
        if not isinstance(entry, dict) or _normal(name) not in names:
            continue
        if isinstance(entry.get("path"), str):
            found.append(entry["path"])
        elif entry.get("workspace") is True:
            from corten.project.local_packages import members

            found += [place for own, place in members(root, pyproject).items() if own == _normal(name)]
    return found


def _of_folder(root: Path, folder: Path, seen: set[str]) -> set[str]:
    """The name of the package in a folder of the project, and the names that it requires, with those of the folders that it leads to."""
    place = os.path.normpath(folder)
    if place in seen or len(seen) > 100 or not _is_inside(Path(place), root) or not os.path.isdir(place):
        return set()
    seen.add(place)
    from corten.project.local_packages import LocalPackage, describe

    path = os.path.relpath(os.path.realpath(place), os.path.realpath(root))
    try:
        package = describe(root, path) if path != "." else None
    except ProjectError:  # the lock says it
        package = None
    if not isinstance(package, LocalPackage):
        return set()
    found = {package.name, *(name for line in package.requires for name in _names(line))}
    for entry in (package.sources or {}).values():
        if isinstance(entry, dict) and isinstance(entry.get("path"), str):
            found |= _of_folder(root, Path(place) / entry["path"], seen)
    return found


def _is_inside(path: Path, root: Path | None) -> bool:
    try:
        return root is None or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    except ValueError:  # a null character in it
        return False


def _names(line: str) -> list[str]:
    match = _NAME.match(line)
    if not match or line[match.end() : match.end() + 1] in ("+", ":", "/"):
        egg = _EGG.search(line)
        return [_normal(egg[1])] if egg else []
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
