"""`Pipfile.lock` and `Pipfile` as requirements."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from corten.errors import ProjectError
from corten.project.formats.lines import (
    Translated,
    address_in,
    both,
    hashes_in,
    line,
    marker_in,
    name_in,
    named,
    repository,
    specifier_in,
    table,
    tables,
    toml,
)

LOCK = "Pipfile.lock"
PIPFILE = "Pipfile"
_MARKERS = (
    *("os_name", "sys_platform", "platform_machine", "platform_python_implementation", "platform_release"),
    *("platform_system", "platform_version", "python_version", "python_full_version", "implementation_name"),
)


def with_lock(text: str) -> Translated:
    """The `default` section of Pipfile.lock, with its hashes. Raises ProjectError."""
    document = _json(text)
    options, notes = _sources(table(document, "_meta").get("sources"), LOCK)
    lines = [line for name, entry in table(document, "default").items() for line in _lines(name, entry, LOCK)]
    left = [key for key in document if key not in ("_meta", "default") and document[key]]
    return Translated((*options, *lines), notes=(*notes, *_left_out(left, LOCK)))


def check_current(lock: str, pipfile: str) -> None:
    """Raises ProjectError when the lock does not have what `[packages]` of Pipfile asks for."""
    locked = {_normal(name): entry for name, entry in table(_json(lock), "default").items()}
    for name, wanted in table(toml(pipfile, PIPFILE), "packages").items():
        entry = locked.get(_normal(name))
        written = str(wanted.get("version", "*") if isinstance(wanted, dict) else wanted)
        version = str(entry.get("version", "")).removeprefix("==") if isinstance(entry, dict) else ""
        fits = entry is not None and (
            not version or written in ("*", f"=={version}") or _allows(written, version)
        )
        if not fits:
            raise ProjectError(
                f"'{LOCK}' does not belong to '{PIPFILE}' any more: {name[:60]!a} differs",
                hint="run 'pipenv lock'",
            )


def _allows(specifier: str, version: str) -> bool:
    """Whether `version` is allowed; a specifier that is not understood allows every one."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def without_lock(text: str) -> Translated:
    """`[packages]` of Pipfile. Raises ProjectError."""
    document = toml(text, PIPFILE)
    options, notes = _sources(document.get("source"), PIPFILE)
    lines = [
        line for name, entry in table(document, "packages").items() for line in _lines(name, entry, PIPFILE)
    ]
    own = ("packages", "source", "requires", "scripts", "pipenv")
    left = [key for key, value in document.items() if key not in own and isinstance(value, dict) and value]
    return Translated((*options, *lines), notes=(*notes, *_left_out(left, PIPFILE)))


def _json(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"'{LOCK}' cannot be read: it is not JSON", hint="run 'pipenv lock'") from error
    if not isinstance(document, dict):
        raise ProjectError(f"'{LOCK}' cannot be read: it is not an object", hint="run 'pipenv lock'")
    return document


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(name: str, entry: object, file: str) -> list[str]:
    """The line of one package."""
    name = name_in(name, file)
    wanted: Mapping[str, Any] = entry if isinstance(entry, dict) else {"version": entry}
    markers = [marker_in(wanted.get("markers"), name, file)]
    for key in _MARKERS:
        value = str(wanted.get(key, "")).strip()
        if value and not re.match(r"(?:[<>=!~]|not\s|in\s)", value):
            value = f"== '{value}'"
        markers.append(marker_in(f"{key} {value}" if value else "", name, file))
    start = named(name, wanted.get("extras"), file)
    hashes = wanted.get("hashes")
    allowed = hashes_in(hashes) if isinstance(hashes, list) else []
    for kind in ("git", "hg", "svn", "bzr"):
        if kind in wanted:
            place = repository(
                wanted[kind], name, file, wanted.get("ref"), wanted.get("subdirectory"), kind=kind
            )
            return [line(f"{start} @ {place}", both(*markers))]
    for kind in ("file", "path", "uri", "url"):
        if kind in wanted:
            place = _place(wanted[kind], name, file)
            place = place if "://" in place else "./" + place.removeprefix("./")
            return [line(f"{start} @ {place}", both(*markers), allowed)]
    written = str(wanted.get("version", "*")).strip()
    specifier = "" if written == "*" else specifier_in(written, name, file)
    return [line(start + specifier, both(*markers), allowed)]


def _place(value: object, name: str, file: str) -> str:
    text = str(value)
    if "://" in text:
        return address_in(text, name, file)
    if not text.isprintable() or re.search(r"[\s;#]", text):
        raise ProjectError(f"the place of '{name}' in '{file}' is not understood", hint="correct it")
    return text


def _sources(value: object, file: str) -> tuple[list[str], list[str]]:
    """The indexes as options. That which is called `pypi` is the machine's own default."""
    options: list[str] = []
    notes: list[str] = []
    for number, source in enumerate(tables(value, file)):
        name = str(source.get("name", ""))
        if name == "pypi":
            continue
        url = address_in(source.get("url", ""), name or "a source", file)
        options.append(f"{'--extra-index-url' if number else '--index-url'} {url}")
        if source.get("verify_ssl") is False:
            notes.append(f"verify_ssl of a source in '{file}' is not read: certificates are checked")
    return options, notes


def _left_out(names: list[str], file: str) -> tuple[str, ...]:
    shown = ", ".join(ascii(name[:40]) for name in names[:20])
    return (f"what is not installed of '{file}': {shown}",) if names else ()
