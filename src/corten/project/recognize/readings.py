"""Which modules of a project are read for servers: those that name a framework, and those that use what these make."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator

from corten.project.recognize.folder import Folder
from corten.project.recognize.frameworks import WORDS
from corten.project.recognize.layout import Layout
from corten.project.recognize.places import ENTRY_FILES, NO_MODULE
from corten.project.recognize.reading import App, Reading
from corten.project.syntax import Module

LISTENING = (
    *(
        b"serve_forever",
        b"HTTPServer",
        b"run_app",
        b"uvicorn",
        b"grpc",
        b"websockets",
        b"cherrypy",
        b"tornado",
    ),
    *(b"start_server", b"waitress", b"pywsgi", b"make_server", b"SocketIO", b"http.server", b"socketserver"),
    *(b"make_wsgi_app", b"port="),
)
"""One of them is in the source of every module that starts a server."""
_MOST = 60
"""Modules that are read closely."""


def readings(folder: Folder, layout: Layout) -> list[Reading]:
    """What each of those modules does, in the order of the folder's files."""
    paths = [path for path in folder.files(".py") if not NO_MODULE.fullmatch(posixpath.basename(path))]
    likely = itertools.islice(folder.modules(*WORDS, *LISTENING, under=tuple(paths)), _MOST)
    done = {module.path: reading for module in likely if (reading := reread(module)) is not None}
    made = {
        (path, name): app
        for path, reading in done.items()
        for name, app in (*reading.factories.items(), *reading.apps.items())
    }
    for module in itertools.islice(_users(folder, paths, made, done), _MOST):
        shared = {
            local: made[where]
            for local, where in layout.bound(module).items()
            if where in made and where[0] != module.path
        }
        if shared and (reading := reread(module, shared)) is not None:
            done[module.path] = reading
    for path in paths:
        if posixpath.basename(path) in ENTRY_FILES and path not in done:
            entry = folder.module(path)
            if entry is not None and (reading := reread(entry)) is not None:
                done[path] = reading
    return [done[path] for path in paths if path in done]


def reread(module: Module, shared: dict[str, App] | None = None) -> Reading | None:
    """The reading of a module; None for one that is nested so deeply that nobody wrote it."""
    try:
        return Reading(module, shared)
    except RecursionError:
        return None


def _users(
    folder: Folder, paths: list[str], made: dict[tuple[str, str], App], done: dict[str, Reading]
) -> Iterator[Module]:
    """Modules that name an application or a factory of another one, and do something with it."""
    names = {name.encode() for _, name in made}
    for path in paths:
        data = folder.data(path)
        if data is None or not any(name in data for name in names):
            continue
        uses = b"run(" in data or b"Middleware" in data or any(name + b"(" in data for name in names)
        if path in done or uses or posixpath.basename(path) in ENTRY_FILES:
            module = folder.module(path)
            if module is not None:
                yield module
