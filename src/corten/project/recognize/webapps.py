"""Finding a project's web application (WSGI or ASGI) and the command that serves it on `$PORT`."""

from __future__ import annotations

import ast
import os
from collections.abc import Collection, Iterator
from typing import Literal

from corten.errors import ProjectError
from corten.project import syntax
from corten.project.kinds import TABLE
from corten.project.model import Command
from corten.project.recognize.candidates import APPLICATION, Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.folder import Folder
from corten.project.syntax import Module
from corten.values import dataclass

Interface = Literal["wsgi", "asgi"]

FRAMEWORKS: dict[str, Interface] = {
    "flask.Flask": "wsgi",
    "flask.app.Flask": "wsgi",
    "bottle.Bottle": "wsgi",
    "falcon.App": "wsgi",
    "django.core.wsgi.get_wsgi_application": "wsgi",
    "fastapi.FastAPI": "asgi",
    "fastapi.applications.FastAPI": "asgi",
    "starlette.applications.Starlette": "asgi",
    "quart.Quart": "asgi",
    "litestar.Litestar": "asgi",
    "falcon.asgi.App": "asgi",
    "django.core.asgi.get_asgi_application": "asgi",
}
"""What makes an application when it is called."""

_ANY = "0.0.0.0"  # noqa: S104 -- the container's own interfaces: what leaves it is decided outside
_SERVERS: dict[Interface, dict[str, tuple[str, ...]]] = {
    "wsgi": {
        "gunicorn": ("gunicorn", "--bind", f"{_ANY}:$PORT"),
        "waitress": ("waitress-serve", "--host", _ANY, "--port", "$PORT"),
        "hypercorn": ("hypercorn", "--bind", f"{_ANY}:$PORT"),
        "granian": ("granian", "--interface", "wsgi", "--host", _ANY, "--port", "$PORT"),
    },
    "asgi": {
        "uvicorn": ("uvicorn", "--host", _ANY, "--port", "$PORT"),
        "hypercorn": ("hypercorn", "--bind", f"{_ANY}:$PORT"),
        "granian": ("granian", "--interface", "asgi", "--host", _ANY, "--port", "$PORT"),
        "daphne": ("daphne", "--bind", _ANY, "--port", "$PORT"),
    },
}
"""Servers by interface, in the order in which they are taken when several are among the dependencies."""

_BUNDLED = {"fastapi[standard]": "uvicorn", "fastapi[all]": "uvicorn", "uvicorn[standard]": "uvicorn"}
_ENTRY_FILES = ("wsgi.py", "asgi.py")
_FILES = ("app.py", "main.py", "application.py", "server.py", "serve.py", "api.py", "web.py", "__init__.py")
_WORDS = tuple({name.rsplit(".", 1)[1].encode() for name in FRAMEWORKS})
_FACTORIES = ("create_app", "make_app")
_SKIPPED = {
    "tests",
    "test",
    "docs",
    "examples",
    "scripts",
    "node_modules",
    "notebooks",
    "venv",
    "env",
    "build",
    "dist",
}


@dataclass(frozen=True, slots=True)
class WebApp:
    """`module:variable`, or `module:function()` for a factory."""

    target: str
    interface: Interface
    path: str


def find(facts: Facts) -> list[Candidate]:
    """The applications, each with the command that serves it. Raises ProjectError where no server for one is among the
    dependencies."""
    apps = _served(_applications(facts.folder), facts)
    found = []
    for app in apps:
        try:
            argv = command(app, facts.packages)
        except ProjectError:
            if len(apps) == 1:
                raise
            argv = ("gunicorn" if app.interface == "wsgi" else "uvicorn", app.target)
        note = f"'{app.path}' has the {app.interface.upper()} application '{app.target}'"
        found.append(Candidate("web", Command(argv), app.path, note, APPLICATION, target=app.target))
    return found


def _served(apps: list[WebApp], facts: Facts) -> list[WebApp]:
    """Of the two doors of one application (Django's `wsgi.py` and `asgi.py`), the one that there is a server for."""
    folders = {os.path.dirname(app.path) for app in apps}
    if len(apps) == 2 and len(folders) == 1 and {app.interface for app in apps} == {"wsgi", "asgi"}:
        for app in sorted(apps, key=lambda app: app.interface, reverse=True):
            try:
                command(app, facts.packages)
            except ProjectError:
                continue
            return [app]
        return apps[:1]
    return apps


def _applications(folder: Folder) -> list[WebApp]:
    """Every application in the usual files of the project's folder, of `src`, and of the packages in them. Those in
    `wsgi.py` and `asgi.py`, whose purpose it is, win over others."""
    found: list[WebApp] = []
    entries: list[WebApp] = []
    for module in folder.modules(*_WORDS, b"app", under=tuple(_usual(folder))):
        apps = list(_in(module))
        if os.path.basename(module.path) in _ENTRY_FILES:
            entries += apps or list(_handed_on(module))
        else:
            found += apps
    return entries or found


def _usual(folder: Folder) -> Iterator[str]:
    """The files that may hold an application: one level of packages deep."""
    for path in folder.files(".py"):
        *above, name = path.removeprefix("src/").split("/")
        if name not in (_FILES if above else _FILES[:-1]) and name not in _ENTRY_FILES:
            continue
        if len(above) > 1 or any(
            part in _SKIPPED or part.startswith((".", "_")) or not part.isidentifier() for part in above
        ):
            continue
        yield path


def _in(module: Module) -> Iterator[WebApp]:
    """Applications that the module makes: `app = Flask(…)`, or a factory such as `create_app()`."""
    imports = module.imports()
    factories: dict[str, Interface] = {}
    made: dict[str, Interface] = {}
    for node in syntax.statements(module.tree.body):
        if isinstance(node, ast.FunctionDef) and node.name in _FACTORIES and not node.args.args:
            interface = _made_within(node, imports)
            if interface:
                factories[node.name] = interface
        names, value = _assigned(node)
        if isinstance(value, ast.Call):
            interface = _interface(value, imports) or factories.get(syntax.dotted(value.func) or "")
            if interface:
                made.update(dict.fromkeys(names, interface))
    for name, interface in made.items():
        yield WebApp(f"{module.name}:{name}", interface, module.path)
    if not made:
        for name, interface in factories.items():
            yield WebApp(f"{module.name}:{name}()", interface, module.path)


def _handed_on(module: Module) -> Iterator[WebApp]:
    """What `wsgi.py` or `asgi.py` imports or gets from elsewhere under a usual name."""
    interface: Interface = "asgi" if module.path.endswith("asgi.py") else "wsgi"
    bound = list(module.imports())
    for node in syntax.statements(module.tree.body):
        bound += _assigned(node)[0]
    for name in ("application", "app"):
        if name in bound:
            yield WebApp(f"{module.name}:{name}", interface, module.path)
            return


def _assigned(node: ast.stmt) -> tuple[list[str], ast.expr | None]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)], node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id], node.value
    return [], None


def _interface(call: ast.Call, imports: dict[str, str]) -> Interface | None:
    name = syntax.dotted(call.func)
    if name is None:
        return None
    first, _, rest = name.partition(".")
    full = imports.get(first, first) + (f".{rest}" if rest else "")
    return FRAMEWORKS.get(full)


def _made_within(function: ast.FunctionDef, imports: dict[str, str]) -> Interface | None:
    inner = dict(imports)
    for node in ast.walk(function):
        if isinstance(node, ast.ImportFrom):
            inner.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        if isinstance(node, ast.Call) and (interface := _interface(node, inner)):
            return interface
    return None


def command(app: WebApp, packages: Collection[str]) -> tuple[str, ...]:
    """The command that serves `app` on `$PORT` with a server that is among `packages` (names as PEP 503 has them, extras
    as `name[extra]`). Raises ProjectError when there is none."""
    present = {*packages, *(_BUNDLED[name] for name in packages if name in _BUNDLED)}
    for server, start in _SERVERS[app.interface].items():
        if server not in present:
            continue
        target = app.target
        if target.endswith("()") and server != "gunicorn":
            flag = {"waitress": "--call", "uvicorn": "--factory", "granian": "--factory"}.get(server)
            if flag is None:
                continue
            return (*start, flag, target.removesuffix("()"))
        if server == "hypercorn" and app.interface == "wsgi":
            target = f"wsgi:{target}"
        return (*start, target)
    advised = next(iter(_SERVERS[app.interface]))
    raise ProjectError(
        f"'{app.path}' has the {app.interface.upper()} application '{app.target}', and no server for it is among the dependencies",
        hint=f"add '{advised}' to the dependencies, or write a command into {TABLE}",
    )
