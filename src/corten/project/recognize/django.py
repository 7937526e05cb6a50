"""Finding a Django project without `wsgi.py` and `asgi.py`: its own command serves it."""

from __future__ import annotations

import posixpath

from corten.project.model import Command
from corten.project.recognize.candidates import Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.places import ENTRY_FILES, strength


def find(facts: Facts) -> list[Candidate]:
    """Every `manage.py` that names its settings, with no entry file for servers below its folder."""
    folder = facts.folder
    found: list[Candidate] = []
    for path in folder.files("manage.py"):
        if posixpath.basename(path) != "manage.py" or b"DJANGO_SETTINGS_MODULE" not in (
            folder.data(path) or b""
        ):
            continue
        above = posixpath.dirname(path)
        entries = [
            entry
            for entry in folder.files(".py")
            if entry.startswith(f"{above}/" if above else "") and posixpath.basename(entry) in ENTRY_FILES
        ]
        if entries:
            continue
        argv = ("python", "manage.py", "runserver", "--noreload", "0.0.0.0:$PORT")
        note = f"'{path}' manages a Django project"
        found.append(
            Candidate("web", Command(argv), path, note, strength(path, folder), cwd=above, target=path)
        )
    return found
