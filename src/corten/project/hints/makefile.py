"""Targets of a Makefile or a justfile that start the project."""

from __future__ import annotations

import re

from corten.lazy import regex
from corten.project.hints import names, shell
from corten.project.hints.hint import Hint, Reads, lines

TARGETS = (
    *(
        "serve",
        "start",
        "run",
        "server",
        "api",
        "app",
        "web",
        "run-api",
        "run-app",
        "run_app",
        "run-server",
        "runserver",
    ),
    *("start-api", "up", "dev", "streamlit", "ui"),
)
"""Targets and scripts that start a project, the likeliest first."""
_MOST_CHARACTERS = 100_000
_TARGET = regex(r"^([A-Za-z][\w.-]*+)[^:=\n#]*+:(?![=:])([^#\n]*)", re.MULTILINE)
_ASSIGNED = regex(r"^[ \t]*+(?:export[ \t]+)?([A-Za-z_]\w*+)[ \t]*+[:?]?=[ \t]*+([^#\n]*)", re.MULTILINE)


def read(folder: Reads) -> tuple[Hint, ...]:
    """The command of the first target of `TARGETS` that starts something."""
    for name in names.MAKEFILE:
        text = folder.text(name)
        if text is not None:
            return read_text(text, name, folder)
    return ()


def read_text(text: str, source: str, folder: Reads) -> tuple[Hint, ...]:
    """The hints of a Makefile with the contents `text`."""
    text = "\n".join(lines(text))[:_MOST_CHARACTERS]
    known = {name: value.strip() for name, value in _ASSIGNED.findall(text)[:500]}
    rules: dict[str, tuple[int, list[str]]] = {}
    for match in list(_TARGET.finditer(text))[:500]:
        recipe = []
        for line in re.sub(r"\\\n[ \t]*", " ", text[match.end() :]).split("\n")[1:]:
            if line.strip() and not line.startswith(("\t", " ")):
                break
            if line.strip() and not line.strip().startswith("#"):
                recipe.append(line.strip().lstrip("@-+"))
        rules.setdefault(match[1], (text.count("\n", 0, match.start()) + 1, recipe))
    for target in TARGETS:
        if target not in rules:
            continue
        at, recipe = rules[target]
        started = shell.cleaned("\n".join(_filled(step, known) for step in recipe))
        if started is not None and not _is_docker(started.argv):
            argv = shell.with_shell(started.argv, folder, started.folder)
            return (Hint("command", argv, source, at, name=target, folder=started.folder, env=started.env),)
    return ()


def _is_docker(argv: tuple[str, ...]) -> bool:
    return (
        re.match(
            r"(?:docker|podman|kubectl|docker-compose)\b",
            argv[2] if argv[:2] == ("/bin/sh", "-c") else argv[0],
        )
        is not None
    )


def _filled(line: str, known: dict[str, str]) -> str:
    """`$(VAR)` and `${VAR}` of the file's own variables; `$$` is the shell's `$`."""
    for _ in range(3):
        line = re.sub(r"\$[({](\w+)[)}]", lambda match: known.get(match[1], match[0])[:1000], line)[:8000]
    return line.replace("$$", "$")
