"""A Django project whose database of SQLite is not in its folder: its pages answer, and what reads a table fails until it is made."""

from __future__ import annotations

import posixpath
import re

from corten.lazy import regex
from corten.project.model import Command, Project
from corten.project.recognize.folder import Folder

_ENGINE = regex(r"django\.db\.backends\.sqlite3")
_FILE = regex(r"['\"]((?:[\w.-]{1,60}/){0,3}[\w.-]{1,60}\.(?:sqlite3?|db))['\"]")
_DJANGO = regex(r"(?:wsgi|asgi)(?::|$|\b)|manage\.py")
_MOST = 20


def line(folder: Folder, project: Project) -> str | None:
    """What to say about it before the start; None where there is nothing to say."""
    entry = project.entry
    if not isinstance(entry, Command) or not any(_DJANGO.search(word) for word in entry.argv):
        return None
    below = project.workdir.removeprefix("/app").strip("/")
    managers = [path for path in folder.files("manage.py") if posixpath.basename(path) == "manage.py"]
    manager = next((path for path in managers if posixpath.dirname(path) == below), None)
    if manager is None or _makes_them(folder, entry, below):
        return None
    start = f"{below}/" if below else ""
    there = {posixpath.basename(path) for path in folder.files()}
    for path in [path for path in folder.files(".py") if path.startswith(start) and "settings" in path][
        :_MOST
    ]:
        text = folder.text(path) or ""
        if not _ENGINE.search(text):
            continue
        names = [posixpath.basename(name) for name in _FILE.findall(text) if not name.startswith("django.")]
        if not names or any(name in there for name in names):
            return None
        return (
            f"Django's database '{names[0]}' ('{path}') is not in the project: once it runs, "
            "'corten exec NAME python manage.py migrate' makes its tables"
        )
    return None


def _makes_them(folder: Folder, entry: Command, below: str) -> bool:
    """Whether the command makes the tables itself."""
    words = " ".join(entry.argv)
    texts = [words]
    for word in re.findall(r"[\w./-]+\.sh\b", words):
        texts += [folder.text(posixpath.normpath(posixpath.join(place, word))) or "" for place in {below, ""}]
    return any("migrate" in text for text in texts)
