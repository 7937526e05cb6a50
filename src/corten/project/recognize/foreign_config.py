"""Reading a configuration file of another tool: YAML within bounds, and the values of the types that it should have."""

from __future__ import annotations

from typing import Any

from corten.errors import FormatError, ProjectError
from corten.project.hints import documents
from corten.project.hints.hint import Reads


def table(folder: Reads, path: str, hint: str = "correct the file") -> dict[str, Any] | None:
    """The mapping in the YAML file `path`; None where there is no such file. Raises ProjectError for a file that is no
    mapping."""
    text = folder.text(path)
    return None if text is None else table_in(text, path, hint)


def table_in(text: str, path: str, hint: str = "correct the file") -> dict[str, Any]:
    """The mapping in the YAML `text` of the file `path`. Raises ProjectError."""
    try:
        found = documents.yaml(text)
    except FormatError as error:
        raise ProjectError(f"'{path}' cannot be read: {error}", hint=hint) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ProjectError(f"'{path}' is no mapping of keys to values", hint=hint)
    return found


def mapping(value: Any) -> dict[str, Any]:
    """`value` where it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """`value` where it is a text, else an empty one."""
    return value.strip() if isinstance(value, str) else ""


def texts(value: Any, most: int = 500) -> list[str]:
    """The texts of a list, or the only one."""
    if isinstance(value, str):
        return [value]
    return [item for item in value[:most] if isinstance(item, str)] if isinstance(value, list) else []
