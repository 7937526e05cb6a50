"""Reading a project's Python files without importing them: only what stands at the top of a module is looked at."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from corten.values import dataclass

_COUNTED = (
    *(ast.stmt, ast.expr, ast.arguments, ast.arg, ast.keyword, ast.alias, ast.withitem, ast.ExceptHandler),
    *(ast.match_case, ast.comprehension, ast.pattern),
)
"""What `nodes` lists."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the project: its path and its name as an import sees it, `source`, and its tree."""

    path: str
    name: str
    tree: ast.Module

    def imports(self) -> dict[str, str]:
        """What each imported name stands for: `Flask` → `flask.Flask`, `np` → `numpy`."""
        names: dict[str, str] = {}
        for node in statements(self.tree.body):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.split(".")[0]
                    names[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{module}.{alias.name}".lstrip(".")
        return names


def parse_source(path: str, source: bytes) -> Module | None:
    """The module whose file `path` has `source`, or None when that is no Python of this version: whoever runs it will say so
    better."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return Module(path, module_name(path), tree)


def fault_of(source: bytes) -> str | None:
    """Why `source` is no Python: `invalid syntax in line 3`; None where it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except SyntaxError as error:
        return f"{error.msg} in line {error.lineno}" if error.lineno else error.msg
    except (ValueError, RecursionError, MemoryError):
        pass
    return None


def nodes(tree: ast.Module) -> list[ast.AST]:
    """Every node of a module but contexts and operators, each after the one that it is in. Several readers ask for them, so they
    are kept with the tree. `ast.walk` takes four times as long."""
    kept: list[ast.AST] | None = getattr(tree, "corten_nodes", None)
    if kept is None:
        kept = [tree]
        for node in kept:  # which grows meanwhile
            for value in node.__dict__.values():
                if isinstance(value, list):
                    kept += [item for item in value if isinstance(item, _COUNTED)]
                elif isinstance(value, _COUNTED):
                    kept.append(value)
        tree.corten_nodes = kept  # type: ignore[attr-defined]
    return kept


def module_name(path: str) -> str:
    """`src/service/app.py` → `service.app`, as /app and /app/src are on the import path."""
    name = path.removesuffix(".py").removeprefix("src/").replace("/", ".")
    return name.removesuffix(".__init__")


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, also those within `if` and `try`, but not those of
    `if __name__ == "__main__"`."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            if not is_main_guard(node):
                yield from statements(node.body)
            yield from statements(node.orelse)
        elif isinstance(node, ast.Try):
            yield from statements(node.body)
            for handler in node.handlers:
                yield from statements(handler.body)
            yield from statements(node.orelse)
        elif isinstance(node, ast.With):
            yield from statements(node.body)


def is_main_guard(node: ast.If) -> bool:
    """Whether this is `if __name__ == "__main__":`."""
    test = node.test
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def dotted(node: ast.expr) -> str | None:
    """`flask.Flask` for that expression; None for one that is no dotted name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])
