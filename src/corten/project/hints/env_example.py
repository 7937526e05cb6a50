"""`.env.example` and its like: the names of variables that a user has to set."""

from __future__ import annotations

import re

from corten.lazy import regex
from corten.project.hints import names, variables
from corten.project.hints.hint import MOST_HINTS, Hint, Reads, lines

_LINE = regex(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=(.*)")


def read(folder: Reads) -> tuple[Hint, ...]:
    """A variable without a value, with a placeholder, or with a name of a secret must be set. The values of others are
    examples: they are not taken."""
    for name in names.ENV_EXAMPLE:
        text = folder.text(name)
        if text is not None:
            return read_text(text, name)
    return ()


def read_text(text: str, source: str) -> tuple[Hint, ...]:
    """The hints of such a file with the contents `text`."""
    hints: dict[str, Hint] = {}
    for number, line in enumerate(lines(text), 1):
        match = _LINE.match(line)
        if match is None or variables.is_of_tools(match[1]) or match[1] == "PORT" or len(hints) >= MOST_HINTS:
            continue
        name = match[1]
        value = match[2].strip()
        if value[:1] in ("'", '"'):
            value = value[1:].partition(value[0])[0]
        else:
            value = re.sub(r"(?:^|(?<!\s)\s++)#.*$", "", value)
        if variables.is_secret(name) or variables.is_placeholder(value):
            hints.setdefault(name, Hint("needs-env", name, source, number, name=name))
    return tuple(hints.values())
