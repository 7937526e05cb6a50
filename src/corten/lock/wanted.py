"""Project → what is asked of the resolver, and over which indexes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corten.errors import ResolutionError
from corten.lock.inputs import inputs, read_pyproject
from corten.lock.uvlock import wheel_addresses
from corten.packages.compatibility import Target
from corten.packages.credentials import split_login
from corten.packages.indexes import Indexes, read_indexes
from corten.packages.requirements import (
    Requirement,
    Requirements,
    normal_name,
    parse_requirement,
    read_requirements,
)
from corten.packages.uv import Request
from corten.packages.wheels import Wanted, refuse_uninstallable
from corten.project.model import Project
from corten.values import replace


def resolving_indexes(project: Project, environment: Mapping[str, str] | None = None) -> Indexes:
    """The indexes that the project's dependencies are resolved over: the machine's, and those in its requirements files."""
    indexes = read_indexes(project.root, environment)
    if project.dependencies.kind == "requirements":
        return indexes.with_requirements(read_requirements(project.dependencies.files))
    return indexes


def fetching_indexes(project: Project, environment: Mapping[str, str] | None = None) -> Indexes:
    """Every place that may have a file of the project's lock: those it was resolved over, the machine's own default (the
    model server comes from there), and the single addresses that its inputs name."""
    machine = read_indexes(project.root, environment)
    merged = resolving_indexes(project, environment)
    direct = list(merged.direct)
    logins = merged.logins
    if project.dependencies.kind == "uv.lock":
        for path in project.dependencies.files:
            direct += wheel_addresses(path)
    elif project.dependencies.kind == "pyproject":
        for item in _pyproject_requirements(project):
            if item.kind == "wheel" and item.location is not None:
                bare, login = split_login(item.location.split("#")[0])
                direct.append(bare if "://" in bare else Path(bare).absolute().as_uri())
                logins = logins.adding(login)
    extra = merged.extra
    if merged.default is not None and merged.default != machine.default:
        extra = (replace(merged.default, default=False), *extra)
    return replace(
        merged,
        default=machine.default,
        extra=extra,
        direct=tuple(dict.fromkeys(direct)),
        no_index=machine.no_index,
        logins=logins,
    )


def wanted_wheels(project: Project, target: Target) -> Wanted:
    """What the project's requirements files or pyproject.toml ask for on `target`. Raises ProjectError for a file that
    cannot be read, ResolutionError for what Corten cannot install."""
    dependencies = project.dependencies
    if dependencies.kind == "requirements":
        read = read_requirements(dependencies.files)
        refuse_uninstallable(read.requirements)
        return Wanted(
            Request(target, files=dependencies.files),
            gpu=project.gpu,
            allowed=_allowed(read),
            hashed=read.hashed,
            named=_named(read.requirements),
        )
    if dependencies.kind == "pyproject":
        requirements = _pyproject_requirements(project)
        refuse_uninstallable(requirements)
        sources = _sources(project.root)
        named = _named(requirements)
        for name in sorted(named.keys() & sources.keys()):
            _refuse_source(name, sources[name])
        return Wanted(
            Request(
                target,
                files=(project.root / "pyproject.toml",),
                extras=dependencies.extras,
                groups=dependencies.groups,
            ),
            gpu=project.gpu,
            named=named,
            scattered=bool(sources),
        )
    return Wanted(Request(target), gpu=project.gpu)


def _pyproject_requirements(project: Project) -> tuple[Requirement, ...]:
    found = []
    for text in inputs(project)["requirements"]:
        item = parse_requirement(text, "pyproject.toml", project.root)
        if not (
            item.kind == "name" and re.match(r"[^\s;]+\[", text) and item.name == normal_name(project.name)
        ):
            found.append(item)
    return tuple(found)


def _sources(root: Path) -> dict[str, list[dict[str, Any]]]:
    """`[tool.uv.sources]` by normal name."""
    uv = (read_pyproject(root).get("tool") or {}).get("uv") or {}
    found: dict[str, list[dict[str, Any]]] = {}
    for name, value in (uv.get("sources") or {}).items():
        items = value if isinstance(value, list) else [value]
        found[normal_name(name)] = [item for item in items if isinstance(item, dict)]
    return found


def _refuse_source(name: str, items: list[dict[str, Any]]) -> None:
    for item in items:
        if "git" in item:
            refuse_uninstallable([Requirement(name, "vcs", name, where="[tool.uv.sources]")])
        if item.get("workspace"):
            raise ResolutionError(
                f"'{name}' is a package of the same workspace, which Corten does not build yet",
                hint=f"make a wheel of it ('uv build --package {name} --wheel') and name its folder with find-links",
            )
        place = str(item.get("path") or item.get("url") or "x.whl")
        if not place.split("#")[0].endswith(".whl"):
            refuse_uninstallable([Requirement(name, "path", name, where="[tool.uv.sources]")])


def _allowed(read: Requirements) -> dict[str, tuple[str, ...]]:
    """Allowed hashes by name. A wheel that is named by its address is named by its file there."""
    allowed: dict[str, set[str]] = {}
    for item in (*read.requirements, *read.constraints):
        name = item.name
        if not name and item.location:
            name = normal_name(item.location.rsplit("/", 1)[-1].split("-")[0])
        hashes = set(item.hashes)
        if item.location and (match := re.search(r"#(?:.*&)?sha256=([0-9a-f]{64})", item.location)):
            hashes.add(match[1])
        if hashes:
            allowed.setdefault(name, set()).update(hashes)
    return {name: tuple(sorted(hashes)) for name, hashes in allowed.items()}


def _named(requirements: tuple[Requirement, ...]) -> dict[str, tuple[str, ...]]:
    """The requirements by the names they have."""
    found: dict[str, tuple[str, ...]] = {}
    for item in requirements:
        if item.name:
            found[item.name] = (*found.get(item.name, ()), item.text)
    return found
