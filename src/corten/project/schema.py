"""The JSON schema (2020-12) of `[tool.corten]`, from the declarations in `corten.project.settings`."""

from __future__ import annotations

import re
from typing import Any

from corten.project.settings import KEYS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def table_schema() -> dict[str, Any]:
    """What `[tool.corten]` may hold."""
    properties: dict[str, Any] = {}
    for key, field in KEYS.items():
        description = f"{_plain(field.metadata['description'])} Default: {_plain(field.metadata['default'])}."
        properties[key] = {"description": description, **field.metadata["kind"].schema}
    return {
        "$schema": DIALECT,
        "title": "[tool.corten]",
        "description": "How Corten makes an image of this project. Nothing is required.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "not": {"required": ["predict", "command"]},
    }


def pyproject_schema() -> dict[str, Any]:
    """The same for an editor that wants a schema of the whole pyproject.toml."""
    table = table_schema()
    dialect = table.pop("$schema")
    tool = {"type": "object", "properties": {"corten": table}}
    return {"$schema": dialect, "title": "pyproject.toml", "type": "object", "properties": {"tool": tool}}


def _plain(text: str) -> str:
    """Markdown's code spans as the bare words."""
    return re.sub(r"`([^`]*)`", r"\1", text)
