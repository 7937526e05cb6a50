"""app.json (devcenter.heroku.com/articles/app-json-schema): variables that must be set, and a step after a deployment."""

from __future__ import annotations

import re

from corten.errors import FormatError
from corten.project.hints import documents, shell, variables
from corten.project.hints.hint import MOST_HINTS, Hint, Reads

NAME = "app.json"


def read(folder: Reads) -> tuple[Hint, ...]:
    """The hints of app.json; none where it belongs to another tool (Expo's has no `env`)."""
    text = folder.text(NAME)
    if text is None:
        return ()
    try:
        document = documents.jsonc(text)
    except FormatError as error:
        return (Hint("unused", f"it cannot be read: {error}", NAME),)
    if not isinstance(document, dict):
        return ()
    hints = []
    table = document.get("env")
    for name, item in list(table.items())[:MOST_HINTS] if isinstance(table, dict) else []:
        at = documents.line_of(text, '"env"', f'"{name}"')
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or variables.is_of_tools(name):
            continue
        value = item.get("value") if isinstance(item, dict) else item
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value):
            hints.append(Hint("env", str(value), NAME, at, name=name))
        elif not isinstance(item, dict) or (
            item.get("required", True) is not False and "generator" not in item
        ):
            hints.append(Hint("needs-env", name, NAME, at, name=name))
    scripts = document.get("scripts")
    step = scripts.get("postdeploy") if isinstance(scripts, dict) else None
    line = shell.cleaned(step) if isinstance(step, str) else None
    if line is not None:
        hints.append(
            Hint("release", line.argv, NAME, documents.line_of(text, '"postdeploy"'), name="postdeploy")
        )
    return tuple(hints)
