"""uv.lock as an input: whether it still belongs to pyproject.toml, and which addresses it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from corten.errors import LockOutdated, ProjectError
from corten.packages.requirements import normal_name

_URL = re.compile(r'url = "([^"\\]+\.whl)"')


def wheel_addresses(path: Path) -> tuple[str, ...]:
    """The address of every wheel in a uv.lock."""
    try:
        return tuple(dict.fromkeys(_URL.findall(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError):
        return ()


def check_current(path: Path, pyproject: dict[str, Any]) -> None:
    """Raises LockOutdated, naming one difference, when uv.lock was made from other dependencies than `pyproject` has now;
    ProjectError when it cannot be read. What cannot be compared (dynamic dependencies) counts as current."""
    import tomllib

    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise ProjectError(f"'{path.name}' cannot be read: {error}", hint="run 'uv lock'") from error
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
