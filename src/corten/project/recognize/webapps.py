"""Finding what of a project serves: web applications by any name and any factory, and files that start a server themselves."""

from __future__ import annotations

import ast
import posixpath
import re

from corten.lazy import regex
from corten.project import syntax
from corten.project.model import Command
from corten.project.recognize import servers
from corten.project.recognize.candidates import Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.layout import Layout, Place
from corten.project.recognize.places import ENTRY_FILES, strength, with_manage
from corten.project.recognize.reading import App, Reading, Start
from corten.project.recognize.readings import readings, reread
from corten.project.syntax import Module
from corten.values import replace

DASH_READY = "page:/_dash-layout"
"""What Dash answers when the application's layout could be made; its page is the same whatever the layout is."""
_MOST_LISTS = 20
_NAMES = ("app", "application", "api", "server", "asgi", "wsgi")


def find(facts: Facts) -> list[Candidate]:
    """The applications and files that serve, each with its command."""
    layout = Layout(facts.folder)
    found: list[Candidate] = []
    named: list[Candidate] = []
    for reading in readings(facts.folder, layout):
        texts = _by_text(reading, facts, layout)
        named += texts
        found += [] if texts else _of_module(reading, facts, layout)
    # Who starts an application by its name knows where it is imported from.
    paths = {item.path for item in named}
    return _one_door([*named, *(item for item in found if item.path not in paths)])


# --- what one module is ------------------------------------------------------------------------------------------


def _of_module(reading: Reading, facts: Facts, layout: Layout) -> list[Candidate]:
    module = reading.module
    own = bool(reading.apps or reading.factories)
    guarded = [start for start in reading.starts if start.guarded]
    unguarded = [start for start in reading.starts if not start.guarded]
    if reading.sockets and not _runs_sockets(module, facts):
        if reading.apps:
            return [_with_sockets(reading, facts, layout)]
        return []
    if unguarded and not own and all(start.target for start in unguarded) and _only_starts(module):
        return []  # another module has the application
    if any(not start.target for start in reading.starts) or unguarded or reading.lost:
        return [_itself(reading, layout, facts)]
    apps = _choice(reading, guarded)
    return [_served(app, reading, facts, layout) for app in apps]


def _choice(reading: Reading, guarded: list[Start]) -> list[App]:
    """The applications of one module that are served: one, where it can be told which."""
    by_origin: dict[int, App] = {}
    for name, app in reading.apps.items():
        known = by_origin.get(app.origin)
        better = known is None or (known.attribute and not app.attribute)
        if better or (known is not None and name in _NAMES and known.name not in _NAMES):
            by_origin[app.origin] = app
    for start in guarded:
        name = start.target.partition(":")[2] or start.target
        if name in reading.apps:
            return [by_origin[reading.apps[name].origin]]
        if name in reading.factories:
            return [reading.factories[name]]
        if name in reading.shared:
            # Imported where the file is run: its own module has it.
            top = reading.module.imports()
            return [replace(reading.shared[name], name=name)] if name in top else []
    by_origin = {origin: app for origin, app in by_origin.items() if origin not in reading.mounted}
    # What wraps another one comes after it.
    apps = [app for app in by_origin.values() if app.origin not in reading.wrapped]
    if apps:
        usual = [app for app in apps if app.name in _NAMES[:2]]
        return usual[:1] if usual else apps
    if reading.module.path.endswith(ENTRY_FILES):
        return _handed_on(reading)
    factories = [app for app in reading.factories.values() if app.alone]
    usual = [
        app
        for app in factories
        if app.name in ("create_app", "make_app", "get_app", "build_app", "app_factory")
    ]
    return usual[:1] or factories


def _handed_on(reading: Reading) -> list[App]:
    """What `wsgi.py` or `asgi.py` imports or gets from elsewhere under a usual name."""
    interface = "asgi" if reading.module.path.endswith("asgi.py") else "wsgi"
    names = reading.module.imports().keys() | {
        target.id
        for node in syntax.nodes(reading.module.tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for name in ("application", "app"):
        if name in reading.shared:
            return [replace(reading.shared[name], name=name)]
        if name in names:
            return [App(name, "asgi" if interface == "asgi" else "wsgi", 0)]
    return []


def _served(app: App, reading: Reading, facts: Facts, layout: Layout, given: str | None = None) -> Candidate:
    """The candidate for an application that a server imports."""
    path = reading.module.path
    if given is None and b"django" in (facts.folder.data(path) or b""):
        given = with_manage(path, facts.folder)
    place = layout.place(path, given)
    interface = "wsgi" if app.interface == "asgi" and _is_old_connexion(path, facts) else app.interface
    name = f"{app.name}.{app.attribute}" if app.attribute and not app.factory else app.name
    target = f"{place.name_of(path)}:{name}"
    served = servers.serve(
        interface,
        target,
        facts.packages,
        factory=app.factory,
        coroutine=app.factory and reading.is_coroutine(app.name),
        configured=facts.folder.has_file(posixpath.join(place.cwd, "gunicorn.conf.py")),
    )
    shown = f"{target}()" if app.factory else target
    kind = {"wsgi": "WSGI ", "asgi": "ASGI ", "aiohttp": "aiohttp ", "sanic": "Sanic "}.get(interface, "")
    note = f"'{path}' has the {kind}application '{shown}'"
    return Candidate(
        "web",
        Command(served.argv),
        path,
        note,
        strength(path, facts.folder),
        cwd=place.cwd,
        requires=(*served.requires, *_extras(path, served.argv[0], facts, layout)),
        reason=served.reason,
        env=place.env,
        ready=DASH_READY if _is_dash(app, reading) else None,
        target=shown,
        covers=layout.reached(path) - {path},
    )


_OLD_CONNEXION = regex(r"(?im)^[\s\"'-]*connexion\s*(?:\[[^\]\n]*\])?\s*(?:(?:==|~=|<=?)\s*2\b|<\s*3)")


def _is_old_connexion(path: str, facts: Facts) -> bool:
    """Whether the application is of Connexion before 3, which speaks WSGI."""
    if b"connexion" not in (facts.folder.data(path) or b""):
        return False
    files = [*facts.folder.files("requirements.txt")[:_MOST_LISTS], "pyproject.toml"]
    return any(_OLD_CONNEXION.search(facts.folder.text(file) or "") for file in files)


def _is_dash(app: App, reading: Reading) -> bool:
    """Whether an application is that of Dash, or the server below it."""
    calls = (node.func for node in syntax.nodes(reading.module.tree) if isinstance(node, ast.Call))
    return app.interface == "wsgi" and any(
        reading.full(call) in ("dash.Dash", "dash.dash.Dash") for call in calls
    )


def _by_text(reading: Reading, facts: Facts, layout: Layout) -> list[Candidate]:
    """`uvicorn.run("app.main:app")` in another file: the application there, imported from that file's folder."""
    path = reading.module.path
    targets = [start.target for start in reading.starts if start.guarded and ":" in start.target]
    if not targets or reading.lost or reading.apps or reading.factories:
        return []
    module_name, _, variable = targets[0].partition(":")
    for root in dict.fromkeys((posixpath.dirname(path), "", "src")):
        target = layout.path_of(module_name, root)
        module = facts.folder.module(target) if target and not target.endswith("/") else None
        if module is None or target == path:
            continue
        inner = reread(module)
        if inner is None:
            continue
        app = inner.apps.get(variable) or inner.factories.get(variable)
        if app is not None:
            return [_served(app, inner, facts, layout, root)]
    return []


def _itself(reading: Reading, layout: Layout, facts: Facts) -> Candidate:
    """The candidate for a file that is run itself."""
    path = reading.module.path
    place = layout.place(path)
    call = next((start.call for start in reading.starts), "")
    why = f"; '{reading.lost}' happens only where the file is run" if reading.lost else ""
    by = f" by '{call}'" if call else ""
    note = f"'{path}' starts a server{by}{why}"
    argv = run_command(path, place, facts.folder.module(path))
    return Candidate(
        "web",
        Command(argv),
        path,
        note,
        strength(path, facts.folder),
        cwd=place.cwd,
        env=place.env,
        requires=_extras(path, "", facts, layout),
        target=path,
        covers=layout.reached(path) - {path},
    )


def run_command(path: str, place: Place, module: Module | None) -> tuple[str, ...]:
    """How the script in `path` is run: as a file, or as a module where its imports need that."""
    relative = module is not None and any(
        isinstance(node, ast.ImportFrom) and node.level for node in syntax.nodes(module.tree)
    )
    above = posixpath.dirname(path)
    if relative or place.root not in (above, "", "src"):
        return ("python", "-m", place.name_of(path))
    return ("python", posixpath.relpath(path, place.cwd or "."))


def _only_starts(module: Module) -> bool:
    """Whether a module imports, and starts a server, and does nothing else."""
    allowed = (ast.Import, ast.ImportFrom)
    return all(
        isinstance(node, allowed)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Constant))
        or (isinstance(node, ast.If) and not node.orelse)
        for node in module.tree.body
    )


# --- SocketIO ----------------------------------------------------------------------------------------------------


def _runs_sockets(module: Module, facts: Facts) -> bool:
    """Whether `socketio.run` serves by itself: with Werkzeug's server it refuses to, unless it is told otherwise."""
    source = facts.folder.data(module.path) or b""
    return bool({"eventlet", "gevent"} & set(facts.packages)) or b"allow_unsafe_werkzeug" in source


def _with_sockets(reading: Reading, facts: Facts, layout: Layout) -> Candidate:
    """One worker with threads, as Flask-SocketIO's documentation has it for gunicorn."""
    app = _choice(reading, [])[0]
    found = _served(app, reading, facts, layout)
    argv = (*servers.GUNICORN, "--threads", "100", "--timeout", "0", found.target)
    needed = tuple(name for name in ("gunicorn", "simple-websocket") if name not in facts.packages)
    reason = "Flask-SocketIO needs a server for WebSockets"
    return replace(found, entry=Command(argv), requires=needed, reason=reason if needed else "")


# --- one of several ----------------------------------------------------------------------------------------------


def _one_door(candidates: list[Candidate]) -> list[Candidate]:
    """Of the two doors of one application (Django's `wsgi.py` and `asgi.py`), the one that there is a server for, else WSGI's."""
    by_folder: dict[str, list[Candidate]] = {}
    for item in candidates:
        if posixpath.basename(item.path) in ENTRY_FILES:
            by_folder.setdefault(posixpath.dirname(item.path), []).append(item)
    dropped: list[Candidate] = []
    for doors in by_folder.values():
        if len(doors) == 2:
            wsgi = sorted(doors, key=lambda item: item.path, reverse=True)
            kept = next((item for item in wsgi if not item.requires), wsgi[0])
            dropped += [item for item in doors if item is not kept]
    return [item for item in candidates if item not in dropped]


def _extras(path: str, server: str, facts: Facts, layout: Layout) -> tuple[str, ...]:
    """Packages that FastAPI and Starlette ask for when the code uses a feature, and that nobody imports."""
    packages = facts.packages
    if "fastapi[standard]" in packages or "fastapi[all]" in packages:
        return ()
    needed: list[str] = []
    for reached in sorted(layout.reached(path)):
        source = facts.folder.data(reached) or b""
        if re.search(rb"\bconnexion\.App\b|\bFlaskApp\b", source) and b"connexion" in source:
            there = {"flask", "connexion[flask]"} & set(packages)
            needed += [] if there or _is_old_connexion(reached, facts) else ["connexion[flask]"]
        if b"fastapi" not in source and b"starlette" not in source:
            continue
        if re.search(rb"\b(?:UploadFile|Form|File|OAuth2PasswordRequestForm)\b", source):
            needed.append("python-multipart")
        if b"Jinja2Templates" in source:
            needed.append("jinja2")
        if (
            server == "uvicorn"
            and re.search(rb"\bWebSocket\b", source)
            and "uvicorn[standard]" not in packages
        ):
            needed.append("websockets")
    return tuple(name for name in dict.fromkeys(needed) if name not in packages)
