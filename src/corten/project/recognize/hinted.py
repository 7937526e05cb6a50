"""Commands that files of other tools give: Procfile, Dockerfile, compose.yaml, … (`corten.project.hints`)."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from corten.project.hints.sources import strength_of
from corten.project.model import Command
from corten.project.recognize.candidates import Candidate, Kind
from corten.project.recognize.facts import Facts
from corten.values import replace

if TYPE_CHECKING:
    from corten.project.hints.take import Service

_WEAKER = ("launch", "scripts", "Makefile", "README")
"""Sources that stand below what the code says."""
WORKER = 45
"""A process type of a Procfile without `web:`; an application in the code is stronger."""


def procfile_read(facts: Facts) -> list[Candidate]:
    """The command of `web:`, else the worker of a Procfile."""
    found = _of(facts, "Procfile")
    if not found and facts.hints.of("Procfile"):
        from corten.project.hints import take

        found = [
            _candidate(facts, service, "Procfile", WORKER, "worker")
            for service in take.workers(facts.hints, facts.scripts, facts.packages)
        ]
    return found


def docker_read(facts: Facts) -> list[Candidate]:
    """The command of a Dockerfile's last stage."""
    return _of(facts, "Dockerfile")


def compose_read(facts: Facts) -> list[Candidate]:
    """The command of each service that is built from the project."""
    return _of(facts, "compose")


def editors_read_devcontainer(facts: Facts) -> list[Candidate]:
    """What a development container starts when somebody attaches."""
    return _of(facts, "devcontainer")


def editors_read_launch(facts: Facts) -> list[Candidate]:
    """The program that VS Code starts."""
    return _of(facts, "launch")


def tool_scripts_read(facts: Facts) -> list[Candidate]:
    """A script of a tool's in pyproject.toml."""
    return _of(facts, "scripts")


def makefile_read(facts: Facts) -> list[Candidate]:
    """The target of a Makefile that starts the project."""
    return _of(facts, "Makefile")


def readme_read(facts: Facts) -> list[Candidate]:
    """The command that a README shows."""
    return _of(facts, "README")


def named(facts: Facts, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The one of `candidates`, found in the code, that the first of the weaker sources starts which starts one alone; empty
    where none does."""
    if any(item.source for item in candidates):
        return []
    paths = {item.path for item in candidates}
    for source in _WEAKER:
        found = _starting(facts, source, paths)
        if len(found) == 1:
            path, service = found.popitem()
            return [
                replace(item, note=f"{item.note}; {service.hint.place} starts it")
                for item in candidates
                if item.path == path
            ]
    return []


def as_started(facts: Facts, candidate: Candidate) -> Candidate:
    """`candidate`; where it runs a file of the code as a script, by the command that starts that file in an editor's file, a
    Makefile or the README: with its folder and arguments."""
    entry = candidate.entry
    if candidate.source or not isinstance(entry, Command) or entry.argv[0] != "python":
        return candidate
    for source in _WEAKER:
        found = _starting(facts, source, {candidate.path})
        if found:
            hinted = _candidate(facts, found[candidate.path], source, candidate.strength)
            return replace(
                candidate,
                entry=hinted.entry,
                cwd=hinted.cwd,
                env={**candidate.env, **hinted.env},
                note=f"{candidate.note}; {hinted.note}",
            )
    return candidate


def _starting(facts: Facts, source: str, paths: Collection[str]) -> dict[str, Service]:
    if not facts.hints.of(source):
        return {}
    from corten.project.hints import take

    return take.starting(facts.hints, source, paths, tuple(facts.scripts))


def _of(facts: Facts, source: str) -> list[Candidate]:
    if not any(hint.key in ("command", "worker") for hint in facts.hints.of(source)):
        return []
    from corten.project.hints import take

    found = take.services(facts.hints, source, facts.scripts, facts.packages)
    return [_candidate(facts, service, source, strength_of(source)) for service in found]


def _candidate(
    facts: Facts, service: Service, source: str, strength: int, kind: Kind = "command"
) -> Candidate:
    """A script is served because a file says so, but for one that trains, by its name."""
    from corten.project.hints import take

    hint = service.hint
    assert not isinstance(hint.value, str)
    if service.program.starts in ("web", "ui", "worker"):
        kind = service.program.starts
    elif take.is_training(service) and source != "Procfile":
        kind = "script"
    changed = f" ({hint.note})" if hint.note else ""
    argv, cwd, env = _placed(facts, service)
    place = f" in '{cwd}'" if cwd else ""
    return Candidate(
        kind,
        Command(argv),
        hint.source,
        f"command from {hint.place}{changed}{place}: {take.shown(argv)}",
        strength,
        cwd=cwd,
        requires=service.requires,
        reason=f"the command from {hint.place} runs it",
        env=env,
        source=source,
        file=service.program.file or (f"{hint.folder}/." if hint.folder else ""),
        target=hint.name or " ".join(hint.value),
    )


def _placed(facts: Facts, service: Service) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """The command, its working directory and its variables. Where a Dockerfile puts several folders of the project into one, it is
    the folder in which the files are that the code names; imports count from the command's own all the same."""
    hint = service.hint
    assert not isinstance(hint.value, str)
    env = dict(hint.env)
    if not hint.others or not service.program.file or hint.value[:2] == ("/bin/sh", "-c"):
        return hint.value, hint.folder, env
    from corten.project.recognize.layout import Layout

    place = Layout(facts.folder).place(service.program.file, hint.folder)
    if place.cwd == hint.folder or place.cwd not in hint.others:
        return hint.value, hint.folder, env

    def moved(word: str) -> str:
        path = posixpath.normpath(posixpath.join(hint.folder, word))
        if word.startswith(("-", "/")) or not facts.folder.has_file(path):
            return word
        return posixpath.relpath(path, place.cwd or ".")

    return tuple(map(moved, hint.value)), place.cwd, {**place.env, **env}
