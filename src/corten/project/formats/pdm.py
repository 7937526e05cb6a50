"""`pdm.lock` as requirements: what pyproject.toml requires with the versions and hashes of the lock."""

from __future__ import annotations

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
    tables,
    toml,
)
from corten.project.formats.poetry import normal, required

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
    constraints = set()
    for name, found in by_name.items():
        versions = {str(item.get("version")) for item in found}
        constraints |= {_locked(name, item, forked=len(versions) > 1) for item in found}
    head = ("--require-hashes",) if roots else ()
    return Translated((*head, *(root.requirement() for root in roots)), tuple(sorted(constraints)))


def _locked(name: str, package: Mapping[str, Any], *, forked: bool) -> str:
    if "git" in package or "path" in package:
        raise ProjectError(
            f"'{name}' in '{LOCK}' is source, and Corten does not build sources yet",
            hint="make a wheel of it and name the wheel, or a folder of wheels with --find-links",
        )
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
