"""pylock.toml (PEP 751) as an input: which packages it has for a target, and which addresses it names. It is read here and nowhere
else; uv itself sees nothing of it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corten.errors import LockOutdated, ProjectError, ResolutionError
from corten.lazy import regex
from corten.packages.compatibility import Target
from corten.packages.requirements import normal_name
from corten.project.regular import open_regular

AGAIN = "make the lock file again"
_MOST_BYTES = 20_000_000
_WITHIN = regex(r"(?:'([^']*)'|\"([^\"]*)\")\s+(not\s+)?in\s+(extras|dependency_groups)\b")


def read_pylock(path: Path) -> dict[str, Any]:
    """The document. Raises ProjectError when it cannot be read, or is of a version that is not known."""
    from corten.toml import parse

    try:
        with open_regular(path) as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ProjectError(f"'{path.name}' is larger than a lock file can be", hint=AGAIN)
        document = parse(data.decode("utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ProjectError(f"'{path.name}' cannot be read: {reason}", hint=AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"'{path.name}' cannot be read: it is not TOML", hint=AGAIN) from error
    if not re.fullmatch(r"1\.[0-9]+", str(document.get("lock-version"))):
        raise ProjectError(
            f"'{path.name}' has a format that Corten does not know", hint="use lock-version 1.0"
        )
    return document


def addresses(path: Path) -> tuple[str, ...]:
    """The address of every wheel in a pylock.toml. Raises ProjectError."""
    found = []
    for package in _tables(read_pylock(path).get("packages")):
        archive = package.get("archive")
        for item in (*_tables(package.get("wheels")), *([archive] if isinstance(archive, dict) else [])):
            url = str(item.get("url") or "").split("#")[0]
            if url.endswith(".whl"):
                found.append(url)
    return tuple(dict.fromkeys(found))


def packages_for(
    path: Path, target: Target, extras: Sequence[str], groups: Sequence[str], root: Path
) -> list[dict[str, Any]]:
    """The packages that `path` has on `target` with these extras and groups, one for each name, with absolute paths. The project
    at `root` itself is not among them. Raises ProjectError, ResolutionError."""
    document, name = read_pylock(path), path.name
    active = {"extras": {normal_name(item) for item in extras}, "dependency_groups": set[str]()}
    for key, wanted in (("extras", extras), ("dependency-groups", groups)):
        there = {normal_name(str(item)) for item in _list(document.get(key))}
        for item in wanted:
            if normal_name(item) not in there:
                shown = ", ".join(f"'{one}'" for one in sorted(there)) or "none"
                raise ProjectError(f"'{item}' is not among the {key} of '{name}'", hint=f"there: {shown}")
    active["dependency_groups"] = {
        normal_name(str(item)) for item in groups or _list(document.get("default-groups"))
    }
    _check_python(document.get("requires-python"), f"'{name}'", target)
    environments = _list(document.get("environments"))
    if environments and not any(_holds(item, target, active, name) for item in environments):
        raise ResolutionError(
            f"'{name}' is not made for {target.platform} with Python {target.minor}",
            hint="make the lock file for that platform too",
        )
    found: dict[str, dict[str, Any]] = {}
    for package in _tables(document.get("packages")):
        if not _holds(package.get("marker"), target, active, name) or _is_root(package, path, root):
            continue
        own = normal_name(str(package.get("name")))
        if own in found:
            raise ProjectError(
                f"'{name}' has '{own}' twice for {target.platform} with Python {target.minor}", hint=AGAIN
            )
        _check_python(package.get("requires-python"), f"'{own}' in '{name}'", target)
        found[own] = _absolute(package, path.parent)
    return [found[key] for key in sorted(found)]


def every_package(path: Path, root: Path) -> list[dict[str, Any]]:
    """Every package that `path` has, for whatever platform, but for the project at `root` itself. Raises ProjectError."""
    packages = _tables(read_pylock(path).get("packages"))
    return [_absolute(package, path.parent) for package in packages if not _is_root(package, path, root)]


def check_current(
    packages: Sequence[dict[str, Any]], requirements: Sequence[str], path: Path, target: Target
) -> None:
    """Raises LockOutdated when `packages` do not have what one of `requirements` asks for on `target`."""
    from packaging.requirements import InvalidRequirement, Requirement

    versions = {normal_name(str(item.get("name"))): item.get("version") for item in packages}
    for text in requirements:
        try:
            item = Requirement(text)
        except InvalidRequirement:
            continue  # who reads pyproject.toml says so
        if item.marker is not None and not item.marker.evaluate({**target.environment(), "extra": ""}):
            continue
        name = normal_name(item.name)
        version = versions.get(name, "")
        fits = name in versions and (
            version is None or not item.specifier or item.specifier.contains(str(version), prereleases=True)
        )
        if not fits:
            raise LockOutdated(
                f"'{path.name}' does not belong to pyproject.toml any more: '{name}' differs", hint=AGAIN
            )


def _check_python(wanted: object, what: str, target: Target) -> None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not wanted:
        return
    try:
        fits = SpecifierSet(str(wanted)).contains(
            target.environment()["python_full_version"], prereleases=True
        )
    except InvalidSpecifier as error:
        raise ProjectError(f"the requires-python of {what} is not understood", hint=AGAIN) from error
    if not fits:
        raise ResolutionError(
            f"{what} is made for Python {str(wanted)[:60]}, and the base has {target.minor}",
            hint="choose another `python`, or make the lock file for this one",
        )


def _holds(marker: object, target: Target, active: dict[str, set[str]], file: str) -> bool:
    if not marker:
        return True
    from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

    def known(match: re.Match[str]) -> str:
        named = normal_name(match[1] if match[1] is not None else match[2])
        holds = (named in active[match[4]]) != bool(match[3])
        return "python_version != '0'" if holds else "python_version == '0'"

    try:
        return Marker(_WITHIN.sub(known, str(marker))).evaluate({**target.environment(), "extra": ""})
    except (InvalidMarker, UndefinedEnvironmentName, RecursionError) as error:
        raise ProjectError(f"a marker in '{file}' is not understood", hint=AGAIN) from error


def _is_root(package: dict[str, Any], path: Path, root: Path) -> bool:
    directory = package.get("directory")
    if not isinstance(directory, dict):
        return False
    try:
        return os.path.realpath(path.parent / str(directory.get("path", ""))) == os.path.realpath(root)
    except ValueError:  # a null character
        return False


def _absolute(package: dict[str, Any], folder: Path) -> dict[str, Any]:
    made = dict(package)
    directory = made.get("directory")
    if isinstance(directory, dict):
        made["directory"] = {**directory, "path": os.path.normpath(folder / str(directory.get("path", "")))}
    for key in ("wheels", "archive", "sdist"):
        value = made.get(key)
        if isinstance(value, list):
            made[key] = [_place(item, folder) for item in _tables(value)]
        elif isinstance(value, dict):
            made[key] = _place(value, folder)
        elif key in made:
            del made[key]
    return made


def _place(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    if "url" in entry or "path" not in entry:
        return entry
    return {**entry, "path": os.path.normpath(folder / str(entry["path"]))}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _tables(value: object) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]
