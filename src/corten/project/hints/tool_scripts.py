"""Scripts of other tools in pyproject.toml that start the project: Poetry, PDM, taskipy, Poe the Poet, Hatch."""

from __future__ import annotations

import re
from typing import Any

from corten.project.hints.hint import Hint, Reads


def read_scripts(pyproject: dict[str, Any], source: str = "pyproject.toml") -> tuple[Hint, ...]:
    """Scripts of PDM, taskipy, Poe the Poet, Hatch, and entry points of Poetry, by the names of `makefile.TARGETS`. A script of Poetry's leads to
    a function, which no command starts before the project is installed: it becomes `python -c`."""
    from corten.project.hints import makefile, shell

    tool = pyproject.get("tool")
    if not isinstance(tool, dict):
        return ()
    for place, scripts in (
        ("tool.taskipy.tasks", _within(tool, "taskipy", "tasks")),
        ("tool.pdm.scripts", _within(tool, "pdm", "scripts")),
        ("tool.poe.tasks", _within(tool, "poe", "tasks")),
        ("tool.hatch.envs.default.scripts", _within(tool, "hatch", "envs", "default", "scripts")),
        ("tool.poetry.scripts", _within(tool, "poetry", "scripts")),
    ):
        for name in makefile.TARGETS:
            value = scripts.get(name)
            if isinstance(value, dict):
                value = value.get("cmd") or value.get("shell") or value.get("call")
            if isinstance(value, list) and all(isinstance(word, str) for word in value):
                value = " ".join(value)
            if not isinstance(value, str):
                continue
            if match := re.fullmatch(r"([\w.]+):(\w+)(?:\(\))?", value):
                argv: tuple[str, ...] = ("python", "-c", f"from {match[1]} import {match[2]}; {match[2]}()")
                return (Hint("command", argv, f"[{place}] of {source}", name=name),)
            line = shell.cleaned(value)
            if line is not None:
                return (
                    Hint(
                        "command",
                        line.argv,
                        f"[{place}] of {source}",
                        name=name,
                        folder=line.folder,
                        env=line.env,
                    ),
                )
    return ()


def read(folder: Reads) -> tuple[Hint, ...]:
    """The same from the project's pyproject.toml."""
    text = folder.text("pyproject.toml")
    if text is None or not re.search(r"^\[tool\.(?:taskipy|pdm|poe|hatch|poetry)\b", text, re.MULTILINE):
        return ()
    import tomllib

    from corten.toml import parse

    try:
        return read_scripts(parse(text))
    except (tomllib.TOMLDecodeError, RecursionError):
        return ()


def _within(table: dict[str, Any], *keys: str) -> dict[str, Any]:
    value: Any = table
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
