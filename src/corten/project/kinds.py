"""The forms that a value in `[tool.corten]` may have: each reads strictly and describes itself as JSON schema.

A reader takes the key as the user wrote it and the value as TOML gave it, and returns the value as Corten keeps it
(lists become tuples). It raises ProjectError in one sentence that names the key, what was expected and what was found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from corten.errors import CortenError, ProjectError
from corten.oci.platform import Platform
from corten.values import dataclass

TABLE = "[tool.corten]"

Schema = dict[str, Any]
Reader = Callable[[str, object], Any]

ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
VARIABLE = rf"\$(?:{ENV_NAME}|\{{{ENV_NAME}\}})"
NAME = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
"""One component of a repository's name (distribution-spec, "Pulling manifests")."""
PYTHON = r"3\.[0-9]{1,2}(?:\.[0-9]{1,2})?t?"
PREDICT = r"(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|(?:[A-Za-z0-9_][\w.-]*/)+[A-Za-z0-9_][\w.-]*\.py):[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
"""`module:name`, or `folder/file.py:name`, whose folder is then on the import path too."""
MODEL_FILES = (".joblib", ".pkl", ".pickle", ".skops", ".onnx")
"""Endings of models that the server can serve without a predictor."""
MODEL_NAME = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""A DNS label (RFC 1123, section 2.1): a model's name stands in URLs, and may become a host's."""
_NO_MODEL_NAMES = ("v1", "v2")
"""Paths of the server that are not a model's."""
_MODEL_PATH = rf"[^:/~][^:]*(?:{'|'.join(map(re.escape, MODEL_FILES))}|/MLmodel)|MLmodel"
SYSTEM_PACKAGE = r"[a-z0-9][a-z0-9+.-]+"
USER = r"(?:[0-9]{1,10}|[a-z_][a-z0-9_-]{0,31})(?::(?:[0-9]{1,10}|[a-z_][a-z0-9_-]{0,31}))?"
GPU = r"auto|none|any|cu[0-9]{2,3}"
DEBIAN_BASE = r"debian:(?:bookworm|trixie)(?:-minimal)?"
LAYOUT_BASE = r"oci:[^:\x00]+(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
REGISTRY_BASE = (
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?"
    rf"(?:/{NAME})+(?:@sha256:[0-9a-f]{{64}}|:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})"
)
_LARGEST_ID = 2**32 - 2
"""user_namespaces(7): 2**32 - 1 means "no change"."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`words` says in messages and documentation what is expected; `schema` says it to an editor; `read` insists."""

    words: str
    schema: Schema
    read: Reader


def wrong(key: str, expected: str, value: object, hint: str | None = None) -> ProjectError:
    """The error for a value of the wrong form, in one sentence."""
    return ProjectError(f"'{key}' in {TABLE} must be {expected}, not {described(value)}", hint=hint)


def described(value: object) -> str:
    """What TOML calls a value, with the value itself where it is short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value if len(value) <= 60 else value[:57] + '…'}'" if value.isprintable() else "that text"
    if isinstance(value, int):
        return f"the integer {value}"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    return "a date or time"


def text(words: str, pattern: str | None = None, *, hint: str | None = None) -> Kind:
    """A text, optionally one that matches the whole of `pattern`."""

    def read(key: str, value: object) -> str:
        if not isinstance(value, str):
            raise wrong(key, words, value, quoting(key, value) or hint)
        if not value or "\x00" in value or (pattern and not re.fullmatch(pattern, value)):
            raise wrong(key, words, value, hint)
        return value

    # JSON schema's patterns search (ECMA 262), so the anchors are written.
    schema: Schema = {"pattern": f"^(?:{pattern})$"} if pattern else {"minLength": 1}
    return Kind(words, {"type": "string"} | schema, read)


VOLUME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}"
READY = r"tcp|streamlit|shiny|running|(?:page:)?/[!-~]{0,1000}"
"""What a command is asked until it answers: a path, `page:` and a path for a page that shows no exception, `tcp` for an accepted
connection, `streamlit` and `shiny` for a session whose script raises nothing, or `running` for a program without a port."""

RUNNING = "running"
"""`ready` of a program that listens on no port."""


def choice(*values: str) -> Kind:
    """One of a few words."""
    words = ", ".join(f"'{value}'" for value in values[:-1]) + f" or '{values[-1]}'"

    def read(key: str, value: object) -> str:
        if value not in values:
            raise wrong(key, words, value)
        return str(value)

    return Kind(words, {"enum": list(values)}, read)


def listed(item: Kind, words: str) -> Kind:
    """A list of items that are all of one kind; what is kept has no repetition."""

    def read(key: str, value: object) -> tuple[Any, ...]:
        if isinstance(value, str):
            raise wrong(key, words, value, hint=f'write {key} = ["{value}"]' if value.isprintable() else None)
        if not isinstance(value, list):
            raise wrong(key, words, value)
        return tuple(dict.fromkeys(item.read(f"{key}[{index}]", part) for index, part in enumerate(value)))

    return Kind(words, {"type": "array", "items": item.schema, "uniqueItems": True}, read)


def table(names: str, words: str, hint: str) -> Kind:
    """A table of texts whose keys match the whole of `names`. Empty values are allowed."""

    def read(key: str, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise wrong(key, words, value)
        for name, part in value.items():
            if not re.fullmatch(names, name):
                raise ProjectError(f"'{name}' cannot be a name in '{key}' of {TABLE}", hint=hint)
            if not isinstance(part, str):
                raise wrong(f"{key}.{name}", "text", part, quoting(name, part))
            if "\x00" in part:
                raise ProjectError(f"'{key}.{name}' in {TABLE} has a NUL character")
        return dict(value)

    schema = {
        "type": "object",
        "propertyNames": {"pattern": f"^(?:{names})$"},
        "additionalProperties": {"type": "string"},
    }
    return Kind(words, schema, read)


def quoting(key: str, value: object) -> str | None:
    """How to write a bare number or truth value as text; None for anything else."""
    if isinstance(value, bool):
        return f'write it in quotes: {key} = "{str(value).lower()}"'
    if isinstance(value, int | float):
        return f'write it in quotes: {key} = "{value}"'
    return None


def split_command(key: str, command: str) -> tuple[str, ...]:
    """`command` in exec form, split as a shell would. Words keep plain variables (`$PORT`, `${PORT}`) for whoever starts
    them; a command with anything else that only a shell can do (pipes, `&&`, `$(…)`) becomes `/bin/sh -c …`."""
    import shlex

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ProjectError(f"'{key}' in {TABLE} has an unclosed quotation: '{command}'") from error
    if not words or "\x00" in command:
        raise wrong(key, "a command: a list of texts, or one text", command)
    outside_single = re.sub(r"\\.|'[^']*'", "", command)
    outside_quotes = re.sub(r'"[^"]*"', "", outside_single)
    plain = len(re.findall(VARIABLE, outside_single)) == command.count("$") and "`" not in outside_single
    if plain and not re.search(r"[|&;<>()\n]", outside_quotes) and not re.match(rf"{ENV_NAME}=", words[0]):
        return tuple(words)
    return ("/bin/sh", "-c", command)


def _read_boolean(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong(key, "true or false", value)
    return value


def _read_pattern(key: str, value: object) -> str:
    """A path or glob relative to the project's folder that cannot leave it; a leading './' is dropped."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise wrong(key, "a path or glob", value)
    if value.startswith(("/", "~")) or ".." in value.split("/"):
        raise ProjectError(
            f"'{key}' in {TABLE} leaves the project: '{value}'",
            hint="write paths relative to the project's folder; mount files from elsewhere with 'corten run -v'",
        )
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if not parts:
        raise ProjectError(f"'{key}' in {TABLE} names the whole project", hint="name something in it")
    return "/".join(parts) + ("/" if value.endswith("/") else "")


def _read_model(key: str, value: object) -> str:
    """A path or glob, or a model of a hub."""
    if isinstance(value, str) and "://" in value[:20]:
        from corten.project import hub

        return hub.spelled(*hub.parse(value))
    return _read_pattern(key, value)


def _read_exclude(key: str, value: object) -> str:
    """A pattern as in .gitignore, where a leading slash means the project's folder."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise wrong(key, "a pattern", value)
    if ".." in value.split("/"):
        raise ProjectError(f"'{key}' in {TABLE} leaves the project: '{value}'")
    return value.removeprefix("./")


def _read_platform(key: str, value: object) -> Platform:
    words = "'linux/amd64' or 'linux/arm64'"
    if not isinstance(value, str):
        raise wrong(key, words, value)
    try:
        return Platform.parse(value)
    except CortenError as error:
        raise wrong(key, words, value) from error


def _read_volumes(key: str, value: object) -> dict[str, str]:
    hint = f'as in {key} = {{ data = "/app/data" }}'
    found = table(
        VOLUME,
        "a table of volumes and where they are mounted",
        "a volume's name has letters, digits, '_', '.' and '-'",
    )
    volumes: dict[str, str] = found.read(key, value)
    for name, target in volumes.items():
        if not target.startswith("/") or os.path.normpath(target) in ("/", "//"):
            raise ProjectError(f"'{key}.{name}' in {TABLE} is not the path of a folder inside", hint=hint)
    if len({os.path.normpath(target) for target in volumes.values()}) < len(volumes):
        raise ProjectError(f"'{key}' in {TABLE} has two volumes at one place", hint=hint)
    return volumes


def _read_workdir(key: str, value: object) -> str:
    words = "an absolute path such as '/app'"
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise wrong(key, words, value)
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if ".." in parts or (parts and parts[0] in ("proc", "sys", "dev")):
        raise wrong(key, words, value)
    return "/" + "/".join(parts)


def _read_predictor(key: str, value: object) -> str:
    words = "'module:Class', 'module:function' or a model's file"
    if not isinstance(value, str):
        raise wrong(key, words, value)
    if (value.endswith((*MODEL_FILES, "/MLmodel")) or value == "MLmodel") and ":" not in value:
        return _read_file_of_model(key, value)
    module, _, name = value.partition(":")
    if "/" not in module and module.endswith(".py") and re.fullmatch(PREDICT, f"{module[:-3]}:{name}"):
        raise wrong(key, words, value, hint=f'write {key} = "{module[:-3]}:{name}"')
    if not re.fullmatch(PREDICT, value):
        raise wrong(key, words, value, hint='the module is written as in an import: predict = "predict:Iris"')
    return value


def _read_file_of_model(key: str, value: str) -> str:
    path = _read_pattern(key, value)
    if any(sign in path for sign in "*?["):
        raise ProjectError(f"'{key}' in {TABLE} names several files: '{value}'", hint="name one model's file")
    return path


def _read_predictors(key: str, value: object) -> str | dict[str, str]:
    """One target, or a table from the names of several models to their targets."""
    if not isinstance(value, dict):
        return _read_predictor(key, value)
    if not value:
        raise ProjectError(f"'{key}' in {TABLE} names no model", hint='for example predict = "predict:Iris"')
    for name in value:
        if not re.fullmatch(MODEL_NAME, name):
            raise ProjectError(
                f"'{name}' cannot be a model's name in '{key}' of {TABLE}",
                hint="a name has small letters, digits and '-' between them, at most 63 in all",
            )
        if name in _NO_MODEL_NAMES:
            raise ProjectError(
                f"'{name}' cannot be a model's name in '{key}' of {TABLE}",
                hint=f"the server has paths of its own below '/{name}'",
            )
    return {name: _read_predictor(f"{key}.{name}", target) for name, target in value.items()}


def _read_user(key: str, value: object) -> str:
    words = "a user such as '1000', '1000:1000' or 'nonroot'"
    if not isinstance(value, str):
        raise wrong(key, words, value, quoting(key, value))
    if not re.fullmatch(USER, value):
        raise wrong(key, words, value)
    if any(part.isdigit() and int(part) > _LARGEST_ID for part in value.split(":")):
        raise ProjectError(f"'{key}' in {TABLE} is larger than any user id: '{value}'")
    return value


def _read_files(key: str, value: object) -> tuple[str, ...]:
    words = "a file or a list of files"
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values:
        raise wrong(key, words, value)
    for index, part in enumerate(values):
        if not isinstance(part, str) or not part or not part.isprintable():
            raise wrong(key if isinstance(value, str) else f"{key}[{index}]", "a file", part)
    return tuple(dict.fromkeys(values))


def _read_command(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return split_command(key, value)
    if not isinstance(value, list) or not value:
        raise wrong(
            key,
            "a command: a list of texts, or one text",
            value,
            hint=f'for example {key} = ["python", "main.py"]',
        )
    for index, part in enumerate(value):
        if not isinstance(part, str) or "\x00" in part or (index == 0 and not part):
            raise wrong(f"{key}[{index}]", "text", part, quoting(f"{key}[{index}]", part))
    return tuple(value)


def _one_or_more(words: str, read: Reader) -> Kind:
    several = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    return Kind(words, {"anyOf": [{"type": "string", "minLength": 1}, several]}, read)


BOOLEAN = Kind("true or false", {"type": "boolean"}, _read_boolean)
PATHS = listed(
    Kind("a path or glob", {"type": "string", "minLength": 1, "pattern": "^[^/~]"}, _read_pattern),
    "a list of paths and globs",
)
MODELS = listed(
    Kind(
        "a path, a glob or hf://org/name@revision",
        {"type": "string", "minLength": 1, "pattern": "^[^/~]"},
        _read_model,
    ),
    "a list of paths and globs",
)
EXCLUDES = listed(Kind("a pattern", {"type": "string", "minLength": 1}, _read_exclude), "a list of patterns")
PLATFORMS = listed(
    Kind("a platform", {"enum": ["linux/amd64", "linux/arm64"]}, _read_platform), "a list of platforms"
)
_TARGET: Schema = {"type": "string", "pattern": f"^(?:{PREDICT}|{_MODEL_PATH})$"}
PREDICTOR = Kind(
    "'module:Class', 'module:function' or a model's file; or a table of several with their names",
    {
        "anyOf": [
            _TARGET,
            {
                "type": "object",
                "propertyNames": {"pattern": f"^(?:{MODEL_NAME})$", "not": {"enum": list(_NO_MODEL_NAMES)}},
                "additionalProperties": _TARGET,
                "minProperties": 1,
            },
        ]
    },
    _read_predictors,
)
WORKDIR = Kind("an absolute path", {"type": "string", "pattern": "^/"}, _read_workdir)
USERS = Kind("a user", {"type": "string", "pattern": f"^(?:{USER})$"}, _read_user)
VOLUMES = Kind(
    "a table of volumes and where they are mounted",
    {
        "type": "object",
        "propertyNames": {"pattern": f"^(?:{VOLUME})$"},
        "additionalProperties": {"type": "string", "pattern": "^/"},
    },
    _read_volumes,
)
LABELS = table(r"[^\s=]+", "a table of texts", hint="a label's name has no spaces and no '='")
ENV = table(ENV_NAME, "a table of texts", hint="a name has letters, digits and '_', and no digit in front")
FILES = _one_or_more("a file or a list of files", _read_files)
COMMAND = _one_or_more("a list of texts, or one text", _read_command)
