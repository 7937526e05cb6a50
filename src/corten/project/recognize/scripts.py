"""Finding a command or a script of the project that runs by itself."""

from __future__ import annotations

import re

from corten.project.kinds import TABLE
from corten.project.model import Command
from corten.project.recognize import models
from corten.project.recognize.candidates import SCRIPT, Candidate
from corten.project.recognize.facts import Facts

WOULD_SERVE = "would serve the model"
"""The end of a note about a model beside a script, of which the script was chosen."""
_NO_SCRIPT = re.compile(
    r"(?:setup|conftest|noxfile|fabfile|tasks|manage|version|_version|__init__|locustfile|test_.*|.*_test|gunicorn.*)\.py"
)


def find(facts: Facts) -> list[Candidate]:
    """The only command of `[project.scripts]`, `main.py`, and the only script of the project's folder. Several scripts are
    one candidate that runs nothing and names them."""
    found: list[Candidate] = []
    if len(facts.scripts) == 1:
        name = facts.scripts[0]
        note = f"[project.scripts] has the command '{name}'"
        found.append(Candidate("command", Command((name,)), "pyproject.toml", note, SCRIPT + 9))
    files = [path for path in facts.folder.files(".py") if "/" not in path and not _NO_SCRIPT.fullmatch(path)]
    if "main.py" in files:
        note = "'main.py' is the script"
        found.append(Candidate("script", Command(("python", "main.py")), "main.py", note, SCRIPT + 8))
    elif len(files) == 1:
        beside = [] if facts.models else models.readable(facts, models.UNNAMED)
        model = f'; models = ["{beside[0]}"] in {TABLE} {WOULD_SERVE}' if beside else ""
        note = f"'{files[0]}' is the only script{model}"
        found.append(Candidate("script", Command(("python", files[0])), files[0], note, SCRIPT))
    elif files:
        shown = ", ".join(f"'{name}'" for name in files[:6]) + (", …" if len(files) > 6 else "")
        note = f"nothing runs by default: {shown} could, and 'command' in {TABLE} would say which"
        found.append(Candidate("script", None, files[0], note, SCRIPT))
    return found
