"""Reading one module: the applications that importing it makes, the functions that make one, and how it starts a server itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from corten.project import syntax
from corten.project.recognize.frameworks import (
    FRAMEWORKS,
    LISTENING,
    LISTENING_METHODS,
    PLAIN,
    WITH_SERVER,
    WRAPPERS,
    Interface,
)
from corten.project.recognize.trees import (
    FUNCTIONS,
    assigned,
    calls,
    imported,
    is_debug_setting,
    names_in_functions,
    run_by,
    within,
)
from corten.project.syntax import Module
from corten.values import dataclass

_RUN = frozenset({"run", "run_server", "serve"})
_WITH_PORT = frozenset({"run", "start", "serve", "listen", "run_server", "run_forever"})
"""Methods that start a server, of whatever, where they get a port."""
_HARMLESS = ("print", "logging.", "logger.", "log.", "parser.", "warnings.", "sys.stdout.", "webbrowser.")
"""Calls before a server starts that nobody misses who imports the module."""
_HARMLESS_WORDS = frozenset(
    {"freeze_support", "setdefault", "getenv", "environ", "parse_args", "add_argument", "basicConfig", "exit"}
)


@dataclass(frozen=True, slots=True)
class App:
    """An application: `name` is its variable, or the function that makes it (`factory`), `attribute` what of it has the interface.
    `origin` is equal for several names of one application."""

    name: str
    interface: Interface
    origin: int
    factory: bool = False
    attribute: str = ""
    alone: bool = True
    """Whether a factory can be called without arguments."""


@dataclass(frozen=True, slots=True)
class Start:
    """A call that starts a server. `target` is the variable that it serves, or `module:variable` as text; empty where another server
    could not do the same. `guarded`: importing the module does not run it."""

    target: str
    guarded: bool
    call: str


class Reading:
    """What one module does. `shared` has factories and applications of other modules of the project under the names that this one
    imports them by."""

    def __init__(self, module: Module, shared: dict[str, App] | None = None) -> None:
        self.module = module
        self._imports, self._stars = imported(module)
        self._words = {name.rpartition(".")[2] for name in self._imports.values()}
        self.shared = shared or {}
        self._functions = {node.name: node for node in module.tree.body if isinstance(node, FUNCTIONS)}
        self._classes: dict[str, Interface] = {}
        self._attributes: dict[str, str] = {}
        self._scope: dict[str, App] = {}
        self.factories: dict[str, App] = {}
        self.apps: dict[str, App] = {}
        self.sockets: set[str] = set()
        """Variables that are a SocketIO of Flask's."""
        self.mounted: set[int] = set()
        self.wrapped: set[int] = set()
        """Origins of applications that another one of this module serves."""
        self._scope = self.apps
        self._read()
        self.starts = list(self._starts())
        self.lost = "" if not any(start.guarded for start in self.starts) else self._lost()
        """What the module does only where it is run itself, and its functions or its server would miss: a name; else empty."""

    def full(self, node: ast.expr) -> str | None:
        """The full name of what is called: `flask.Flask`."""
        name = syntax.dotted(node)
        if name is None:
            return None
        first, _, rest = name.partition(".")
        if first in self._imports:
            return self._imports[first] + (f".{rest}" if rest else "")
        for star in self._stars:
            if f"{star}.{name}" in FRAMEWORKS or f"{star}.{name}" in LISTENING:
                return f"{star}.{name}"
        return name

    def is_coroutine(self, name: str) -> bool:
        """Whether a function of the module is one of asyncio."""
        return isinstance(self._functions.get(name), ast.AsyncFunctionDef)

    # --- applications ----------------------------------------------------------------------------------------

    def _read(self) -> None:
        for node in syntax.statements(self.module.tree.body):
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    full = self.full(base)
                    if full in FRAMEWORKS:
                        self._classes[node.name] = FRAMEWORKS[full]
                        self._attributes[node.name] = WITH_SERVER.get(full, "")
            elif isinstance(node, FUNCTIONS):
                made = self._made_by(node)
                if made is not None:
                    self.factories[node.name] = made
            self._assign(node)
            for call in calls(node):
                if isinstance(call.func, ast.Attribute) and call.func.attr == "mount":
                    names = [syntax.dotted(arg) for arg in call.args]
                    self.mounted |= {self.apps[name].origin for name in names if name and name in self.apps}

    def _assign(self, node: ast.stmt) -> None:
        names, value = assigned(node)
        if not names or value is None:
            return
        if isinstance(value, ast.Await):
            value = value.value
        app = self._value(value) or self._passed_through(names, value)
        for name in names:
            if app is not None:
                self._scope[name] = App(name, app.interface, app.origin, attribute=app.attribute)
            else:
                self._scope.pop(name, None)
        if isinstance(value, ast.Call) and (self.full(value.func) or "").endswith("SocketIO"):
            self.sockets |= set(names)

    def _passed_through(self, names: list[str], value: ast.expr) -> App | None:
        """The application of `app = configure(app)`: what gets it and replaces it returns one."""
        if not isinstance(value, ast.Call):
            return None
        given = {argument.id for argument in value.args if isinstance(argument, ast.Name)}
        return next((self._scope[name] for name in names if name in given and name in self._scope), None)

    def _value(self, value: ast.expr) -> App | None:
        """The application that an expression is."""
        name = syntax.dotted(value)
        if name is not None:
            first, _, rest = name.partition(".")
            known = self._scope.get(first) or (
                self.shared.get(first) if first not in self._functions else None
            )
            if known is not None and not known.factory and rest == known.attribute:
                return App(name, known.interface, known.origin)
            return None
        if not isinstance(value, ast.Call):
            return None
        full = self.full(value.func) or ""
        if full in FRAMEWORKS:
            server = next((word.value for word in value.keywords if word.arg == "server"), None)
            given = self._value(server) if server is not None else None
            if given is not None:
                return given
            return App("", FRAMEWORKS[full], id(value), attribute=WITH_SERVER.get(full, ""))
        last = full.rpartition(".")[2]
        if full in self._classes:
            return App("", self._classes[full], id(value), attribute=self._attributes[full])
        factory = self.factories.get(full) or self.shared.get(syntax.dotted(value.func) or "")
        if factory is not None and factory.factory:
            return App("", factory.interface, id(value), attribute=factory.attribute)
        if last == "make_wsgi_app":
            return App("", "wsgi", id(value))
        if last in WRAPPERS or last.endswith("Middleware"):
            for argument in (*value.args, *(word.value for word in value.keywords)):
                inner = self._value(argument)
                if inner is not None:
                    self.wrapped.add(inner.origin)
                    return App("", WRAPPERS.get(last) or inner.interface, id(value))
        return None

    def _made_by(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> App | None:
        """The application that a function makes and returns."""
        arguments = function.args
        required = len(arguments.posonlyargs) + len(arguments.args) > len(arguments.defaults)
        alone = not required and all(default is not None for default in arguments.kw_defaults)
        if function.name.startswith("__") or function.decorator_list:
            return None
        self._scope = dict(self.apps)
        try:
            for node in within(function):
                self._assign(node)
                if isinstance(node, ast.Return) and node.value is not None:
                    found = self._value(node.value)
                    known = self.apps.get(syntax.dotted(node.value) or "")
                    if found is not None and (known is None or known.origin != found.origin):
                        return App(function.name, found.interface, id(function), True, found.attribute, alone)
        finally:
            self._scope = self.apps
        return None

    # --- servers ---------------------------------------------------------------------------------------------

    def _starts(self) -> Iterator[Start]:
        self._scope = dict(self.apps)
        self._local: dict[str, str] = {}
        self._known: set[int] = set()
        found = False
        for guarded, node in self._run():
            names, value = assigned(node)
            if isinstance(value, ast.Call) and not set(names) & self.apps.keys():
                made = self.factories.get(syntax.dotted(value.func) or "")
                usable = made is not None and made.alone and not value.args and not value.keywords
                self._local |= dict.fromkeys(names, made.name if made is not None and usable else "")
                self._assign(node)
            for call in calls(node):
                start = self._start(call, guarded)
                if start is not None:
                    found = True
                    self._known.add(id(call))
                    yield start
        self._scope = self.apps
        if not found and (method := self._in_methods()):
            yield Start("", any(guarded for guarded, _ in self._run()), method)

    def _in_methods(self) -> str:
        """A call in a method that starts a server; empty where none does, or where running the file calls nothing."""
        runs = any(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) for _, node in self._run())
        for node in syntax.nodes(self.module.tree) if runs else ():
            if isinstance(node, ast.Call):
                full = self.full(node.func) or ""
                shown = syntax.dotted(node.func) or full
                made = {value for value in FRAMEWORKS if value.rpartition(".")[2] in self._words}
                if full in LISTENING or (made and re.fullmatch(r"self\.\w*app\w*\.run", full)):
                    return shown
        return ""

    def _start(self, call: ast.Call, guarded: bool) -> Start | None:
        full = self.full(call.func) or ""
        shown = syntax.dotted(call.func) or full
        if full in PLAIN:
            arguments = [
                *call.args,
                *(word.value for word in call.keywords if word.arg in ("app", "application")),
            ]
            for argument in arguments:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    if ":" in argument.value:
                        return Start(argument.value, guarded, shown)
                    continue
                name = syntax.dotted(argument) or ""
                first = name.partition(".")[0]
                if first in self._local and first in self._scope:
                    return Start(self._local[first], guarded, shown)
                if first in self.apps or first in self.shared or first in self.factories:
                    return Start(first, guarded, shown)
            return Start("", guarded, shown)
        if full in LISTENING:
            return Start("", guarded, shown)
        if not isinstance(call.func, ast.Attribute):
            return None
        owner, method = syntax.dotted(call.func.value) or "", call.func.attr
        if owner in self.sockets or (self._imports.get(owner, "").endswith("socketio") and method == "run"):
            return Start("", guarded, shown) if method == "run" else None
        if owner in self._scope and owner not in self.apps and method in _RUN:
            return Start(self._local.get(owner, ""), guarded, shown)
        known = self._scope.get(owner) or self.shared.get(owner)
        if known is not None and method in _RUN:
            return Start("" if known.interface == "own" else owner, guarded, shown)
        if known is not None and known.interface == "own" and method in ("listen", "bind"):
            return Start("", guarded, shown)
        if method in _RUN and isinstance(call.func.value, ast.Call):
            # create_app().run()
            app = self._value(call.func.value)
            if app is not None:
                inner = call.func.value
                made = self.factories.get(syntax.dotted(inner.func) or "")
                usable = made is not None and made.alone and not inner.args and not inner.keywords
                return Start(made.name if made is not None and usable else "", guarded, shown)
        named = {word.arg for word in call.keywords}
        listens = method in LISTENING_METHODS or (method in _WITH_PORT and named & {"port", "server_port"})
        return Start("", guarded, shown) if listens else None

    def _run(self) -> Iterator[tuple[bool, ast.stmt]]:
        """Every statement that running the file reaches, with whether importing it does not: bodies of functions of the module
        that are called count where they are called."""
        return run_by(self.module.tree.body, self._functions, self.factories)

    def _lost(self) -> str:
        """What of the block that runs only where the file itself is run would be missed by a server that imports it."""
        read = names_in_functions(self.module)
        served = {start.target for start in self.starts}
        for guarded, node in self._run():
            if not guarded:
                continue
            for name in assigned(node)[0]:
                if name in self.apps and name in served:
                    return name
                if name in read:
                    return name
            if isinstance(node, ast.Global):
                return node.names[0]
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Attribute | ast.Subscript) and not is_debug_setting(target):
                        return ast.unparse(target)[:60]
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
                call = node.value.value if isinstance(node.value, ast.Await) else node.value
                if isinstance(call, ast.Call) and not self._is_harmless(call):
                    return f"{(ast.unparse(call.func))[:60]}()"
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name).partition(".")[0] in read:
                        return alias.asname or alias.name
        return ""

    def _is_harmless(self, call: ast.Call) -> bool:
        if id(call) in self._known:
            return True
        name = syntax.dotted(call.func)
        if name is None:
            inner = call.func.value if isinstance(call.func, ast.Attribute) else None
            if isinstance(inner, ast.Call):
                # Timer(1, open_browser).start(), asyncio.run(…)
                made = (syntax.dotted(inner.func) or "").rpartition(".")[2]
                return made == "Timer" or self._is_harmless(inner)
            return False
        if name in self._functions:
            return True  # its statements are looked at themselves
        last = name.rpartition(".")[2]
        if last == "run" and name.partition(".")[0] == "asyncio":
            return True
        return name.startswith(_HARMLESS) or last in _HARMLESS_WORDS or ".logger." in f".{name}"
