"""Finding programs that run until they are ended and listen on no port: bots, consumers of queues, schedulers, Celery."""

from __future__ import annotations

import ast
import itertools
import posixpath
from collections.abc import Iterator

from corten.lazy import regex
from corten.project.model import Command
from corten.project.recognize import behaviour, frameworks, ui_frameworks
from corten.project.recognize.candidates import APPLICATION, Candidate, Kind
from corten.project.recognize.facts import Facts
from corten.project.recognize.layout import Layout
from corten.project.recognize.order import WORKER_WORDS
from corten.project.recognize.places import NO_MODULE, SKIPPED
from corten.project.recognize.readings import LISTENING
from corten.project.recognize.running import Script
from corten.project.recognize.trees import assigned
from corten.project.recognize.webapps import run_command
from corten.project.syntax import Module

RUNNING = "running"
"""`ready`: it has run for some seconds."""
_BEST = APPLICATION - 6
"""Below applications, and so far above scripts that a web application which only keeps a bot alive is part of it."""
_CELERY = _BEST - 4
_USUAL = regex(r"(?i)(?:main|bot|app|run|worker|consumer|scheduler|start|index|__main__)\.py")
_MOST = 60
_LISTENS = regex(
    rb"\b(?:Flask|FastAPI|HTTPServer|run_app|start_http_server|start_webhook|run_webhook|uvicorn|Quart)\b"
)


def find(facts: Facts) -> list[Candidate]:
    """The workers, each with its command."""
    layout = Layout(facts.folder)
    found: list[Candidate] = []
    celery: list[Candidate] = []
    for module in itertools.islice(_modules(facts), _MOST):
        script = Script(module)
        name = _celery(script)
        if name:
            celery.append(_of_celery(module, name, facts, layout))
        one = behaviour.of_file(module.path, facts.folder, layout)
        if one is not None and one.kind == "worker" and _runs(script):
            found.append(_candidate(module, one, facts, layout))
    return found or celery[:1]


def kind_of_script(path: str, facts: Facts) -> tuple[Kind, str]:
    """What the script in `path` is that a file of another tool starts, and why; `command` where nothing says that it cannot be asked
    for anything."""
    layout = Layout(facts.folder)
    words = (*frameworks.WORDS, *LISTENING, *ui_frameworks.WORDS)
    for reached in layout.reached(path):
        source = facts.folder.data(reached) or b""
        if _LISTENS.search(source) or any(word in source for word in words):
            return "command", ""
    found = behaviour.of_file(path, facts.folder, layout)
    return (
        (found.kind, found.why)
        if found and found.kind in ("worker", "terminal", "desktop")
        else ("command", "")
    )


def _modules(facts: Facts) -> Iterator[Module]:
    folder = facts.folder
    for module in folder.modules(*WORKER_WORDS):
        above, name = posixpath.split(module.path)
        if not NO_MODULE.fullmatch(name) and not {part.lower() for part in above.split("/")} & SKIPPED:
            yield module
    using = {
        path
        for path in folder.files(".py")
        if any(word in (folder.data(path) or b"") for word in WORKER_WORDS)
    }
    for path in folder.files(".py"):
        # `main.py` that starts what another module of the project has.
        if (
            path not in using
            and "/" not in path
            and _USUAL.fullmatch(path)
            and Layout(folder).reached(path) & using
        ):
            entry = folder.module(path)
            if entry is not None:
                yield entry


def _runs(script: Script) -> bool:
    """Whether running the file does something: a module with classes and functions for others does not."""
    return script.starts_something or any(isinstance(node, ast.While) for node in script.statements)


def _candidate(module: Module, one: behaviour.Behaviour, facts: Facts, layout: Layout) -> Candidate:
    path = module.path
    place = layout.place(path)
    reached = layout.reached(path)
    listening = {other for other in reached if _LISTENS.search(facts.folder.data(other) or b"")}
    # Flask in a bot keeps it alive where only web applications are hosted. A scheduler or a queue's worker imports an application
    # that is served by itself.
    parts = reached if one.chats else reached - listening
    usual = _USUAL.fullmatch(posixpath.basename(path)) is not None
    return Candidate(
        "worker",
        Command(run_command(path, place, module)),
        path,
        f"'{path}' {one.why}",
        _BEST - (0 if usual else 1) - (2 if "/" in path.removeprefix("src/") else 0),
        cwd=place.cwd,
        env=place.env,
        ready=None if one.chats and listening else RUNNING,
        writable=True,
        target=path,
        covers=frozenset(parts) - {path},
    )


def _celery(script: Script) -> str:
    """The variable that is an application of Celery; empty where none is."""
    for node in script.module.tree.body:
        names, value = assigned(node)
        if (
            names
            and isinstance(value, ast.Call)
            and script.full(value.func) in ("celery.Celery", "celery.app.Celery")
        ):
            return names[0]
    return ""


def _of_celery(module: Module, name: str, facts: Facts, layout: Layout) -> Candidate:
    place = layout.place(module.path)
    target = place.name_of(module.path)
    shown = target if name in ("app", "celery", "application") else f"{target}:{name}"
    requires = () if any(one.partition("[")[0] == "celery" for one in facts.packages) else ("celery",)
    return Candidate(
        "worker",
        Command(("celery", "-A", shown, "worker", "--loglevel", "INFO")),
        module.path,
        f"'{module.path}' has the application '{name}' of Celery",
        _CELERY,
        cwd=place.cwd,
        requires=requires,
        reason="Celery is not among the dependencies" if requires else "",
        env=place.env,
        ready=RUNNING,
        target=shown,
    )
