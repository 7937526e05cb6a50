"""What uv is told on this machine and in this project: `uv.toml`, `[tool.uv]` and `UV_*` (uv's "Configuration files")."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from corten.errors import UsageError

PASSED_ON = (
    "index-strategy",
    "keyring-provider",
    "exclude-newer",
    "exclude-newer-package",
    "prerelease",
    "resolution",
    "constraint-dependencies",
    "override-dependencies",
    "exclude-dependencies",
    "dependency-metadata",
    "system-certs",
    "native-tls",
)
"""Settings that shape a resolution and are handed to uv as they are."""

_JOINED = {"index", "extra-index-url", "find-links", "allow-insecure-host", "trusted-host"}
_VARIABLES = {
    "UV_INDEX_STRATEGY": "index-strategy",
    "UV_KEYRING_PROVIDER": "keyring-provider",
    "UV_EXCLUDE_NEWER": "exclude-newer",
    "UV_PRERELEASE": "prerelease",
    "UV_RESOLUTION": "resolution",
}


def read_uv(root: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """uv's settings, the strongest source first: variables, the project's, the user's, the system's; lists joined in that
    order. Raises UsageError for a file that is not TOML."""
    settings: dict[str, Any] = _from_variables(environment)
    for table in _tables(root, environment):
        for key, value in table.items():
            if key in _JOINED and isinstance(value, list):
                settings[key] = [*settings.get(key, []), *value]
            else:
                settings.setdefault(key, value)
    return settings


def to_toml(settings: Mapping[str, Any]) -> str:
    """`settings` as TOML: plain values first, then one table for every entry of `index`."""
    lines = [f"{key} = {_value(value)}" for key, value in settings.items() if key != "index"]
    for index in settings.get("index", ()):
        lines += ["", "[[index]]", *(f"{key} = {_value(value)}" for key, value in index.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _tables(root: Path | None, environment: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    chosen = environment.get("UV_CONFIG_FILE")
    if chosen:
        yield _flat(_load(Path(chosen), required=True))
        return
    if environment.get("UV_NO_CONFIG", "").lower() in {"1", "true", "yes"}:
        return
    for directory in (root, *root.parents) if root is not None else ():
        own = directory / "uv.toml"
        if own.is_file():
            yield _flat(_load(own))
            break
        pyproject = _load(directory / "pyproject.toml")
        tool = pyproject.get("tool")
        if isinstance(tool, dict) and isinstance(tool.get("uv"), dict):
            yield _flat(tool["uv"])
            break
        if pyproject and directory == root:
            continue
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    yield _flat(_load(Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "uv/uv.toml"))
    for place in environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        if place and (Path(place) / "uv/uv.toml").is_file():
            yield _flat(_load(Path(place) / "uv/uv.toml"))
            return
    yield _flat(_load(Path("/etc/uv/uv.toml")))


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    """A table with its `[pip]` part, which is for uv's pip interface and stronger there."""
    pip = table.get("pip")
    if not isinstance(pip, dict):
        return table
    known = {*PASSED_ON, "index-url", "extra-index-url", "find-links", "no-index"}
    return {**table, **{key: value for key, value in pip.items() if key in known}}


def _load(path: Path, required: bool = False) -> dict[str, Any]:
    import tomllib

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        if required:
            raise UsageError(f"'{path}' cannot be read: {(error.strerror or str(error)).lower()}") from error
        return {}
    except ValueError as error:
        raise UsageError(f"'{path}' is not TOML", hint="check it with 'uv lock' or an editor") from error


def _from_variables(environment: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for variable, key in _VARIABLES.items():
        if environment.get(variable):
            settings[key] = environment[variable]
    indexes: list[dict[str, Any]] = []
    default = environment.get("UV_DEFAULT_INDEX")
    if default:
        indexes.append({**_named(default), "default": True})
    elif environment.get("UV_INDEX_URL"):
        settings["index-url"] = environment["UV_INDEX_URL"]
    indexes += [_named(item) for item in environment.get("UV_INDEX", "").split()]
    if indexes:
        settings["index"] = indexes
    for variable, key in (
        ("UV_EXTRA_INDEX_URL", "extra-index-url"),
        ("UV_FIND_LINKS", "find-links"),
        ("UV_INSECURE_HOST", "allow-insecure-host"),
    ):
        values = environment.get(variable, "").replace(",", " ").split()
        if values:
            settings[key] = values
    if environment.get("UV_NO_INDEX", "").lower() in {"1", "true", "yes"}:
        settings["no-index"] = True
    return settings


def _named(text: str) -> dict[str, Any]:
    """`name=https://…` or a bare address."""
    name, equals, url = text.partition("=")
    if equals and "://" not in name and "/" not in name:
        return {"name": name, "url": url}
    return {"url": text}
