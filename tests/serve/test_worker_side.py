"""The worker's side runs in the project's environment: standard library only, on every Python from 3.8."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "corten_serve"
SERVER_ENTRY = {"__main__", "init", "launch", "settings"}
"""Modules at the top that belong to the server's side; the others there belong to both."""
MODULES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))
WORKER_SIDE = [name for name in MODULES if not name.startswith("server/") and name not in SERVER_ENTRY]
SERVER_SIDE = [name for name in MODULES if name not in WORKER_SIDE]
OPTIONAL = {"pydantic", "numpy", "pandas", "PIL", "sklearn", "onnxruntime", "joblib", "skops"}
"""What a project may have. The worker's side touches it only where the project itself has it."""

GENERIC = {"dict", "frozenset", "list", "set", "tuple", "type"}
NEWER = {"removeprefix", "removesuffix", "to_thread", "Annotated"}


def test_every_module_is_found():
    assert {"frames", "worker/main", "schema/kinds", "protocols/codec"} <= set(WORKER_SIDE)
    assert {"launch", "server/app"} <= set(SERVER_SIDE)


@pytest.mark.parametrize("name", WORKER_SIDE)
def test_the_workers_side_is_standard_library_in_the_syntax_of_3_8(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(), feature_version=(3, 8))
    for module in _imports(tree, stand_in=name.startswith("compat/")):
        if module.startswith("corten"):
            assert not module.startswith("corten_serve.server")
            assert module.split(".")[1:2] != ["settings"]
        else:
            assert module.partition(".")[0] in sys.stdlib_module_names | OPTIONAL
    for module in _imports_at_start(tree, stand_in=name.startswith("compat/")):
        assert module.partition(".")[0] not in OPTIONAL, "imported only inside functions"


@pytest.mark.parametrize("name", WORKER_SIDE)
def test_the_workers_side_runs_nothing_that_3_8_lacks(name):
    """Annotations are not run."""
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    abstract = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "collections.abc"
        for alias in node.names
    }
    for node in _run(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in GENERIC | abstract, f"line {node.lineno} needs Python 3.9"
        if isinstance(node, ast.Attribute):
            assert node.attr not in NEWER, f"line {node.lineno} needs Python 3.9"
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "zip":
            assert not node.keywords, f"line {node.lineno} needs Python 3.10"


@pytest.mark.parametrize("name", SERVER_SIDE)
def test_the_servers_side_has_granian_alone(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(), feature_version=(3, 10))
    for module in _imports(tree):
        top = module.partition(".")[0]
        assert top in sys.stdlib_module_names | {"corten_serve", "granian"}
        assert not module.startswith(("corten_serve.worker", "corten_serve.schema", "corten_serve.protocols"))


def _run(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.AST):
                    yield from _run(item)


def _imports_at_start(tree: ast.Module, stand_in: bool) -> list[str]:
    plain = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return _imports(ast.Module(plain, []), stand_in)


def _imports(tree: ast.AST, stand_in: bool = False) -> list[str]:
    """The modules that are imported. A stand-in is imported as another package, so it names its own modules relatively."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or stand_in
            if node.level:
                continue
            if node.module == "corten_serve":
                found += [f"corten_serve.{alias.name}" for alias in node.names]
            else:
                found.append(node.module or "")
    return found
