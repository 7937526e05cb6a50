"""Requirements that lead to a folder of the project: `./libs/x`, `-e ./libs/x[extra]`, `x @ file:…`, sources of uv, members of a workspace.

Such a package is used where it lies. In its place stand its own requirements, and those of the folders that they lead to.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from corten.errors import ProjectError, ResolutionError
from corten.lazy import regex
from corten.packages.compatibility import Target
from corten.packages.requirements import Local, Requirement, Requirements, normal_name, parse_requirement
from corten.packages.trust import Boundary, within
from corten.project.local_packages import LocalPackage, NeedsBuild, describe, members, read_table
from corten.values import dataclass, replace

_WITH_EXTRAS = regex(r"([^\[\]]*)\[([^\[\]]*)\]")
_MOST = 500
_FARTHEST = 6


def in_folders(
    root: Path, packages: Iterable[dict[str, Any]]
) -> tuple[list[dict[str, Any]], tuple[Local, ...]]:
    """The packages of another tool's lock without those in folders of the project at `root`, and these: members of a workspace, sources
    with a path. What they need is in that lock. Raises ResolutionError."""
    others: list[dict[str, Any]] = []
    found: list[Local] = []
    inside = os.path.realpath(root)
    for package in packages:
        source = package.get("directory")
        if not isinstance(source, dict):
            others.append(package)
            continue
        name = normal_name(str(package.get("name")))
        if "virtual" in source:  # a member without a package: only what it needs counts
            continue
        given = [
            source.get(key) for key in ("path", "editable", "directory")
        ]  # pylock.toml has `editable = true`
        place = next((item for item in given if isinstance(item, str)), ".")
        real = os.path.realpath(root / place) if "\0" not in place else ""
        if not within(real, inside) or not os.path.isdir(real):
            others.append({**package, "directory": {"path": real or place}})
        elif real != inside:
            package_there = _used(root, os.path.relpath(real, inside), name, "")
            if package_there is None:
                others.append({**package, "directory": {"path": real}})
            else:
                found.append(Local(package_there.path, name))
    return others, tuple(sorted(found, key=lambda item: item.path))


def _used(root: Path, path: str, name: str, where: str) -> LocalPackage | None:
    """The package in the folder `path`, which is used as it lies; None where it must be built. Raises ProjectError."""
    package = describe(root, path)
    if isinstance(package, NeedsBuild):
        return None
    if name and name != package.name:
        raise ProjectError(
            f"{where}'{name}' leads to '{path}', which is '{package.name}'", hint="correct the name"
        )
    return package


@dataclass(frozen=True, slots=True)
class Folder:
    """A requirement's folder: its place on this machine, the extras that are asked for, and the marker."""

    place: str
    extras: tuple[str, ...] = ()
    marker: str = ""


def expand(
    root: Path, read: Requirements, boundary: Boundary, pyproject: Mapping[str, Any] | None = None
) -> Requirements:
    """`read` with the packages of the project's own folders taken out of its requirements and what these require put in. Sources of
    uv in `pyproject`, where it is given, say where packages lie. Raises ProjectError, ResolutionError, and NotConfirmed for a
    folder outside the project."""
    sources = _sources(pyproject or {})
    walk = _Walk(root, boundary, pyproject or {})
    items = [kept for item in read.requirements for kept in walk.take(item, sources, root)]
    names = {item.name for item in walk.found.values()}
    kept = tuple(item for item in items if item.kind != "name" or item.name not in names)
    return replace(
        read, requirements=kept, local=tuple(sorted(walk.found.values(), key=lambda item: item.path))
    )


def on_target(read: Iterable[Local], target: Target) -> tuple[Local, ...]:
    """Those that are required on `target`."""
    return tuple(item for item in read if not item.marker or holds(item.marker, target))


class _Walk:
    """From requirement to requirement. `found` are the packages by their folders."""

    def __init__(self, root: Path, boundary: Boundary, pyproject: Mapping[str, Any]) -> None:
        self._root = root
        self._boundary = boundary
        self._pyproject = pyproject
        self._members: dict[str, str] | None = None
        self._done: set[tuple[str, tuple[str, ...], str]] = set()
        self.found: dict[str, Local] = {}

    def take(self, item: Requirement, sources: Mapping[str, Any], base: Path) -> list[Requirement]:
        """What stands in the place of `item`, which is written in the folder `base` with uv's `sources` there."""
        item = self._by_source(item, sources, base)
        folder = _folder(item, base)
        if folder is None:
            return [item]
        real = self._boundary.permitted(Path(folder.place), item.where or "the project")
        inside = os.path.realpath(self._root)
        if not within(str(real), inside) or not real.is_dir():
            return [item]
        path = os.path.relpath(real, inside)
        key = (path, folder.extras, folder.marker)
        if key in self._done:
            return []
        self._done.add(key)
        if path == ".":  # the project itself: its code is in the image, and what it requires counts
            itself = describe(self._root, "")
            return self._required(itself, folder, real) if isinstance(itself, LocalPackage) else []
        if len(self._done) > _MOST:
            raise ProjectError(f"more than {_MOST} folders require each other", hint="shorten the chain")
        package = _used(self._root, path, item.name, _at(item))
        if package is None:
            return [item]  # it must be built
        known = self.found.get(path)
        marker = folder.marker if known is None or known.marker == folder.marker else ""
        self.found[path] = Local(path, package.name, marker)
        return self._required(package, folder, real)

    def _required(self, package: LocalPackage, folder: Folder, real: Path) -> list[Requirement]:
        optional = dict(package.optional)
        lines = list(package.requires)
        for extra in folder.extras:
            if extra not in optional:
                there = ", ".join(f"'{name}'" for name in optional) or "none"
                raise ProjectError(f"'{package.path}' has no extra '{extra}'", hint=f"there: {there}")
            lines += optional[extra]
        found: list[Requirement] = []
        for line in dict.fromkeys(lines):
            item = parse_requirement(_marked(line, folder.marker), package.path, real)
            found += self.take(item, package.sources or {}, real)
        return found

    def _by_source(self, item: Requirement, sources: Mapping[str, Any], base: Path) -> Requirement:
        """`item` with the place that uv's sources have for it. Indexes, and sources for a marker, an extra or a group, are not places: those
        of the project are read with its indexes. Raises ResolutionError for them in other folders."""
        if item.kind != "name":
            return item
        entries = next((value for name, value in sources.items() if normal_name(name) == item.name), None)
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, dict):
                continue
            place = None if {"marker", "extra", "group"} & entry.keys() else self._place(item, entry, base)
            if place is not None:
                if place.startswith("/"):  # as it is on every machine
                    place = os.path.join(".", os.path.relpath(place, base))
                inside = ",".join(_extras(item.written or item.text))
                named = f"{item.name}[{inside}]" if inside else item.name
                return parse_requirement(_marked(f"{named} @ {place}", marker_of(item)), item.where, base)
            if base != self._root:
                raise ResolutionError(
                    f"{_at(item)}the source of '{item.name}' has a form that Corten reads only in the project's own pyproject.toml",
                    hint="write it in [tool.uv.sources] there, and require the package there too",
                )
        return item

    def _place(self, item: Requirement, entry: Mapping[str, Any], base: Path) -> str | None:
        if entry.get("workspace") is True:
            return self._member(item)
        subdirectory = str(entry.get("subdirectory") or "")
        if isinstance(entry.get("git"), str):
            ref = next((str(entry[key]) for key in ("rev", "tag", "branch") if entry.get(key)), "")
            url = entry["git"].removeprefix("git+")
            return f"git+{url}{'@' + ref if ref else ''}{'#subdirectory=' + subdirectory if subdirectory else ''}"
        for key in ("path", "url"):
            place = entry.get(key)
            if isinstance(place, str) and not place.partition("#")[0].endswith(".whl"):
                if key == "path" and "://" not in place:
                    place = os.path.normpath(base / place)
                return place + (f"#subdirectory={subdirectory}" if subdirectory else "")
        return None

    def _member(self, item: Requirement) -> str:
        """The folder of a member of the workspace that the project is, or that it belongs to. Raises NotConfirmed for one that lies above it."""
        if self._members is None:
            self._members = {
                name: str(self._root / path) for name, path in members(self._root, self._pyproject).items()
            }
        if item.name not in self._members:
            above = self._workspace_above()
            if above is not None:
                document = read_table(above)
                self._members |= {name: str(above / path) for name, path in members(above, document).items()}
        if item.name not in self._members:
            raise ProjectError(
                f"{_at(item)}'{item.name}' must be a member of the workspace, but the project's [tool.uv.workspace] has no such member",
                hint="give Corten the folder that holds the whole workspace",
            )
        return self._members[item.name]

    def _workspace_above(self) -> Path | None:
        """The nearest folder above the project with a pyproject.toml. Raises NotConfirmed where the user has not said that it may be read."""
        for folder in self._root.parents[:_FARTHEST]:
            if (folder / "pyproject.toml").is_file():
                return self._boundary.permitted(folder, "[tool.uv.sources]")
        return None


def _folder(item: Requirement, base: Path) -> Folder | None:
    """The folder that `item`, which is written in the folder `base`, leads to; None where it leads elsewhere."""
    if item.kind != "path" or not item.location:
        return None
    location = item.location.partition("#")[0]
    extras = _extras(item.written.partition("@")[0]) if item.name else ()
    match = _WITH_EXTRAS.fullmatch(location.rstrip())
    if match is not None:
        location, extras = match[1], _split(match[2])
    if location.lower().startswith("file:"):
        location = urllib.parse.unquote(urllib.parse.urlsplit(location).path)
    if not location.startswith("/"):
        location = os.path.normpath(base / location)
    return Folder(location, extras, marker_of(item))


def local_place(location: str) -> Path:
    """The path of a folder or an archive of this machine, as a requirement writes it."""
    if location.lower().startswith("file:"):
        return Path(urllib.parse.unquote(urllib.parse.urlsplit(location).path))
    match = _WITH_EXTRAS.fullmatch(location.rstrip())
    return Path(match[1] if match is not None else location)


def _sources(pyproject: Mapping[str, Any]) -> Mapping[str, Any]:
    tool = pyproject.get("tool")
    uv = tool.get("uv") if isinstance(tool, dict) else None
    found = uv.get("sources") if isinstance(uv, dict) else None
    return found if isinstance(found, dict) else {}


def _extras(text: str) -> tuple[str, ...]:
    head = text.partition(";")[0]
    match = _WITH_EXTRAS.match(head)
    return _split(match[2]) if match is not None else ()


def _split(text: str) -> tuple[str, ...]:
    return tuple(sorted({normal_name(item.strip()) for item in text.split(",") if item.strip()}))


def marker_of(item: Requirement) -> str:
    """The marker of a requirement; empty where it has none."""
    _, separator, marker = item.text.partition(" ; ")
    return marker.partition(" sha256:")[0].strip() if separator else ""


def _marked(line: str, marker: str) -> str:
    """`line`, which holds under `marker` alone."""
    if not marker:
        return line
    before, separator, own = line.partition(";")
    both = f"({own.strip()}) and ({marker})" if separator and own.strip() else marker
    return f"{before.rstrip()} ; {both}"


def holds(marker: str, target: Target, extra: str = "") -> bool:
    """Whether a marker holds on `target`. Raises ProjectError."""
    from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

    try:
        return Marker(marker).evaluate({**target.environment(), "extra": extra})
    except (InvalidMarker, UndefinedEnvironmentName, RecursionError) as error:
        raise ProjectError(f"the marker {marker[:100]!r} is not understood", hint="correct it") from error


def _at(item: Requirement) -> str:
    return f"{item.where}: " if item.where else ""
