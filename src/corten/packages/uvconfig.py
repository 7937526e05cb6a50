"""What uv is told on this machine and in this project: `uv.toml`, `[tool.uv]` and `UV_*` (uv's "Configuration files")."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from corten.errors import UsageError
from corten.packages.requirements import normal_name
from corten.packages.trust import within
from corten.values import dataclass

PASSED_ON = (
    "index-strategy",
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


@dataclass(frozen=True, slots=True)
class Configuration:
    """uv's settings. `merged` has all of them; `user` those that this machine's user has made: by variables, in the user's
    and the system's files. `project` is what the project says, or a folder above it: it comes from elsewhere."""

    merged: Mapping[str, Any]
    user: Mapping[str, Any]
    project: Mapping[str, Any]


def read_uv(root: Path | None, environment: Mapping[str, str]) -> Configuration:
    """uv's settings, the strongest source first: variables, the project's, the user's, the system's; lists joined in that
    order. Raises UsageError for a file that is not TOML."""
    variables = _from_variables(environment)
    chosen = environment.get("UV_CONFIG_FILE")
    project: dict[str, Any] = {}
    if chosen:
        files = [_flat(_load(Path(chosen), required=True))]
    elif environment.get("UV_NO_CONFIG", "").lower() in {"1", "true", "yes"}:
        files = []
    else:
        project, files = _project(root), _users(environment)
    return Configuration(
        _merged([variables, project, *files]), _merged([variables, *files]), _merged([project])
    )


def _merged(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for table in tables:
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


def checked(settings: Mapping[str, Any], line: Callable[[str, str], str]) -> dict[str, Any]:
    """`settings` with every requirement in them written anew by `line`, which is given the requirement and where it stands,
    and refuses what uv would have to build or to clone."""
    made = dict(settings)
    for key in ("constraint-dependencies", "override-dependencies"):
        if key in made:
            made[key] = [line(text, key) for text in _texts(made[key], key)]
    if "exclude-dependencies" in made:
        made["exclude-dependencies"] = [
            normal_name(text) for text in _texts(made["exclude-dependencies"], "exclude-dependencies")
        ]
    if "dependency-metadata" in made:
        entries = made["dependency-metadata"]
        if not isinstance(entries, list) or not all(isinstance(item, dict) for item in entries):
            raise UsageError("'dependency-metadata' of uv is not a list of tables")
        made["dependency-metadata"] = [
            {
                key: [line(text, "dependency-metadata") for text in _texts(value, "dependency-metadata")]
                if key == "requires-dist"
                else value
                for key, value in entry.items()
                if key in {"name", "version", "requires-dist", "requires-python", "provides-extra"}
            }
            for entry in entries
        ]
    return made


def _texts(value: Any, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"'{key}' of uv is not a list of requirements")
    return value


def project_toml(
    dependencies: Iterable[str], sources: Mapping[str, Any], indexes: Iterable[Mapping[str, Any]]
) -> str:
    """A pyproject.toml that asks for `dependencies`, some of them from `sources` (uv's `tool.uv.sources`) of their own."""
    lines = [
        "[project]",
        'name = "corten-project"',
        'version = "0"',
        f"dependencies = {_value(list(dependencies))}",
    ]
    lines += ["[tool.uv.workspace]", "members = []", "[tool.uv.sources]"]
    lines += [f"{json.dumps(name)} = {_value(entries)}" for name, entries in sources.items()]
    for index in indexes:
        lines += ["[[tool.uv.index]]", *(f"{key} = {_value(value)}" for key, value in index.items())]
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


def _project(root: Path | None) -> dict[str, Any]:
    """What the project says, or the nearest folder above it that says something. Raises UsageError for a link that leads out
    of the project."""
    for directory in (root, *root.parents) if root is not None else ():
        if directory == root:
            for name in ("uv.toml", "pyproject.toml"):
                _refuse_link_out(directory / name)
        own = directory / "uv.toml"
        if own.is_file():
            return _flat(_load(own))
        pyproject = _load(directory / "pyproject.toml")
        tool = pyproject.get("tool")
        if isinstance(tool, dict) and isinstance(tool.get("uv"), dict):
            return _flat(tool["uv"])
    return {}


def _refuse_link_out(path: Path) -> None:
    if path.is_symlink() and not within(os.path.realpath(path), os.path.realpath(path.parent)):
        raise UsageError(
            f"'{path}' is a link that leads out of the project", hint="put the file itself into the project"
        )


def _users(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The user's file, and the system's."""
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    found = [_flat(_load(Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "uv/uv.toml"))]
    for place in environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        if place and (Path(place) / "uv/uv.toml").is_file():
            return [*found, _flat(_load(Path(place) / "uv/uv.toml"))]
    return [*found, _flat(_load(Path("/etc/uv/uv.toml")))]


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    """A table with its `[pip]` part, which is for uv's pip interface and stronger there."""
    pip = table.get("pip")
    if not isinstance(pip, dict):
        return table
    known = {*PASSED_ON, "index-url", "extra-index-url", "find-links", "no-index"}
    return {**table, **{key: value for key, value in pip.items() if key in known}}


def _load(path: Path, required: bool = False) -> dict[str, Any]:
    from corten.toml import parse

    try:
        with path.open("rb") as file:
            return parse(file.read().decode())
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
