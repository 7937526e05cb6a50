"""From what the recognisers found to the one thing that runs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from corten.errors import ProjectError
from corten.project import locate
from corten.project.kinds import TABLE
from corten.project.model import Command
from corten.project.recognize import hinted, ui_frameworks
from corten.project.recognize.candidates import APPLICATION, SERVED, Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.order import ORDER, Recognizer
from corten.values import replace

_SHOWN = 6
"""So many of several candidates are named."""


def choose(facts: Facts, order: Sequence[Recognizer] = ORDER, *, shown: str = ".") -> Candidate | None:
    """The strongest candidate; None where nothing was found. What serves wins over what only runs. Of several of the same strength
    the one counts that an editor's file, a Makefile or the README starts, else they are a ProjectError; `shown` is how the user
    wrote the project's folder."""
    found: list[Candidate] = []
    for recognizer in sorted(order, key=lambda item: -item.strength):
        if max((item.strength for item in found if item.kind in SERVED), default=0) > recognizer.strength:
            break
        found += recognizer.find(facts)
    kept = without_parts(found)
    best = _without_clients(strongest([item for item in kept if item.kind in SERVED] or kept), facts)
    if len(best) > 1:
        best = hinted.named(facts, best) or best
    if len(best) > 1:
        raise ambiguous(best, facts, shown)
    return dressed(_with_others(hinted.as_started(facts, best[0]), kept), facts) if best else None


def _with_others(best: Candidate, kept: Sequence[Candidate]) -> Candidate:
    """`best`, which says what else of the project could be served."""
    others = [
        f"'{item.path}'"
        for item in kept
        if item.path != best.path and item.kind in SERVED and item.strength >= APPLICATION - 10
    ]
    if best.kind not in SERVED or best.source or not others:
        return best
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return replace(best, note=f"{best.note}; also there: {', '.join(others[:3])}{more}")


def dressed(candidate: Candidate, facts: Facts) -> Candidate:
    """`candidate`; where its command starts an application of a UI framework, with that framework's variables and what it is asked
    until it is ready, whoever named the command. A worker of a Procfile listens on no port."""
    entry = candidate.entry
    if candidate.kind == "worker" and candidate.source:
        return replace(candidate, ready=candidate.ready or "running")
    if not isinstance(entry, Command) or candidate.kind not in ("ui", "command", "script", "web"):
        return candidate
    file = candidate.file or candidate.path
    if candidate.kind == "command" and file.endswith(".py") and entry.argv[0] == "python":
        from corten.project.recognize import workers

        kind, why = workers.kind_of_script(file, facts)
        if kind != "command":
            ready = candidate.ready or ("running" if kind == "worker" else None)
            return replace(candidate, kind=kind, note=f"{candidate.note}, which {why}", ready=ready)
    source = facts.folder.data(file) if file.endswith(".py") else None
    framework = ui_frameworks.started_by(entry.argv, source)
    if framework is None or (candidate.kind == "web" and not candidate.source):
        return candidate
    return replace(
        candidate,
        kind="ui" if candidate.kind == "command" else candidate.kind,
        env={**framework.env, **candidate.env},
        ready=candidate.ready or framework.ready_of(entry.argv),
        writable=True,
    )


def _without_clients(best: list[Candidate], facts: Facts) -> list[Candidate]:
    """Beside a web application, a user interface that asks a server of its own is that one's client: it cannot do without."""
    if not any(item.kind == "web" for item in best):
        return best
    return [item for item in best if item.kind != "ui" or not _is_client(facts.folder.data(item.path) or b"")]


def _is_client(source: bytes) -> bool:
    asks = re.search(rb"\b(?:requests|httpx|aiohttp|urllib)\b", source)
    where = rb"localhost|127\.0\.0\.1|(?i:\b(?:api|backend|server)_?(?:url|base|host))"
    return asks is not None and re.search(where, source) is not None


def every(facts: Facts, order: Sequence[Recognizer] = ORDER) -> list[Candidate]:
    """What all recognisers found, the strongest first."""
    found = [item for recognizer in order for item in recognizer.find(facts)]
    return sorted(without_parts(found), key=lambda item: -item.strength)


def without_parts(found: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other candidate imports. Two that import each other both stay; so does what only a test or an example
    imports. A file that is run itself makes way for the same file with the command of its framework."""
    return [
        item
        for item in found
        if not any(
            (item.path in other.covers and other.path not in item.covers and _stands_above(other, item))
            or (item.kind == "web" and other.kind == "ui" and item.path == other.path == item.target)
            for other in found
        )
    ]


def _stands_above(one: Candidate, other: Candidate) -> bool:
    return one.strength >= APPLICATION - 10 or other.strength < APPLICATION - 10


def strongest(found: Sequence[Candidate]) -> list[Candidate]:
    """Those with the greatest strength."""
    most = max((item.strength for item in found), default=0)
    return [item for item in found if item.strength == most]


def ambiguous(found: Sequence[Candidate], facts: Facts, shown: str = ".") -> ProjectError:
    """The error for several candidates of the same strength, with the line or the command that chooses each."""
    kinds = {item.kind for item in found}
    what = {frozenset({"predictor"}): "predictors", frozenset({"web"}): "web applications"}.get(
        frozenset(kinds), "things to run"
    )
    named = ", ".join(f"'{item.target or item.path}' in '{item.path}'" for item in found[:_SHOWN])
    named += ", …" if len(found) > _SHOWN else ""
    homes = [locate.home(facts.folder, item.file or item.path) for item in found]
    if not any(homes) and not locate.lists_requirements(facts.folder, ""):
        homes = [item.cwd if item.path.startswith(f"{item.cwd}/") else "" for item in found]
    if all(homes) and len(set(homes)) == len(homes):
        hint = f"name one of them: {locate.commands(shown, homes)}"
    else:
        hint = f"write one into {TABLE}: " + "  or  ".join(
            [item.line for item in found if item.line][:_SHOWN]
        )
    return ProjectError(f"the project has {len(found)} {what}: {named}", hint=hint)
