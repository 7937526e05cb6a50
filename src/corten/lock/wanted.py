"""Project → what is asked of the resolver, and over which indexes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corten.errors import HashMismatch, ProjectError
from corten.lock.inputs import (
    boundary_of,
    implied_requirements,
    inputs_extras,
    pyproject_requirements,
    read_pyproject,
    requirements_of,
)
from corten.lock.pylock import addresses
from corten.lock.uvlock import wheel_addresses
from corten.packages.compatibility import Target
from corten.packages.files import Wheel
from corten.packages.indexes import Indexes, read_indexes
from corten.packages.requirements import (
    Requirement,
    Requirements,
    normal_name,
    parse_requirement,
)
from corten.packages.uv import Request
from corten.packages.uv_lines import bare_line, local_wheel, refuse_uninstallable
from corten.packages.wheels import Wanted
from corten.project.model import Project
from corten.values import replace


def resolving_indexes(project: Project, environment: Mapping[str, str] | None = None) -> Indexes:
    """The indexes that the project's dependencies are resolved over: the machine's, and those that the project names. Raises
    NotConfirmed for what only the user can name."""
    indexes = read_indexes(project.root, environment)
    if project.dependencies.kind == "requirements":
        return indexes.with_requirements(requirements_of(project, indexes.environment))
    if project.dependencies.kind == "pyproject":
        direct = [
            item for entries in _chosen_sources(project, indexes.environment).values() for item in entries
        ]
        indexes = indexes.with_requirements(pyproject_requirements(project, indexes.environment))
        return indexes.with_direct(item.get("url") or item["path"] for item in direct if "index" not in item)
    return indexes


def fetching_indexes(project: Project, environment: Mapping[str, str] | None = None) -> Indexes:
    """Every place that may have a file of the project's lock: those it was resolved over, the machine's own default (the
    model server comes from there), and the single addresses that its inputs name. Raises NotConfirmed."""
    machine = read_indexes(project.root, environment)
    merged = resolving_indexes(project, environment)
    if project.dependencies.kind in {"uv.lock", "pylock"}:
        for path in project.dependencies.files:
            boundary_of(project, merged.environment).permitted(path, "the project")
            named = wheel_addresses(path) if project.dependencies.kind == "uv.lock" else addresses(path)
            merged = merged.with_direct(named)
    extra = merged.extra
    if merged.default is not None and merged.default != machine.default:
        extra = (replace(merged.default, default=False), *extra)
    return replace(merged, default=machine.default, extra=extra, no_index=machine.no_index)


def wanted_wheels(
    project: Project,
    target: Target,
    environment: Mapping[str, str] | None = None,
    line: Callable[[Requirement], str] = bare_line,
) -> Wanted:
    """What the project's requirements files or pyproject.toml ask for on `target`, as lines for uv. `line` makes them; an empty one is left
    out. Raises ProjectError for a
    file that cannot be read, ResolutionError for what Corten cannot install."""
    dependencies = project.dependencies
    added = implied_requirements(project)
    if dependencies.kind == "requirements":
        read = requirements_of(project, environment)
        # What has no hashes cannot stand beside what has: it is resolved apart.
        added = () if read.hashed else added
        lines = _lines((*read.requirements, *added), line)
        return Wanted(
            Request(target, lines=lines, constraints=tuple(map(bare_line, read.constraints))),
            gpu=project.gpu,
            allowed=_allowed(read),
            hashed=read.hashed,
            named=_named((*read.requirements, *added), line),
            places={item.name: item.where for item in read.requirements if item.name},
        )
    if dependencies.kind == "pyproject":
        read = pyproject_requirements(project, environment)
        requirements = (*read.requirements, *added)
        lines = _lines(requirements, line)
        sources = _chosen_sources(project, environment)
        return Wanted(
            Request(target, lines=lines, sources=sources),
            gpu=project.gpu,
            named=_named(requirements, line),
            scattered=bool(sources),
            places={item.name: item.where for item in requirements if item.name},
        )
    lines = tuple(map(bare_line, added))
    return Wanted(Request(target, lines=lines), gpu=project.gpu, named=_named(added))


def wanted_beside(project: Project, target: Target, own: Sequence[Wheel]) -> Wanted:
    """The same for what Corten adds to packages that are pinned already (`own`): they stay as they are."""
    added = implied_requirements(project)
    pinned = tuple(f"{wheel.name}=={wheel.version}" for wheel in own)
    request = Request(target, lines=tuple(map(bare_line, added)), constraints=pinned)
    return Wanted(request, gpu=project.gpu, named=_named(added))


def refuse_links_out(project: Project, environment: Mapping[str, str] | None = None) -> None:
    """Raises NotConfirmed for a file with dependencies that is, or leads, outside the project."""
    boundary = boundary_of(project, environment)
    for path in project.dependencies.files:
        boundary.permitted(path, "the project")


def _chosen_sources(
    project: Project, environment: Mapping[str, str] | None = None
) -> dict[str, tuple[dict[str, str], ...]]:
    """The entries of `[tool.uv.sources]` for what the project requires, each written anew: an index, a wheel's address or a
    wheel's path, with its marker. Raises ResolutionError for what is not a wheel, ProjectError for what is not understood."""
    table = (read_pyproject(project.root).get("tool") or {}).get("uv") or {}
    names = {
        item.name for item in pyproject_requirements(project, environment).requirements if item.kind == "name"
    }
    extras = {normal_name(name) for name in inputs_extras(project)}
    groups = {normal_name(name) for name in project.dependencies.groups}
    found: dict[str, tuple[dict[str, str], ...]] = {}
    for written, value in sorted((table.get("sources") or {}).items()):
        name = normal_name(written)
        if name not in names:
            continue
        entries = value if isinstance(value, list) else [value]
        kept = [
            _source(name, item, project.root)
            for item in entries
            if isinstance(item, dict)
            and ("extra" not in item or normal_name(str(item["extra"])) in extras)
            and ("group" not in item or normal_name(str(item["group"])) in groups)
        ]
        if kept:
            found[name] = tuple(kept)
    return found


def _source(name: str, item: Mapping[str, Any], root: Path) -> dict[str, str]:
    where = "[tool.uv.sources]"
    if "git" in item:
        refuse_uninstallable([Requirement(name, "vcs", name, where=where)])
    made: dict[str, str] = {}
    place = item.get("path") or item.get("url")
    if place is not None:
        if not str(place).split("#")[0].endswith(".whl"):
            refuse_uninstallable([Requirement(name, "path", name, where=where)])
        text = str(place) if "://" in str(place) else (root / str(place)).absolute().as_uri()
        wheel = parse_requirement(f"{name} @ {text}", where, root)
        bare_line(wheel)
        path = local_wheel(wheel)
        made = {"path": os.path.normpath(path)} if path is not None else {"url": text}
    elif isinstance(item.get("index"), str):
        made = {"index": item["index"]}
    if not made:
        raise ProjectError(
            f"the source of '{name}' in {where} is not understood", hint="name an index or a wheel"
        )
    if "marker" in item:
        from packaging.markers import InvalidMarker, Marker

        try:
            made["marker"] = str(Marker(str(item["marker"])))
        except InvalidMarker as error:
            raise ProjectError(f"the marker of '{name}' in {where} is not understood") from error
    return made


def _allowed(read: Requirements) -> dict[str, tuple[str, ...]]:
    """Allowed hashes by name: those of requirements that constraints allow too. A wheel that is named by its address is named by its file
    there."""
    required, constrained = _hashes(read.requirements), _hashes(read.constraints)
    found: dict[str, tuple[str, ...]] = {}
    for name in required.keys() | constrained.keys():
        one, other = required.get(name), constrained.get(name)
        both = one & other if one and other else one or other or set()
        if not both:
            raise HashMismatch(
                f"no hash of '{name}' is allowed by both the requirements and the constraints",
                hint="recreate the hashes in both",
            )
        found[name] = tuple(sorted(both))
    return found


def _hashes(items: Sequence[Requirement]) -> dict[str, set[str]]:
    allowed: dict[str, set[str]] = {}
    for item in items:
        name = item.name
        if not name and item.location:
            name = normal_name(item.location.rsplit("/", 1)[-1].split("-")[0])
        hashes = set(item.hashes)
        if item.location and (match := re.search(r"#(?:.*&)?sha256=([0-9a-f]{64})", item.location)):
            hashes.add(match[1])
        if hashes:
            allowed.setdefault(name, set()).update(hashes)
    return allowed


def _lines(requirements: Iterable[Requirement], line: Callable[[Requirement], str]) -> tuple[str, ...]:
    return tuple(made for item in requirements if (made := line(item)))


def _named(
    requirements: tuple[Requirement, ...], line: Callable[[Requirement], str] = bare_line
) -> dict[str, tuple[str, ...]]:
    """The lines for uv by the names they have."""
    found: dict[str, tuple[str, ...]] = {}
    for item in requirements:
        made = line(item) if item.name else ""
        if made:
            found[item.name] = (*found.get(item.name, ()), made)
    return found
