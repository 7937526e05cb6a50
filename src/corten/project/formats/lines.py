"""What a foreign file becomes: lines of a requirements file. Every part of a line is checked before it is written, so that no value
can bring an option or a second line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from corten.errors import ProjectError
from corten.lazy import regex
from corten.values import dataclass

_NAME = regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?")
_VERSION = regex(r"[A-Za-z0-9.!+_-]{1,100}")
_PART = regex(r"(?:===?|~=|!=|<=|>=|<|>)[A-Za-z0-9.!+_*-]{1,100}")
_ADDRESS = regex(r"[a-z][a-z0-9+]{0,15}://[^\s\"'\\#]{1,2000}")
_SHA256 = regex(r"(?:sha256:)?([0-9a-fA-F]{64})")
_MOST = 20_000


@dataclass(frozen=True, slots=True)
class Translated:
    """`lines` are required; `constraints` say which version and hashes hold for what these bring with them. `written` are lines for pip
    as people write them, which may need a repair. `notes` say what is left out."""

    lines: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


def name_in(value: object, file: str) -> str:
    """A package's name. Raises ProjectError."""
    text = str(value)
    if not _NAME.fullmatch(text):
        raise ProjectError(f"'{file}' names a package {text[:60]!r}", hint="correct the name")
    return text


def named(name: object, extras: object, file: str) -> str:
    """`name[extra,extra]`. Raises ProjectError."""
    inside = ",".join(sorted(name_in(item, file) for item in extras)) if isinstance(extras, list) else ""
    return name_in(name, file) + (f"[{inside}]" if inside else "")


def specifier_in(value: str, name: str, file: str) -> str:
    """A specifier in PEP 440's form, without spaces. Raises ProjectError."""
    parts = [re.sub(r"(?<=[<>=!~]) +", "", part.strip(" ")) for part in value.split(",") if part.strip(" ")]
    if len(parts) > 50 or not all(_PART.fullmatch(part) for part in parts):
        raise ProjectError(
            f"'{file}' asks for '{name}' in the version {value[:60]!r}, which is not understood",
            hint="write it as in '>=1.2,<2'",
        )
    return ",".join(parts)


def pin(name: str, version: object, file: str) -> str:
    """`name==version`. Raises ProjectError."""
    if not _VERSION.fullmatch(str(version)):
        raise ProjectError(
            f"'{file}' has '{name}' in the version {str(version)[:60]!r}", hint="make the lock file again"
        )
    return f"{name}=={version}"


def marker_in(value: object, name: str, file: str) -> str:
    """A marker in its normal form, empty where there is none. Raises ProjectError."""
    if value is None or value == "":
        return ""
    from packaging.markers import InvalidMarker, Marker

    text = str(value)
    try:
        if len(text) > 10_000:
            raise InvalidMarker
        made = str(Marker(text))
    except (InvalidMarker, RecursionError) as error:
        raise ProjectError(
            f"the marker of '{name}' in '{file}' is not understood", hint="correct the marker"
        ) from error
    if not made.isprintable() or re.search(r"\s(?:#|-)", made):
        raise ProjectError(f"the marker of '{name}' in '{file}' is not understood", hint="correct the marker")
    return made


def address_in(value: object, what: str, file: str) -> str:
    """An address. Raises ProjectError."""
    text = str(value)
    if not _ADDRESS.fullmatch(text) or not text.isprintable():
        raise ProjectError(f"the address of '{what}' in '{file}' is not understood", hint="correct it")
    return text


def repository(
    url: object, what: str, file: str, ref: object = "", subdirectory: object = "", kind: str = "git"
) -> str:
    """The address of a repository at a branch, tag or commit, as requirements files have it. Raises ProjectError."""
    written = str(url)
    scp = re.fullmatch(r"([A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+):(?!/)([^\s]+)", written)
    if scp is not None:
        written = f"ssh://{scp[1]}/{scp[2]}"
    made = f"{kind}+{address_in(written.removeprefix(f'{kind}+'), what, file)}"
    for value, before in ((made, ""), (ref, "@"), (subdirectory, "#subdirectory=")):
        text = str(value or "")
        if text and (not text.isprintable() or re.search(r"[\s;#]", text)):
            raise ProjectError(f"the repository of '{what}' in '{file}' is not understood", hint="correct it")
        made += before + text if text and before else ""
    return made


def line(start: str, marker: str = "", hashes: Iterable[str] = ()) -> str:
    """One line."""
    return (
        start
        + (f" ; {marker}" if marker else "")
        + "".join(f" --hash=sha256:{item}" for item in sorted(set(hashes)))
    )


def hashes_in(values: Iterable[object]) -> list[str]:
    """The sha256 values among `values`."""
    return [match[1].lower() for value in values if (match := _SHA256.fullmatch(str(value)))]


def both(*markers: str) -> str:
    """A marker that holds where all of `markers` do."""
    there = [item for item in markers if item]
    return there[0] if len(there) == 1 else " and ".join(f"({item})" for item in there)


def tables(value: object, file: str) -> list[dict[str, Any]]:
    """The tables in a list. Raises ProjectError for too many."""
    found = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    if len(found) > _MOST:
        raise ProjectError(f"'{file}' names more than {_MOST} packages", hint="split the project")
    return found


def table(value: object, *keys: str) -> dict[str, Any]:
    """The table at `keys` in `value`; empty where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def toml(text: str, file: str) -> dict[str, Any]:
    """The document. Raises ProjectError."""
    from corten.toml import parse

    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"'{file}' cannot be read: it is not TOML", hint="correct the file") from error
