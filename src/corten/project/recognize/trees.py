"""Parts of a module's syntax tree that readers ask for."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Mapping, Sequence

from corten.project import syntax
from corten.project.syntax import Module

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEBUG = frozenset({"debug", "DEBUG", "TEMPLATES_AUTO_RELOAD", "ENV", "env"})


def assigned(node: ast.stmt) -> tuple[list[str], ast.expr | None]:
    """The variables that a statement assigns, and to what. Of `app, route = fast_app()` it is the first."""
    if isinstance(node, ast.Assign):
        names = []
        for target in node.targets:
            first = target.elts[0] if isinstance(target, ast.Tuple) and target.elts else target
            if isinstance(first, ast.Name):
                names.append(first.id)
        return names, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id], node.value
    return [], None


def imported(module: Module) -> tuple[dict[str, str], list[str]]:
    """What imported names stand for, wherever in the module they are imported, and the modules of which all is."""
    names: dict[str, str] = {}
    stars: list[str] = []
    for node in syntax.nodes(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names.setdefault(alias.asname or first, alias.name if alias.asname else first)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                if alias.name == "*":
                    stars.append(base)
                else:
                    names.setdefault(alias.asname or alias.name, f"{base}.{alias.name}")
    return names, stars


def calls(node: ast.stmt) -> Iterator[ast.Call]:
    """The calls in a statement, but for those in blocks and functions within it."""
    waiting: list[ast.AST] = [
        child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt | ast.ExceptHandler)
    ]
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        return
    while waiting:
        current = waiting.pop()
        if isinstance(current, ast.Call):
            yield current
        if not isinstance(current, ast.Lambda):
            waiting += list(ast.iter_child_nodes(current))


def blocks(node: ast.stmt) -> Iterator[ast.stmt]:
    """The statements of the blocks in a statement that is no function or class."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from child.body


def within(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.stmt]:
    waiting = list(function.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        waiting[:0] = list(blocks(node))


def run_by(
    body: Sequence[ast.stmt],
    functions: Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef],
    left_out: Container[str] = (),
) -> Iterator[tuple[bool, ast.stmt]]:
    """Every statement that running a file with the statements `body` reaches, with whether importing it does not. Bodies of those
    `functions` that are called, or given to what calls them, count where they are called; those of `left_out` do not."""
    waiting = [(isinstance(node, ast.If) and syntax.is_main_guard(node), node) for node in body]
    seen: set[str] = set()
    while waiting:
        guarded, node = waiting.pop(0)
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            continue
        inner = list(blocks(node))
        if inner:
            guarded = guarded or (isinstance(node, ast.If) and syntax.is_main_guard(node))
            waiting[:0] = [(guarded, child) for child in inner]
        yield guarded, node
        for call in calls(node):
            name = syntax.dotted(call.func) or ""
            targets = [name, *(syntax.dotted(argument) or "" for argument in call.args)]
            targets += [syntax.dotted(word.value) or "" for word in call.keywords if word.arg == "target"]
            for target in targets:
                if target in functions and target not in seen and target not in left_out:
                    seen.add(target)
                    waiting[:0] = [(guarded, child) for child in functions[target].body]


def names_in_functions(module: Module) -> set[str]:
    """Names that functions and methods of the module read without assigning them."""
    found: set[str] = set()
    for node in syntax.nodes(module.tree):
        if isinstance(node, FUNCTIONS):
            arguments = node.args
            own = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
            names = [inner for inner in ast.walk(node) if isinstance(inner, ast.Name)]
            shared = {
                name for inner in ast.walk(node) if isinstance(inner, ast.Global) for name in inner.names
            }
            own |= {name.id for name in names if isinstance(name.ctx, ast.Store)} - shared
            found |= {name.id for name in names if isinstance(name.ctx, ast.Load)} - own
    return found


def is_debug_setting(target: ast.Attribute | ast.Subscript) -> bool:
    if isinstance(target, ast.Attribute):
        return target.attr in _DEBUG
    return isinstance(target.slice, ast.Constant) and target.slice.value in _DEBUG
