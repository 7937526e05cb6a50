"""A Procfile (devcenter.heroku.com/articles/procfile): `type: command` in each line."""

from __future__ import annotations

import re

from corten.lazy import regex
from corten.project.hints import names, shell
from corten.project.hints.hint import MOST_HINTS, Hint, Key, Reads, lines

_LINE = regex(r"\s*([A-Za-z0-9_-]+)\s*:\s*(\S.*)")


def read(folder: Reads) -> tuple[Hint, ...]:
    """`web` as the command, `release` as a step to run first, every other type as a worker."""
    for name in names.PROCFILE:
        text = folder.text(name)
        if text is not None:
            return read_text(text, name, folder)
    return ()


def read_text(text: str, source: str, folder: Reads) -> tuple[Hint, ...]:
    """The hints of a Procfile with the contents `text`."""
    hints: list[Hint] = []
    joined = text.replace("\\\n", " ")
    for number, written in enumerate(lines(joined), 1):
        match = _LINE.match(written)
        if match is None or written.lstrip().startswith("#") or len(hints) >= MOST_HINTS:
            continue
        kind, command = match[1].lower(), match[2].strip()
        command = re.sub(r"(?<!\s)\s++#\s.*$", "", command)
        line = shell.cleaned(command)
        if line is None:
            if kind == "web":
                hints.append(Hint("unused", f"'{kind}' starts nothing: {command[:60]}", source, number))
            continue
        note = f"without {', '.join(line.dropped)}" if line.dropped else ""
        key: Key = (
            "command" if kind == "web" else "release" if kind in ("release", "postdeploy") else "worker"
        )
        argv = shell.with_shell(line.argv, folder, line.folder)
        inner = inside(line.folder)
        if inner is None:
            hints.append(Hint("unused", f"'{kind}' leaves the project: {command[:60]}", source, number))
            continue
        hints.append(Hint(key, argv, source, number, name=kind, folder=inner, env=line.env, note=note))
    return tuple(hints)


def inside(path: str) -> str | None:
    """`path` relative to the project, normal; `/app` is the project's place at Heroku, and here. None for what leads out."""
    import posixpath

    if path == "/app" or path.startswith("/app/"):
        path = path[5:]
    if path.startswith(("/", "~", "$")):
        return None
    path = posixpath.normpath(path or ".")
    return None if path.startswith("..") else "" if path == "." else path
