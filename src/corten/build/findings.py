"""What a build says of secrets in the project's own files and settings: which logins it took out of files, and what looks like
a private key or a token and is in the image.

Files are read when they have changed. Of what was read are remembered paths, lines and kinds, never what was found.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten.build.project_layers import memory_of
from corten.build.sources import is_settled, stamp, stamps
from corten.errors import BuildError
from corten.oci.digest import Digest
from corten.project.model import Command, Project, SourceFile, SourceFiles
from corten.store.disk import write_atomically
from corten.store.store import Store
from corten.values import dataclass

_VERSION = 1
_PYPROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Place:
    """Line `line` of the file `path` has what looks like a `kind`; 0: the file as a whole."""

    path: str
    line: int
    kind: str


@dataclass(frozen=True, slots=True)
class Findings:
    """`leaks` are in the image; `logins` were taken out of it, each as its file and line."""

    leaks: tuple[Place, ...] = ()
    logins: tuple[tuple[str, int], ...] = ()


def examine(project: Project, files: SourceFiles, store: Store, state: Digest | None = None) -> Findings:
    """Look at the code and the settings of `project`; at nothing but its stamps where they are as they were (`state`, where
    somebody has them)."""
    memory = memory_of(store, project, "secrets")
    settings = [project.env, project.labels, _words(project), project.allow_secrets]
    whole = Digest.of(json.dumps([_VERSION, state or stamps(files.code), settings]).encode())
    remembered = _read(memory)
    if remembered is not None and remembered[0] == whole:
        with suppress(TypeError, ValueError):
            return Findings(
                tuple(Place(str(path), int(line), str(kind)) for path, line, kind in remembered[1]),
                tuple((str(path), int(line)) for path, line in remembered[2]),
            )
    read_at = time.time_ns()
    found = _look(project, files.code, store, read_at)
    if all(is_settled(file, read_at) for file in files.code):
        leaks = [[place.path, place.line, place.kind] for place in found.leaks]
        _write(memory, [whole, leaks, found.logins])
    return found


def _look(project: Project, files: Sequence[SourceFile], store: Store, read_at: int) -> Findings:
    """What the files and the settings have; files that are as they were are not read."""
    from corten.project import leaks
    from corten.project.patterns import Rules

    memory = memory_of(store, project, "secrets-by-file")
    known = _read(memory)
    before = known[1] if known is not None and known[0] == leaks.VERSION else {}
    if not isinstance(before, dict):
        before = {}
    after: dict[str, Any] = {}
    allowed = Rules(project.allow_secrets)
    places: dict[tuple[str, int], Place] = {}
    logins: list[tuple[str, int]] = []
    for file in files:
        if file.link is not None:
            continue
        entry = _entry(before.get(file.path), file)
        if entry is None:
            try:
                entry = _examined(project, file)
            except BuildError:
                continue  # it is gone, after the image was made
        if is_settled(file, read_at):
            after[file.path] = entry
        logins += [(file.path, line) for line in entry[2]]
        if not _is_allowed(allowed, file.path):
            for line, kind in entry[1]:
                places[file.path, line] = Place(file.path, line, kind)
    settings = [] if _is_allowed(allowed, _PYPROJECT) else _in_settings(project)
    for place in settings:
        # It says more of the line than what the file as such has there.
        places.pop((place.path, place.line), None)
    found = sorted([*places.values(), *settings], key=lambda place: (place.path, place.line, place.kind))
    _write(memory, [leaks.VERSION, after])
    return Findings(tuple(found), tuple(logins))


def _examined(project: Project, file: SourceFile) -> list[Any]:
    from corten.build.sources import in_image
    from corten.project.leaks import find

    data, lines = in_image(project.root / file.path, file.path)
    return [stamp(file), [[leak.line, leak.kind] for leak in find(data)], list(lines)]


def _entry(remembered: Any, file: SourceFile) -> list[Any] | None:
    """What is remembered of the file, where it is that file still."""
    if isinstance(remembered, list) and len(remembered) == 3 and remembered[0] == stamp(file):
        return remembered
    return None


def _is_allowed(rules: Any, path: str) -> bool:
    """Whether a rule names the file, or a folder that it is in."""
    parts = path.split("/")
    return any(
        rules.verdict(part, "/".join(parts[: end + 1]), end < len(parts) - 1)
        for end, part in enumerate(parts)
    )


def _words(project: Project) -> tuple[str, ...]:
    return project.entry.argv if isinstance(project.entry, Command) else ()


def _in_settings(project: Project) -> list[Place]:
    """What the image's variables, labels and command look like, with the lines that they are written in."""
    from corten.project.leaks import find, is_allowed, of_variable

    said = [("variable", "env", name, of_variable(name, value)) for name, value in project.env.items()]
    for name, value in project.labels.items():
        kinds = [leak.kind for leak in find(value.encode(errors="replace"))]
        said.append(("label", "labels", name, kinds[0] if kinds else None))
    for word in _words(project):
        kinds = [leak.kind for leak in find(word.encode(errors="replace"))]
        said.append(
            ("word", "command", word.partition("=")[0][:20] if kinds else "", kinds[0] if kinds else None)
        )
    found = [item for item in said if item[3] is not None]
    if not found:
        return []
    try:
        lines = (project.root / _PYPROJECT).read_bytes().split(b"\n")
    except OSError:
        lines = []
    places = []
    for what, key, name, kind in found:
        wanted = key if what == "word" else name
        number = next((n for n, line in enumerate(lines, 1) if wanted.encode() in line), 0)
        if number and is_allowed(b"\n".join(lines), number):
            continue
        of = "'command'" if what == "word" else f"'{name}' of '{key}'"
        places.append(Place(_PYPROJECT, number, f"{kind} in {of}"))
    return places


def _write(path: Path, remembered: list[Any]) -> None:
    # The image is complete: it must not fail over what makes the next build faster.
    with suppress(OSError):
        write_atomically(path, json.dumps(remembered).encode(), 0o600)


def _read(path: Path) -> list[Any] | None:
    with suppress(OSError, ValueError):
        with open(path, "rb") as file:
            found = json.load(file)
        return found if isinstance(found, list) and len(found) in (2, 3) else None
    return None
