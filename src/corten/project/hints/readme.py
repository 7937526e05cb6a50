"""Commands that a README shows, as a last resort: `streamlit run X`, `uvicorn X:app`, `python X`."""

from __future__ import annotations

import re

from corten.lazy import regex
from corten.project.hints import names, programs, shell
from corten.project.hints.hint import Hint, Reads

_COMMAND = regex(
    r"(?:^|`|\$\s+|>\s+|\b(?:run|execute|using|with):?\s+`?)((?:sudo\s+)?(?:poetry run |pipenv run |uv run |pdm run |python3? -m )?"
    r"(?:streamlit run|chainlit run|panel serve|shiny run|gradio|uvicorn|gunicorn|hypercorn|flask run|flask --app|fastapi (?:run|dev)|"
    r"python3?|py|waitress-serve|bentoml serve|cd \S+ && \S+)\s[^`\n|]*)",
    re.MULTILINE,
)
_NOT_A_SERVICE = regex(
    r"(?i)train|test|eval|setup|download|prepare|preprocess|convert|install|migrat|venv|create|benchmark|example"
)
_MOST_CHARACTERS = 200_000


def read(folder: Reads) -> tuple[Hint, ...]:
    """Commands that start something the project has, in the README's order. A script that trains or prepares is none."""
    for name in names.README:
        text = folder.text(name)
        if text is not None:
            return read_text(text, name, folder)
    return ()


def read_text(text: str, source: str, folder: Reads) -> tuple[Hint, ...]:
    """The hints of a README with the contents `text`."""
    found: dict[tuple[tuple[str, ...], str], Hint] = {}
    for match in list(_COMMAND.finditer(text[:_MOST_CHARACTERS]))[:100]:
        written = match[1][:500].strip().rstrip(".,;:")
        line = shell.cleaned(re.split(r"(?<!\s)\s++#", written)[0])
        if line is None or line.folder.startswith(("/", "..")) or any(sign in written for sign in "<>{}"):
            continue
        program = programs.classify(line.argv, folder, line.folder)
        if program.starts not in ("web", "ui", "worker", "script") or (
            program.starts != "worker" and not program.file
        ):
            continue
        if program.starts == "script" and _NOT_A_SERVICE.search(program.file):
            continue
        at = text.count("\n", 0, match.start(1)) + 1
        argv = shell.with_shell(line.argv, folder, line.folder)
        found.setdefault(
            (argv, line.folder), Hint("command", argv, source, at, folder=line.folder, env=line.env)
        )
    return tuple(found.values())
