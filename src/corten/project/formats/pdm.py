"""`pdm.lock` as requirements: what pyproject.toml requires with the versions and hashes of the lock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from corten.errors import ProjectError
from corten.project.formats.lines import (
    Translated,
    address_in,
    hashes_in,
    line,
    marker_in,
    name_in,
    pin,
    repository,
    tables,
    toml,
)
from corten.project.formats.poetry import Root, normal, required

LOCK = "pdm.lock"


def with_lock(
    text: str, pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]
) -> Translated:
    """The requirements of `[project]` with what pdm.lock pins. Raises ProjectError, also when it does not have one of them."""
    packages = tables(toml(text, LOCK).get("package"), LOCK)
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for package in packages:
        by_name.setdefault(normal(name_in(package.get("name"), LOCK)), []).append(package)
    roots = required(pyproject, extras, groups)
    for root in roots:
        root.check(by_name.get(normal(root.name), ()), LOCK, "pdm lock")
    constraints, direct = set(), dict[str, str]()
    for name, found in by_name.items():
        versions = {str(item.get("version")) for item in found}
        for item in found:
            place = _place(name, item)
            if place:
                direct[name] = place
            else:
                constraints.add(_locked(name, item, forked=len(versions) > 1))
    head = ("--require-hashes",) if roots else ()
    lines = [
        _at(root, direct[normal(root.name)]) if normal(root.name) in direct else root.requirement()
        for root in roots
    ]
    return Translated((*head, *lines), tuple(sorted(constraints)))


def _at(root: Root, place: str) -> str:
    """The line of a requirement whose place the lock says."""
    root.direct = place
    return root.requirement()


def _place(name: str, package: Mapping[str, Any]) -> str:
    """Where the source of a package lies that comes from no index; empty for others."""
    if "git" in package:
        ref = package.get("revision") or package.get("ref")
        return repository(package["git"], name, LOCK, ref, package.get("subdirectory"))
    if "path" in package:
        place = str(package["path"])
        if not place.isprintable() or re.search(r"[\s;#]", place):
            raise ProjectError(f"the place of '{name}' in '{LOCK}' is not understood", hint="run 'pdm lock'")
        return f"./{re.sub(r'^[.]/', '', place)}"
    return ""


def _locked(name: str, package: Mapping[str, Any], *, forked: bool) -> str:
    files = package.get("files")
    hashes = (
        hashes_in(item.get("hash") for item in files if isinstance(item, dict))
        if isinstance(files, list)
        else []
    )
    if "url" in package:
        return line(f"{name} @ {address_in(package['url'], name, LOCK)}", "", hashes)
    marker = marker_in(package.get("marker"), name, LOCK) if forked else ""
    return line(pin(name, package.get("version"), LOCK), marker, hashes)
