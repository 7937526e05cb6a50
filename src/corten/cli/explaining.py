"""`corten doctor FOLDER`: what a project is, as Corten sees it. Nothing is built, fetched or written."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from corten.cli.building_notes import unused_notes
from corten.cli.context import Context
from corten.cli.terminal import size_text
from corten.errors import CortenError, UsageError
from corten.lazy import regex
from corten.lock.format import LOCK_NAME
from corten.project.load import absent_files, candidates, fetches, load, needs, passed_over
from corten.project.model import Command, Predictor, Project, SourceFiles
from corten.project.recognize.candidates import Candidate
from corten.runtime.doctor import Finding

_SHOWN = 6
_VALUE = regex(r"[\d.:]+|\$\{?\w+\}?|localhost|debug|info|warning|error|critical")
"""Values of options: ports, hosts, levels of logs."""


def explain(path: Path, context: Context) -> list[Finding]:
    """What was found, where, what would run, which files are used, what is missing and what must be set. What keeps `corten up` from
    working is `missing`."""
    try:
        project = load(path)
    except CortenError as error:
        return [Finding("project", "missing", error.message, error.hint)]
    found = [
        Finding("project", "ok", f"'{project.name}' in {project.root}"),
        *_what_runs(project, path),
        *_packages(project),
    ]
    try:
        from corten.project.files import scan

        found += _files(project, scan(project, context.store.root))
    except CortenError as error:
        found.append(Finding("files", "missing", error.message, error.hint))
    found += [
        Finding(
            "needs",
            "limited",
            line.removeprefix("needs "),
            "give it to 'corten up' by -e or --env-file, or run it beside"
            if line.startswith("needs ") and ": " not in line
            else None,
        )
        for line in [
            *needs(project, reaches=project.network != "none"),
            *fetches(project, reaches=project.network != "none", locked=_locked(project)),
        ]
    ]
    found += [Finding("file", "limited", item.line, item.hint) for item in absent_files(project)]
    found.append(_lock(project))
    if not any(item.verdict == "missing" for item in found):
        found.append(
            Finding(
                "next",
                "ok",
                f"corten up{'' if path in (Path(), Path('.')) else f' {shlex.quote(str(path))}'}",
            )
        )
    return found


def _what_runs(project: Project, path: Path) -> list[Finding]:
    from corten.cli.serving_options import check_served

    entry = project.entry
    note = project.notes[0] if project.notes and project.source else ""
    found = [Finding("found", "ok", note)] if note else []
    if isinstance(entry, Predictor):
        found.append(Finding("runs", "ok", f"Corten's model server, with {', '.join(entry.targets)}"))
    elif isinstance(entry, Command):
        place = f", in {project.workdir}" if project.workdir != "/app" else ""
        found.append(Finding("runs", "ok", f"{' '.join(entry.argv)}{place}"))
    try:
        check_served(project, path)
    except UsageError as error:
        found.append(Finding("serves", "missing", error.message, error.hint))
    for item in candidates(project):
        if item.path != project.source and item.note and not _is_taken(item, project):
            line = f"{item.line} in [tool.corten] would choose it" if item.line else None
            found.append(Finding("also there", "limited", item.note, line))
    if project.env:
        found.append(
            Finding("variables", "ok", ", ".join(f"{key}={value}" for key, value in project.env.items()))
        )
    return found


def _is_taken(item: Candidate, project: Project) -> bool:
    """Whether the candidate is what runs anyway: it starts the same, perhaps with other options."""
    if f"/app/{item.cwd}".rstrip("/") != project.workdir:
        return False
    if not isinstance(item.entry, Command) or not isinstance(project.entry, Command):
        return item.entry is not None and item.entry == project.entry
    if item.entry.argv == project.entry.argv:
        return True
    words = [word for word in item.entry.argv[1:] if not word.startswith("-") and not _VALUE.fullmatch(word)]
    return (
        bool(item.source and words)
        and item.entry.argv[0] == project.entry.argv[0]
        and {*words} <= {*project.entry.argv}
    )


def _packages(project: Project) -> list[Finding]:
    others = project.notes[1:] if project.source else project.notes
    found = [Finding("dependencies", "ok", note) for note in others if note not in project.taken]
    from corten.lock.inputs import repair_notes

    try:
        found += [Finding("dependencies", "ok", note) for note in repair_notes(project)]
    except CortenError as error:
        found.append(Finding("dependencies", "missing", error.message, error.hint))
    found += [Finding("taken over", "ok", line) for line in project.taken if line not in project.notes[:1]]
    reasons: dict[str, list[str]] = {}
    for item in project.implied:
        reasons.setdefault(item.reason, []).append(item.requirement)
    found += [Finding("adds", "ok", f"{', '.join(names)}: {reason}") for reason, names in reasons.items()]
    found += [
        Finding(
            "unlisted",
            "limited",
            f"{item.requirement}: {item.reason}",
            "add it to the dependencies, if the build does not",
        )
        for item in project.unlisted
    ]
    if project.unknown:
        found.append(
            Finding(
                "unlisted",
                "limited",
                f"it is not known which package has {_listed(project.unknown)}",
                "write it into a requirements.txt, with the others",
            )
        )
    found += [Finding("not read", "limited", line) for line in unused_notes(project)]
    base = f"{project.base}, Python {project.python}" if project.python else project.base
    found.append(Finding("base", "ok", base))
    if project.unmet is not None:
        verdict = "missing" if project.unmet.fatal else "limited"
        found.append(
            Finding(
                "Python",
                "missing" if verdict == "missing" else "limited",
                project.unmet.message,
                project.unmet.hint,
            )
        )
    if project.system:
        found.append(Finding("Debian packages", "ok", ", ".join(project.system)))
    found += _scripts(project)
    return found


def _scripts(project: Project) -> list[Finding]:
    """Which Debian packages of the lock are configured by their own scripts, and whether this user can do that."""
    from corten.lock.format import read_lock
    from corten.lock.scripts import said
    from corten.runtime.identity import current_identity

    try:
        parts = read_lock(project.root / "corten.lock").platforms
    except CortenError:
        return []
    packages = sorted({part.unclear for part in parts if part.unclear})
    able = not packages or current_identity().kind != "single"
    return [
        Finding(
            "Debian packages",
            "limited" if able else "missing",
            said(text),
            None
            if able
            else "build as root, or give this user subordinate IDs (as root: apt install uidmap; "
            "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER)",
        )
        for text in packages
    ]


def _files(project: Project, files: SourceFiles) -> list[Finding]:
    size = sum(file.size for file in files.code)
    found = [Finding("files", "ok", f"{len(files.code)} files in the image, {size_text(size)}")]
    if files.weights:
        size = sum(file.size for file in files.weights)
        names = _listed([file.path for file in files.weights])
        found.append(Finding("weights", "ok", f"{names}, {size_text(size)}"))
    secret, docker = set(files.secrets), set(files.by_docker)
    rest = [path for path in files.left_out if path not in secret and path not in docker]
    for paths, why in (
        (files.secrets, "they may hold secrets"),
        (files.by_docker, "'.dockerignore' names them"),
        (rest, "by an ignore file or by default"),
    ):
        if paths:
            found.append(Finding("left out", "ok", f"{_listed(paths)}: {why}"))
    if files.in_ignored:
        found.append(
            Finding(
                "left out",
                "limited",
                f"{_listed(files.in_ignored)}, in folders that git ignores",
                f"models = [{files.in_ignored[0]!r}] in [tool.corten] brings them into the image".replace(
                    "'", '"'
                ),
            )
        )
    if folders := passed_over(project):
        found.append(Finding("not looked into", "limited", f"{_listed(folders)}: too many files to be code"))
    if files.missing:
        found.append(
            Finding(
                "models",
                "missing",
                f"{_listed(files.missing)} in 'models' of [tool.corten] match nothing",
                "train or fetch them first, or correct the names",
            )
        )
    return found


def _locked(project: Project) -> tuple[str, ...]:
    """The models of a hub that the lock has."""
    from corten.lock.format import read_lock

    try:
        return tuple(model.name for model in read_lock(project.root / LOCK_NAME).models)
    except CortenError:
        return ()


def _lock(project: Project) -> Finding:
    from corten.lock.format import read_lock
    from corten.lock.inputs import inputs_digest

    try:
        if not os.path.lexists(project.root / LOCK_NAME):
            return Finding("lock", "ok", f"no {LOCK_NAME} yet: the first build makes it")
        if read_lock(project.root / LOCK_NAME).project != inputs_digest(project):
            return Finding(
                "lock",
                "ok",
                f"{LOCK_NAME} does not belong to the dependencies any more: the next build renews it",
            )
        return Finding("lock", "ok", f"{LOCK_NAME} is up to date")
    except CortenError as error:
        return Finding("lock", "limited", error.message, error.hint)


def _listed(paths: Iterable[str]) -> str:
    every = list(paths)
    shown = ", ".join(f"'{path}'" for path in every[:_SHOWN])
    return f"{shown} and {len(every) - _SHOWN} more" if len(every) > _SHOWN else shown
