"""The worker's side runs in the project's environment: standard library only, on every Python from 3.9."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "corten_serve"
WORKER_SIDE = {
    *("__init__", "arrays", "codec", "frames", "hints", "kinds", "openapi", "predictor", "records"),
    *("signature", "tracebacks", "validated", "worker"),
}
SERVER_SIDE = {
    *("__main__", "app", "init", "launch", "listener", "log", "page", "pool", "process", "queueing"),
    *("server", "settings"),
}


def test_every_module_is_on_one_side():
    assert {path.stem for path in PACKAGE.glob("*.py")} == WORKER_SIDE | SERVER_SIDE


@pytest.mark.parametrize("name", sorted(WORKER_SIDE))
def test_the_workers_side_is_standard_library_in_the_syntax_of_3_9(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(), feature_version=(3, 9))
    for module in _imports(tree):
        if module == "pydantic":
            assert name == "validated", "only where the project itself has imported it"
        elif module.startswith("corten"):
            assert module == "corten_serve" or module.split(".")[1] in WORKER_SIDE
        else:
            assert module.partition(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("name", sorted(SERVER_SIDE))
def test_the_servers_side_has_granian_alone(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(), feature_version=(3, 10))
    for module in _imports(tree):
        top = module.partition(".")[0]
        assert top in sys.stdlib_module_names | {"corten_serve", "granian"}


def _imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            if node.module == "corten_serve":
                found += [f"corten_serve.{alias.name}" for alias in node.names]
            else:
                found.append(node.module or "")
    return found
