"""Finding a command or a script of the project that runs by itself."""

from __future__ import annotations

from corten.lazy import regex
from corten.project.kinds import TABLE
from corten.project.model import Command
from corten.project.recognize import behaviour, models
from corten.project.recognize.candidates import SCRIPT, Candidate, Kind
from corten.project.recognize.facts import Facts
from corten.project.recognize.layout import Layout

WOULD_SERVE = "would serve the model"
"""The end of a note about a model beside a script, of which the script was chosen."""
NO_SCRIPT = regex(
    r"(?:setup|conftest|noxfile|fabfile|tasks|manage|version|_version|__init__|locustfile|test_.*|.*_test|gunicorn.*)\.py"
)


_INFRASTRUCTURE = regex(rb"\b(?:aws_cdk|cdktf|cdk8s|pulumi|troposphere)")
_LISTENS = regex(
    rb"\b(?:uvicorn|gunicorn|waitress|hypercorn|serve_forever|bind_port)\b|\b0\.0\.0\.0\b|\b(?:streamlit|flask)\W+run\b"
)
"""What the source of a file has that starts a server in another way than `webapps` reads."""


def find(facts: Facts) -> list[Candidate]:
    """The only command of `[project.scripts]`, `main.py`, and the only script of the project's folder. Several scripts are
    one candidate that runs nothing and names them."""
    found: list[Candidate] = []
    layout = Layout(facts.folder)
    if len(facts.scripts) == 1:
        name = next(iter(facts.scripts))
        note = f"[project.scripts] has the command '{name}'"
        kind, why = _kind(facts.scripts[name].partition(":")[0], facts, layout)
        found.append(
            Candidate(kind, Command((name,)), "pyproject.toml", note + why, SCRIPT + 9, ready=_ready(kind))
        )
    files = [path for path in facts.folder.files(".py") if "/" not in path and not NO_SCRIPT.fullmatch(path)]
    files, infrastructure = _without_infrastructure(files, facts, layout)
    found += infrastructure
    if "main.py" in files:
        kind, why = _kind("main", facts, layout)
        note = f"'main.py' is the script{why}"
        found.append(
            Candidate(kind, Command(("python", "main.py")), "main.py", note, SCRIPT + 8, ready=_ready(kind))
        )
    elif len(files) == 1:
        beside = [] if facts.models else models.readable(facts, models.UNNAMED)
        model = f'; models = ["{beside[0]}"] in {TABLE} {WOULD_SERVE}' if beside else ""
        kind, why = _kind(files[0].removesuffix(".py"), facts, layout)
        note = f"'{files[0]}' is the only script{why}{model}"
        found.append(
            Candidate(kind, Command(("python", files[0])), files[0], note, SCRIPT, ready=_ready(kind))
        )
    elif files:
        shown = ", ".join(f"'{name}'" for name in files[:6]) + (", …" if len(files) > 6 else "")
        note = f"nothing runs by default: {shown} could, and 'command' in {TABLE} would say which"
        found.append(Candidate("script", None, files[0], note, SCRIPT))
    return found


def _kind(module: str, facts: Facts, layout: Layout) -> tuple[Kind, str]:
    """`web` for a script of which something listens, as far as its source says, else what it is otherwise; and why that is so."""
    path = layout.path_of(module, "") or layout.path_of(module, "src")
    if path is None or path.endswith("/"):
        return "script", ""
    if any(_LISTENS.search(facts.folder.data(reached) or b"") for reached in layout.reached(path)):
        return "web", ""
    found = behaviour.of_file(path, facts.folder, layout)
    if found is None or found.kind == "infrastructure":
        return "script", ""
    return found.kind, f", and {found.why}"


def _ready(kind: Kind) -> str | None:
    return "running" if kind == "worker" else None


def _without_infrastructure(
    files: list[str], facts: Facts, layout: Layout
) -> tuple[list[str], list[Candidate]]:
    """Without the files that describe infrastructure, and a candidate that runs nothing for the first of them."""
    left: list[str] = []
    found: list[Candidate] = []
    for path in files:
        source = facts.folder.data(path) or b""
        one = behaviour.of_file(path, facts.folder, layout) if _INFRASTRUCTURE.search(source) else None
        if one is None or one.kind != "infrastructure":
            left.append(path)
        elif not found:
            found.append(Candidate("infrastructure", None, path, f"'{path}' {one.why}", SCRIPT - 1))
    return left, found
