"""The modules that a program consists of, with every call in them by its full name."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence

from corten.project import syntax
from corten.project.imports import entry_files, reached
from corten.project.recognize.folder import Folder
from corten.project.recognize.trees import imported
from corten.project.syntax import Module
from corten.values import dataclass

_MOST_MODULES = 200
_MOST_NODES = 600_000
_MOST_VALUE = 300


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: `app.py:3`."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class Call:
    """One call: `name` in full (`openai.OpenAI`), and its arguments."""

    def __init__(self, name: str, node: ast.Call, code: Code) -> None:
        self.name, self.node, self._code = name, node, code

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self._code.path, self.node.lineno)

    @property
    def last(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    def text(self, position: int, *keywords: str) -> str | None:
        """The text that is given at `position` or by one of `keywords`, where it is known by reading; a negative position is none."""
        node = self.argument(position, *keywords)
        return self._code.text(node) if node is not None else None

    def argument(self, position: int, *keywords: str) -> ast.expr | None:
        """The same as it is written."""
        if 0 <= position < len(self.node.args) and not isinstance(self.node.args[position], ast.Starred):
            return self.node.args[position]
        return next((item.value for item in self.node.keywords if item.arg in keywords), None)

    def has(self, *keywords: str) -> bool:
        """Whether one of `keywords` is given, or some by `**`."""
        return any(item.arg is None or item.arg in keywords for item in self.node.keywords)


class Code:
    """One module with the meaning of its names."""

    def __init__(self, module: Module) -> None:
        self.module, self.path = module, module.path
        self.names, _ = imported(module)
        self._constants = _constants(module)
        self.nodes = syntax.nodes(module.tree)

    @property
    def roots(self) -> frozenset[str]:
        """The packages that it imports from."""
        return frozenset(name.partition(".")[0] for name in self.names.values())

    def full(self, node: ast.expr) -> str | None:
        """The full name of what is named: `os.environ`."""
        name = syntax.dotted(node)
        if name is None:
            return None
        first, _, rest = name.partition(".")
        full = self.names.get(first, first)
        return f"{full}.{rest}" if rest else full

    def calls(self) -> Iterator[Call]:
        """Every call with a name; that of a method of something unnamed is `.method`."""
        for node in self.nodes:
            if isinstance(node, ast.Call):
                name = self.full(node.func)
                if name is None and isinstance(node.func, ast.Attribute):
                    name = f".{node.func.attr}"
                if name is not None:
                    yield Call(name, node, self)

    def text(self, node: ast.expr) -> str | None:
        """The text of an expression: a constant, the name of one, or the default of a variable that the environment may set."""
        if isinstance(node, ast.Constant):
            return node.value[:_MOST_VALUE] if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            known = self._constants.get(node.id)
            return self.text(known) if known is not None and not isinstance(known, ast.Name) else None
        if isinstance(node, ast.Call) and self.full(node.func) in ("os.getenv", "os.environ.get"):
            return self.text(node.args[1]) if len(node.args) > 1 else None
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            return self.text(node.values[-1])
        if isinstance(node, ast.JoinedStr):
            parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            return "".join(map(str, parts))[:_MOST_VALUE] if len(parts) == len(node.values) else None
        return None


class Modules:
    """The modules of the program that `argv` or `targets` start in `folder`, or all of the folder where that is not known. A module is
    parsed when a reader's words are in it."""

    def __init__(self, folder: Folder, words: Sequence[str] = (), source: str = "") -> None:
        self.folder = folder
        entry = entry_files(words, folder) or ((source,) if source.endswith(".py") else ())
        pages = [path for path in folder.files(".py") if _is_page(path, entry)] if entry else []
        self.paths = reached(folder, (*entry, *pages))[:_MOST_MODULES]
        self._codes: dict[str, Code | None] = {}
        self._left = _MOST_NODES

    def with_words(self, pattern: re.Pattern[bytes]) -> Iterator[Code]:
        """The modules in which `pattern` is found."""
        for path in self.paths:
            data = self.folder.data(path)
            if data is not None and pattern.search(data):
                code = self._code(path)
                if code is not None:
                    yield code

    def _code(self, path: str) -> Code | None:
        if path not in self._codes:
            module = self.folder.module(path) if self._left > 0 else None
            self._codes[path] = Code(module) if module is not None else None
            if module is not None:
                self._left -= len(syntax.nodes(module.tree))
        return self._codes[path]


def listed(places: Collection[Place]) -> str:
    """The first place, and how many more there are."""
    first = min(places, key=lambda place: (place.path.count("/"), place.path, place.line))
    return f"'{first}'"


def _is_page(path: str, entry: Sequence[str]) -> bool:
    """Whether this is a page of a Streamlit application, which nothing imports."""
    folder = path.rpartition("/")[0]
    return folder.rpartition("/")[2] == "pages" and any(
        folder.rpartition("/")[0] == file.rpartition("/")[0] for file in entry
    )


def _constants(module: Module) -> dict[str, ast.expr]:
    """The values of variables of the module that are assigned once, wherever in it."""
    found: dict[str, ast.expr] = {}
    twice: set[str] = set()
    for node in syntax.nodes(module.tree):
        target = None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        if isinstance(target, ast.Name):
            if target.id in found:
                twice.add(target.id)
            found[target.id] = value
    return {name: value for name, value in found.items() if name not in twice}
