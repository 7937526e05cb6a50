"""What a build says of the project's files: what is not in the image, what is another in it, and what should not be in it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from corten.build.findings import Findings
from corten.errors import ProjectError
from corten.events import Note, Observer, Warned
from corten.project.lfs import pointers
from corten.project.model import Project, SourceFiles

_SHOWN = 4


def tell_left_out(project: Project, files: SourceFiles, observe: Observer) -> None:
    """What of the project is not in the image: in a line what a user may not expect, and all of it with -v."""
    for path in files.left_out:
        observe(Note(f"left out: {path}", verbose=True))
    for name in files.unread:
        observe(Note(f"'{name}' is not read: '.cortenignore' is in its place"))
    for paths, why in ((files.secrets, "may hold secrets"), (files.by_docker, "'.dockerignore' names")):
        if paths:
            shown = ", ".join(f"'{path}'" for path in paths[:_SHOWN])
            more = f" and {len(paths) - _SHOWN} more (-v lists them)" if len(paths) > _SHOWN else ""
            observe(Note(f"left out {len(paths)} that {why}: {shown}{more}"))
    for path in files.brought:
        if path in project.allow_secrets:
            continue
        observe(
            Warned(
                f"'{path}' may hold secrets, and goes into the image because the project says so",
                "everybody who has the image can read it; mount it when the container runs: -v FILE:/run/secrets/NAME:ro",
            )
        )


def tell_implied(project: Project, observe: Observer) -> None:
    """What was found to run, what files of other tools gave, and what a lock of `project` gets beyond what the project writes: one line
    for each reason."""
    if project.source and project.notes[0] not in project.taken:
        observe(Note(project.notes[0]))
    for line in project.taken:
        observe(Note(line))
    by_reason: dict[str, list[str]] = {}
    for item in project.implied:
        by_reason.setdefault(item.reason, []).append(item.requirement)
    for reason, requirements in by_reason.items():
        observe(Note(f"adds {', '.join(requirements)}: {reason}"))
    for line in unused_notes(project):
        observe(Note(line))
    if project.unknown:
        observe(
            Warned(
                f"no file that Corten reads lists the dependencies, and it is not known which package has {_listed(project.unknown, observe)}",
                "write it into a requirements.txt, with the others: 'corten init' starts one",
            )
        )


def unused_notes(project: Project) -> list[str]:
    """The files with dependencies that are not read, in words: those for development with how to have them."""
    from corten.project.dependencies import group_files

    unused = list(project.unused)
    found = []
    if project.dependencies.kind == "requirements" and unused:
        groups = {
            name: [file for file in files if file in unused]
            for name, files in group_files(project.root).items()
        }
        groups = {name: files for name, files in groups.items() if files}
        development = [file for files in groups.values() for file in files]
        unused = [name for name in unused if name not in development]
        if groups:
            name = "dev" if "dev" in groups else min(groups)
            shell = "corten shell" if name == "dev" else f"corten shell --group {name}"
            is_one = len(development) == 1
            found.append(
                f"{_some(development)} {'is' if is_one else 'are'} for development and not installed: '{shell}' has "
                f'{"it" if is_one else "a group of them"}, and groups = ["{name}"] in [tool.corten] adds it to the image'
            )
    if unused:
        read = ", ".join(f"'{os.path.relpath(path, project.root)}'" for path in project.dependencies.files)
        beside = f": {read} is" if len(project.dependencies.files) == 1 else f": {read} are" if read else ""
        found.append(f"dependencies in {_some(unused)} are not read{beside}")
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more


def tell_pointers(project: Project, files: SourceFiles, observe: Observer, *, refuse: bool) -> None:
    """Files that Git LFS has and this folder has not. Raises ProjectError for one that the project declares as a model, with
    `refuse`."""
    found = pointers(project.root, (*files.weights, *files.code))
    if not found:
        return
    declared = [path for path in found if path in project.models]
    shown = ", ".join(f"'{path}'" for path in (declared or found)[:_SHOWN])
    hint = "fetch them first: git lfs pull"
    if declared and refuse:
        raise ProjectError(f"only a pointer of Git LFS is in the place of {shown}", hint=hint)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN and not declared else ""
    observe(Warned(f"only pointers of Git LFS are in the place of {shown}{more}", hint))


def tell_findings(found: Findings, observe: Observer) -> None:
    """What of the project is another in the image, and what it should not have."""
    if found.logins:
        places = _listed([f"'{path}' line {line}" for path, line in found.logins], observe)
        observe(Note(f"the image has these without their logins: {places}"))
    if found.leaks:
        places = _listed(
            [
                f"'{leak.path}'{f' line {leak.line}' if leak.line else ''} ({leak.kind})"
                for leak in found.leaks
            ],
            observe,
        )
        observe(
            Warned(
                f"what looks like a secret is in the image: {places}",
                "everybody who has the image can read it: give it to the container when it runs, by -e or a file; what is no secret has "
                "'# pragma: allowlist secret' in its line, or its file is named in `allow-secrets` of [tool.corten]",
            )
        )


def _listed(texts: Sequence[str], observe: Observer) -> str:
    if len(texts) <= _SHOWN:
        return ", ".join(texts)
    for text in texts:
        observe(Note(f"  {text}", verbose=True))
    return f"{', '.join(texts[:_SHOWN])} and {len(texts) - _SHOWN} more (-v lists them)"
