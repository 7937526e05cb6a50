"""`poetry.lock` and `[tool.poetry]` as requirements: what the project requires with the versions and hashes of the lock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from corten.errors import ProjectError
from corten.lazy import regex
from corten.project.formats.lines import (
    Translated,
    address_in,
    both,
    hashes_in,
    line,
    marker_in,
    name_in,
    named,
    pin,
    repository,
    specifier_in,
    table,
    tables,
    toml,
)
from corten.project.formats.versions import of_poetry, python_marker

LOCK = "poetry.lock"
PYPROJECT = "pyproject.toml"
_EXTRA = regex(r"\bextra\b")
_REQUIREMENT = regex(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*\(?([^;@()]*)\)?\s*(?:;(.*))?")
_DIRECT = regex(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*@\s*(\S+)\s*(?:\s;(.*))?")


def extras_of(pyproject: Mapping[str, Any]) -> dict[str, Any]:
    """`[tool.poetry.extras]`."""
    return table(pyproject, "tool", "poetry", "extras")


def groups_of(pyproject: Mapping[str, Any]) -> dict[str, Any]:
    """Poetry's groups by their names."""
    poetry = table(pyproject, "tool", "poetry")
    groups = {name: table(value, "dependencies") for name, value in table(poetry, "group").items()}
    old = table(poetry, "dev-dependencies")
    return {**({"dev": old} if old else {}), **groups}


def without_lock(pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]) -> Translated:
    """`[tool.poetry.dependencies]` with the chosen extras and groups. Raises ProjectError."""
    roots = [root.requirement() for root in _roots(pyproject, extras, groups, strict=True)]
    return Translated((*_sources(pyproject), *roots), notes=_left_out(pyproject, groups))


def with_lock(
    text: str, pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]
) -> Translated:
    """The same with what `poetry.lock` pins. Raises ProjectError, also when the lock does not have what pyproject.toml wants."""
    document = toml(text, LOCK)
    packages = tables(document.get("package"), LOCK)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for package in packages:
        by_name.setdefault(normal(name_in(package.get("name"), LOCK)), []).append(package)
    roots = _roots(pyproject, extras, groups, strict=False)
    constraints: list[str] = []
    direct: list[str] = []
    for name, found in sorted(by_name.items()):
        for package in found:
            made = _locked(name, package, found, document)
            (direct if " @ " in made or made.startswith("./") else constraints).append(made)
    if not roots and not table(pyproject, "tool", "poetry"):
        # A lock alone: everything of it that is not for development.
        own = [
            item
            for name, found in sorted(by_name.items())
            for item in found
            if item.get("category", "main") == "main"
            and "main" in _listed(item.get("groups", ["main"]))
            and not item.get("optional")
        ]
        names = {normal(str(item.get("name"))) for item in own}
        lines = [item for item in (*constraints, *direct) if normal(re.split(r"==| @ ", item)[0]) in names]
        return Translated((*(("--require-hashes",) if lines else ()), *lines))
    for root in roots:
        root.check(by_name.get(normal(root.name), ()))
    lines = [root.requirement() for root in roots if not root.direct]
    wanted = {normal(root.name) for root in roots}
    lines += [item for item in direct if normal(item.split(" @ ")[0]) in wanted]
    head = ("--require-hashes",) if roots else ()
    return Translated((*head, *_sources(pyproject), *lines), tuple(constraints), _left_out(pyproject, groups))


class Root:
    """One requirement of the project: its name with extras, specifier (None: PEP 440 cannot say it) and marker."""

    def __init__(
        self, name: str, extras: object, specifier: str | None, marker: str, direct: str = ""
    ) -> None:
        self.name, self._extras, self._specifier, self._marker = name, extras, specifier, marker
        self.direct = direct

    def requirement(self) -> str:
        """Its line."""
        start = named(self.name, self._extras, PYPROJECT)
        return line(
            f"{start} @ {self.direct}" if self.direct else start + (self._specifier or ""), self._marker
        )

    def check(
        self, locked: Iterable[Mapping[str, Any]], file: str = LOCK, again: str = "poetry lock"
    ) -> None:
        """Raises ProjectError when none of `locked` is what is required."""
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            allowed = SpecifierSet(self._specifier or "")
            fits = any(
                "source" in item or allowed.contains(str(item.get("version")), prereleases=True)
                for item in locked
            )
        except (InvalidSpecifier, ValueError):
            fits = bool(locked)
        if not fits:
            raise ProjectError(
                f"'{file}' does not belong to pyproject.toml any more: '{self.name}' differs",
                hint=f"run '{again}'",
            )


def required(pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str]) -> list[Root]:
    """What `[project]` or `[tool.poetry]` requires, with the chosen extras and groups. Raises ProjectError."""
    return _roots(pyproject, extras, groups, strict=False)


def _roots(
    pyproject: Mapping[str, Any], extras: Sequence[str], groups: Sequence[str], *, strict: bool
) -> list[Root]:
    project, poetry = table(pyproject, "project"), table(pyproject, "tool", "poetry")
    chosen = {normal(item) for item in extras}
    found: list[Root] = []
    texts: list[object] = []
    if project.get("dependencies"):
        texts += _listed(project["dependencies"])
        for name, items in table(project, "optional-dependencies").items():
            texts += items if normal(name) in chosen and isinstance(items, list) else []
    else:
        optional = {
            normal(str(item))
            for name, items in extras_of(pyproject).items()
            if normal(name) in chosen and isinstance(items, list)
            for item in items
        }
        for name, value in table(poetry, "dependencies").items():
            if name.lower() == "python":
                continue
            found.extend(
                _root(name, entry, strict)
                for entry in (value if isinstance(value, list) else [value])
                if not (isinstance(entry, dict) and entry.get("optional")) or normal(name) in optional
            )
    for group in groups:
        for name, items in groups_of(pyproject).items():
            if normal(name) == normal(group):
                for package, value in items.items():
                    found.extend(
                        _root(package, entry, strict)
                        for entry in (value if isinstance(value, list) else [value])
                    )
        for name, listed in table(pyproject, "dependency-groups").items():
            if normal(name) == normal(group) and isinstance(listed, list):
                texts += [item for item in listed if isinstance(item, str)]
    return [*found, *(_of_text(str(text)) for text in texts)]


def _of_text(text: str) -> Root:
    """A requirement in PEP 508's form."""
    if direct := _DIRECT.fullmatch(text):
        inside = [item.strip() for item in (direct[2] or "")[1:-1].split(",") if item.strip()]
        marker = marker_in((direct[4] or "").strip(), direct[1], PYPROJECT)
        return Root(direct[1], inside, "", marker, address_in(direct[3], direct[1], PYPROJECT))
    match = _REQUIREMENT.fullmatch(text)
    if match is None:
        raise ProjectError(f"{text[:80]!r} in pyproject.toml is not understood", hint="name a version")
    inside = [item.strip() for item in (match[2] or "")[1:-1].split(",") if item.strip()]
    specifier = specifier_in(match[3], match[1], PYPROJECT)
    return Root(match[1], inside, specifier, marker_in((match[4] or "").strip(), match[1], PYPROJECT))


def _root(name: str, value: object, strict: bool) -> Root:
    name = name_in(name, PYPROJECT)
    entry = value if isinstance(value, dict) else {"version": value}
    markers = [marker_in(entry.get("markers"), name, PYPROJECT)]
    if "python" in entry:
        python = python_marker(str(entry["python"]))
        if python is None:
            raise ProjectError(
                f"the Python for '{name}' in [tool.poetry] is not understood", hint='write it as in "^3.9"'
            )
        markers.append(python)
    if "platform" in entry:
        markers.append(f'sys_platform == "{name_in(entry["platform"], PYPROJECT)}"')
    direct = ""
    if "git" in entry:
        ref = next((entry[key] for key in ("rev", "tag", "branch") if entry.get(key)), "")
        direct = repository(entry["git"], name, PYPROJECT, ref, entry.get("subdirectory"))
    elif "url" in entry:
        direct = address_in(entry["url"], name, PYPROJECT)
    elif "path" in entry:
        direct = "./" + re.sub(r"^\./", "", str(entry["path"]))
    if direct and (not direct.isprintable() or re.search(r"\s", direct)):
        raise ProjectError(f"the place of '{name}' in [tool.poetry] is not understood", hint="correct it")
    written = str(entry.get("version", "*"))
    specifier = of_poetry(written)
    if specifier is None and strict and not direct:
        raise ProjectError(
            f"the version {written[:60]!r} of '{name}' in [tool.poetry] is not understood",
            hint="write it as in '^1.2', or run 'poetry lock'",
        )
    return Root(
        name,
        entry.get("extras"),
        None if specifier is None else specifier_in(specifier, name, PYPROJECT),
        both(*markers),
        direct,
    )


def _locked(
    name: str, package: Mapping[str, Any], versions: Sequence[Mapping[str, Any]], document: Mapping[str, Any]
) -> str:
    """The line of one package of the lock."""
    source = table(package, "source")
    kind = source.get("type")
    if kind == "url":
        return line(f"{name} @ {address_in(source.get('url'), name, LOCK)}", "", _hashes(package, document))
    if kind == "git":
        ref = source.get("resolved_reference") or source.get("reference")
        place = repository(source.get("url"), name, LOCK, ref, source.get("subdirectory"))
        return line(f"{name} @ {place}")
    if kind in ("directory", "file"):
        place = str(source.get("url"))
        if not place.isprintable() or re.search(r"\s", place):
            raise ProjectError(
                f"the place of '{name}' in '{LOCK}' is not understood", hint="run 'poetry lock'"
            )
        return line(f"{name} @ ./{re.sub(r'^[.]/', '', place)}", "", _hashes(package, document))
    marker = ""
    if len(versions) > 1:
        markers = [_marker(item) for item in versions]
        if not all(markers):
            # An old lock does not say which version is whose; the requirements decide, and the hashes hold.
            spans = [specifier_in(f"=={item.get('version')}", name, LOCK) for item in versions]
            return line(f"{name}{_span(spans)}", "", _hashes(package, document))
        marker = marker_in(_marker(package), name, LOCK)
    return line(pin(name, package.get("version"), LOCK), marker, _hashes(package, document))


def _span(pins: Sequence[str]) -> str:
    from packaging.version import InvalidVersion, Version

    try:
        versions = sorted(Version(item.removeprefix("==")) for item in pins)
    except InvalidVersion as error:
        raise ProjectError(f"a version in '{LOCK}' is not understood", hint="run 'poetry lock'") from error
    return f">={versions[0]},<={versions[-1]}"


def _marker(package: Mapping[str, Any]) -> str:
    """The marker of a package, which is one for all groups or one for each. One with an extra says nothing of the platform."""
    value = package.get("markers")
    if isinstance(value, dict):
        value = value.get("main") or next(iter(value.values()), "")
    text = str(value or "")
    return "" if _EXTRA.search(text) else text


def _hashes(package: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """The sha256 of a package's files, which old locks keep apart."""
    name = str(package.get("name"))
    files = package.get("files") or table(document, "metadata", "files").get(name)
    if isinstance(files, list):
        return hashes_in(item.get("hash") for item in files if isinstance(item, dict))
    old = table(document, "metadata", "hashes").get(name)
    return hashes_in(old) if isinstance(old, list) else []


def _sources(pyproject: Mapping[str, Any]) -> list[str]:
    """`[[tool.poetry.source]]` as options."""
    found: list[str] = []
    for source in tables(table(pyproject, "tool", "poetry").get("source"), PYPROJECT):
        if "url" not in source:  # Poetry's own name for the public index
            continue
        url = address_in(source["url"], str(source.get("name")), PYPROJECT)
        first = source.get("default") is True or source.get("priority") in ("default", "primary")
        option = "--index-url" if first and not found else "--extra-index-url"
        found.append(f"{option} {url}")
    return found


def _left_out(pyproject: Mapping[str, Any], groups: Sequence[str]) -> tuple[str, ...]:
    chosen = {normal(item) for item in groups}
    left = [f"'{name}'" for name in groups_of(pyproject) if normal(name) not in chosen]
    return (f"Poetry's groups that are not installed: {', '.join(left)}",) if left else ()


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
