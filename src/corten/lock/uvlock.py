"""uv.lock as an input: whether it still belongs to pyproject.toml, which packages it has for a target, and which addresses it
names. It is read here and nowhere else; uv itself sees nothing of it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corten.errors import LockOutdated, ProjectError
from corten.lazy import regex
from corten.packages.compatibility import Target
from corten.packages.requirements import normal_name
from corten.project.regular import open_regular

_CONFLICT = regex(r"extra\s*(==|!=)\s*'((?:extra|group|project)-[0-9]+-[^']*)'")
_URL = regex(r'url = "([^"\\]+\.whl)"')


def wheel_addresses(path: Path) -> tuple[str, ...]:
    """The address of every wheel in a uv.lock."""
    try:
        return tuple(dict.fromkeys(_URL.findall(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError):
        return ()


def read_uv_lock(path: Path) -> dict[str, Any]:
    """The document. Raises ProjectError when it cannot be read, or is of a version that is not known."""
    from corten.toml import parse

    try:
        with open_regular(path) as file:
            document = parse(file.read().decode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ProjectError(f"'{path.name}' cannot be read: {reason}", hint="run 'uv lock'") from error
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"'{path.name}' cannot be read: it is not TOML", hint="run 'uv lock'") from error
    if document.get("version") != 1:
        raise ProjectError(
            f"'{path.name}' has a format that Corten does not know", hint="run 'uv lock' with uv 0.5 or newer"
        )
    return document


def locked_packages(
    document: dict[str, Any],
    name: str,
    target: Target,
    extras: Sequence[str],
    groups: Sequence[str],
    root: Path,
) -> list[dict[str, Any]]:
    """The packages that a uv.lock has on `target` for the project `name` at `root` with these extras and groups, in the form of
    pylock.toml's `packages` (PEP 751). The project itself is not among them. Raises ProjectError."""
    own = _own(document, normal_name(name))
    if own is None:
        own = _of_members(document)
    if own is None:
        raise LockOutdated(f"'uv.lock' has no package '{normal_name(name)}'", hint="run 'uv lock'")
    walk = _Walk(
        document, target, own, [normal_name(item) for item in extras], [normal_name(item) for item in groups]
    )
    return [_as_pylock(package, root) for package in walk.reached() if package is not own]


def _of_members(document: dict[str, Any]) -> dict[str, Any] | None:
    """What a workspace without a package of its own installs: all of its members, as uv does. None where the lock has a package of the folder
    itself."""
    manifest = document.get("manifest")
    names = manifest.get("members") if isinstance(manifest, dict) else None
    sources = [package.get("source") for package in _tables(document.get("package"))]
    if not isinstance(names, list) or any(
        isinstance(source, dict) and "." in source.values() for source in sources
    ):
        return None
    return {"name": "", "dependencies": [{"name": str(name)} for name in names]}


def every_package(path: Path, root: Path) -> list[dict[str, Any]]:
    """Every package of the uv.lock at `path` in the form of pylock.toml's, for whatever platform. Raises ProjectError."""
    return [_as_pylock(package, root) for package in _tables(read_uv_lock(path).get("package"))]


class _Walk:
    """From the project along the dependencies whose markers hold."""

    def __init__(
        self,
        document: dict[str, Any],
        target: Target,
        own: dict[str, Any],
        extras: list[str],
        groups: list[str],
    ) -> None:
        self._own, self._extras, self._groups = own, extras, groups
        self._environment = {**target.environment(), "extra": ""}
        self._by_name: dict[str, list[dict[str, Any]]] = {}
        for package in _tables(document.get("package")):
            self._by_name.setdefault(str(package.get("name")), []).append(package)
        name = str(own.get("name"))
        # How uv writes that extras and groups exclude each other: `extra == 'extra-3-app-cpu'`.
        self._active = {f"extra-{len(name)}-{name}-{item}" for item in extras}
        self._active |= {f"group-{len(name)}-{name}-{item}" for item in groups}

    def reached(self) -> list[dict[str, Any]]:
        """Every package, by name and version."""
        found: dict[int, dict[str, Any]] = {}
        edges = self._edges(self._own, "dependencies")
        for extra in self._extras:
            edges += self._edges(self._own, "optional-dependencies", extra)
        for group in self._groups:
            edges += self._edges(self._own, "dev-dependencies", group)
        seen: set[tuple[int, str]] = set()
        while edges:
            edge = edges.pop()
            if not self._holds(edge.get("marker")):
                continue
            package = self._package(edge)
            found[id(package)] = package
            for extra in ("", *(str(item) for item in edge.get("extra", ()))):
                if (id(package), extra) not in seen:
                    seen.add((id(package), extra))
                    edges += (
                        self._edges(package, "optional-dependencies", extra)
                        if extra
                        else self._edges(package, "dependencies")
                    )
        return sorted(found.values(), key=lambda item: (str(item.get("name")), str(item.get("version"))))

    def _edges(self, package: dict[str, Any], table: str, key: str | None = None) -> list[dict[str, Any]]:
        value = package.get(table)
        if key is not None:
            value = value.get(key) if isinstance(value, dict) else None
        return _tables(value)

    def _package(self, edge: dict[str, Any]) -> dict[str, Any]:
        found = [
            package
            for package in self._by_name.get(str(edge.get("name")), ())
            if all(key not in edge or package.get(key) == edge[key] for key in ("version", "source"))
        ]
        if len(found) != 1:
            raise ProjectError(
                f"'uv.lock' is damaged: it does not say which '{edge.get('name')}' is meant",
                hint="run 'uv lock'",
            )
        return found[0]

    def _holds(self, marker: object) -> bool:
        if not marker:
            return True
        from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

        def known(match: re.Match[str]) -> str:
            holds = (match[2] in self._active) == (match[1] == "==")
            return "python_version != '0'" if holds else "python_version == '0'"

        text = _CONFLICT.sub(known, str(marker))
        try:
            return Marker(text).evaluate(self._environment)
        except (InvalidMarker, UndefinedEnvironmentName) as error:
            raise ProjectError("a marker in 'uv.lock' is not understood", hint="update Corten") from error


def _as_pylock(package: dict[str, Any], root: Path) -> dict[str, Any]:
    made: dict[str, Any] = {"name": package.get("name"), "version": str(package.get("version", ""))}
    source = package.get("source")
    source = source if isinstance(source, dict) else {}
    wheels = _tables(package.get("wheels"))
    if "git" in source:
        return {**made, "vcs": source}
    if {"directory", "editable", "virtual"} & source.keys():
        return {**made, "directory": source}
    if "registry" in source:
        folder = str(source["registry"])
        entries = [_file(wheel, root / (folder if "://" not in folder else "")) for wheel in wheels]
        if isinstance(package.get("sdist"), dict):
            made["sdist"] = _file(package["sdist"], root / (folder if "://" not in folder else ""))
        return {**made, "wheels": entries}
    sdist = package.get("sdist")
    given = wheels or ([sdist] if isinstance(sdist, dict) else [])
    hashes = _file(given[0], root)["hashes"] if given else {}
    if "url" in source:
        return {**made, "archive": {"url": str(source["url"]), "hashes": hashes}}
    return {**made, "archive": {"path": str(root / str(source.get("path", ""))), "hashes": hashes}}


def _file(wheel: dict[str, Any], folder: Path) -> dict[str, Any]:
    kind, _, digest = str(wheel.get("hash", "")).partition(":")
    made: dict[str, Any] = {"hashes": {kind: digest}, "size": wheel.get("size")}
    if "url" in wheel:
        return {**made, "url": str(wheel["url"])}
    return {**made, "path": os.path.normpath(folder / str(wheel.get("path") or wheel.get("filename") or ""))}


def _tables(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def check_current(path: Path, pyproject: dict[str, Any]) -> None:
    """Raises LockOutdated, naming one difference, when uv.lock was made from other dependencies than `pyproject` has now;
    ProjectError when it cannot be read. What cannot be compared (dynamic dependencies) counts as current."""
    document = read_uv_lock(path)
    project = pyproject.get("project")
    if not isinstance(project, dict) or "dependencies" in project.get("dynamic", ()):
        return
    name = normal_name(str(project.get("name", "")))
    package = _own(document, name)
    if package is None:
        raise LockOutdated(f"'{path.name}' has no package '{name}'", hint="run 'uv lock'")
    metadata = package.get("metadata")
    locked = _locked(metadata if isinstance(metadata, dict) else {})
    written = _written(project, pyproject.get("dependency-groups"))
    for key in sorted(written.keys() | locked.keys()):
        left, right = written.get(key), locked.get(key)
        if left is None or right is None or not _agree(left, right):
            where = f" of '{key[0]}'" if key[0] else ""
            raise LockOutdated(
                f"'{path.name}' does not belong to pyproject.toml any more: '{key[1]}'{where} differs",
                hint="run 'uv lock'",
            )


def _own(document: dict[str, Any], name: str) -> dict[str, Any] | None:
    packages = document.get("package")
    for package in packages if isinstance(packages, list) else ():
        if isinstance(package, dict) and package.get("name") == name:
            source = package.get("source")
            if isinstance(source, dict) and {"virtual", "editable", "directory"} & source.keys():
                return package
    return None


Parts = dict[tuple[str, str], set[str | None]]
"""Specifiers by (extra or group, name); None where there are none or something else decides."""


def _locked(metadata: dict[str, Any]) -> Parts:
    parts: Parts = {}
    for item in metadata.get("requires-dist", ()):
        match = re.search(r"extra == '([^']+)'", str(item.get("marker", "")))
        key = (normal_name(match[1]) if match else "", str(item.get("name")))
        parts.setdefault(key, set()).add(_specifier(item.get("specifier")))
    groups = metadata.get("requires-dev")
    for group, items in groups.items() if isinstance(groups, dict) else ():
        for item in items:
            key = (normal_name(group), str(item.get("name")))
            parts.setdefault(key, set()).add(_specifier(item.get("specifier")))
    return parts


def _written(project: dict[str, Any], groups: object) -> Parts:
    parts: Parts = {}
    tables: dict[str, list[Any]] = {"": project.get("dependencies") or []}
    for extra, items in (project.get("optional-dependencies") or {}).items():
        tables[normal_name(extra)] = items
    groups = {normal_name(name): items for name, items in groups.items()} if isinstance(groups, dict) else {}
    for group in groups:
        tables.setdefault(group, []).extend(_flattened(group, groups, set()))
    for table, items in tables.items():
        for text in items:
            _add(parts, table, str(text))
    return parts


def _flattened(group: str, groups: dict[str, Any], seen: set[str]) -> list[str]:
    if group in seen:
        return []
    found: list[str] = []
    for item in groups.get(group) or ():
        if isinstance(item, dict):
            found += _flattened(normal_name(str(item.get("include-group", ""))), groups, seen | {group})
        else:
            found.append(str(item))
    return found


def _add(parts: Parts, table: str, text: str) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise ProjectError(f"'{text[:100]}' in pyproject.toml is not a requirement") from error
    specifier = None if requirement.url else _specifier(str(requirement.specifier))
    parts.setdefault((table, normal_name(requirement.name)), set()).add(specifier)


def _specifier(text: object) -> str | None:
    if not isinstance(text, str) or not text:
        return None
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return ",".join(sorted(str(item) for item in SpecifierSet(text))) or None
    except InvalidSpecifier:
        return text


def _agree(written: set[str | None], locked: set[str | None]) -> bool:
    # A source in [tool.uv.sources] takes the place of the specifier, so None agrees with everything.
    return written == locked or None in written or None in locked
