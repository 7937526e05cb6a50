"""Where a project's own applications lie: usual names, and folders whose files are something else."""

from __future__ import annotations

import posixpath

from corten.lazy import regex
from corten.project.recognize.candidates import APPLICATION
from corten.project.recognize.folder import Folder

ENTRY_FILES = ("wsgi.py", "asgi.py")
"""Files whose purpose it is to have the application."""
USUAL = frozenset(
    [
        *("app.py", "main.py", "application.py", "server.py", "serve.py", "api.py", "web.py", "__init__.py"),
        *("run.py", "index.py", "webapp.py", "service.py", "manage.py", *ENTRY_FILES),
    ]
)
SKIPPED = frozenset(
    [
        *(
            "tests",
            "test",
            "testing",
            "docs",
            "doc",
            "examples",
            "example",
            "scripts",
            "notebooks",
            "benchmarks",
        ),
        *(
            "node_modules",
            "venv",
            "env",
            "build",
            "dist",
            "site-packages",
            "migrations",
            "tutorials",
            "demos",
        ),
        *("old", "archive", "archived", "backup", "deprecated", "legacy", "templates", "static"),
    ]
)
"""Folders in which an application is not the project's own; one there is taken where nothing else is found."""
NO_MODULE = regex(r"(?:setup|conftest|noxfile|fabfile|locustfile|test_.*|.*_tests?|gunicorn.*)\.py")
_LEFTOVER = regex(r"(?i).*(?:old|copy|backup|bak|example|sample|demo|test|[_-]?v?\d+)\.py")


def strength(path: str, folder: Folder) -> int:
    """How likely an application in `path` is what the project is about."""
    *above, name = path.removeprefix("src/").split("/")
    if any(part.lower() in SKIPPED or part.startswith((".", "_")) for part in above):
        return APPLICATION - 20
    found = APPLICATION
    if name in ENTRY_FILES:
        found += 1
    elif _LEFTOVER.fullmatch(name):
        found -= 3
    elif name not in USUAL:
        found -= 1
    is_package = bool(above) and folder.has_file(posixpath.join(posixpath.dirname(path), "__init__.py"))
    return found - (0 if not above or (len(above) == 1 and is_package) else 4)


def with_manage(path: str, folder: Folder) -> str | None:
    """The nearest folder above `path` with a `manage.py`: what Django's modules are imported from."""
    above = posixpath.dirname(path)
    while above:
        above = posixpath.dirname(above)
        if folder.has_file(posixpath.join(above, "manage.py")):
            return above
    return None
