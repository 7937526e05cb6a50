"""Finding a project's predictor: a class with a method `predict` or `predict_batch`, or a function `predict`, in a file of a known name."""

from __future__ import annotations

import ast

from corten.errors import ProjectError
from corten.project import syntax
from corten.project.model import Predictor
from corten.project.recognize.candidates import APPLICATION, DECLARED, Candidate
from corten.project.recognize.facts import Facts
from corten.project.syntax import Module

FILES = ("predict.py", "predictor.py", "src/predict.py", "src/predictor.py")
"""Where a predictor is looked for. One in another file is named by `predict`."""

_BASES = {"Predictor", "BasePredictor"}


def find(facts: Facts) -> list[Candidate]:
    """Every predictor in the known files. Raises ProjectError for one of those that is no Python: it would count as a script
    otherwise."""
    folder = facts.folder
    found: list[Candidate] = []
    for path in FILES:
        data = folder.data(path) if folder.has_file(path) else None
        if data is None or b"predict" not in data:
            continue
        module = folder.module(path)
        if module is None:
            raise ProjectError(
                f"'{path}' is not Python: {folder.fault(path)}",
                hint="correct it; or name what runs by `predict` or `command` in [tool.corten]",
            )
        declared = _declared(module)
        for name in names(module):
            target = f"{module.name}:{name}"
            strength = DECLARED if name in declared else APPLICATION
            note = f"'{path}' has the predictor '{name}'"
            found.append(Candidate("predictor", Predictor(target), path, note, strength, target=target))
    return found


def names(module: Module) -> list[str]:
    """The predictors of one module. Classes that say what they are, by deriving from `Predictor`, win over others, and a
    class over those that it derives from; names with an underscore in front are private."""
    classes: dict[str, tuple[list[str], bool]] = {}
    functions: list[str] = []
    for node in syntax.statements(module.tree.body):
        if isinstance(node, ast.ClassDef):
            bases = [base for base in map(syntax.dotted, node.bases) if base]
            classes[node.name] = (bases, any(_is_method(part) for part in node.body))
        elif _is_predict(node) or _is_made(node):
            functions[:] = ["predict"]

    def predicts(name: str, seen: frozenset[str] = frozenset()) -> bool:
        bases, own = classes[name]
        return own or any(
            base in classes and predicts(base, seen | {base}) for base in bases if base not in seen
        )

    public = [name for name in classes if not name.startswith("_") and predicts(name)]
    derived_from = {base for name in public for base in classes[name][0]}
    public = [name for name in public if name not in derived_from]
    declared = [name for name in public if any(base.split(".")[-1] in _BASES for base in classes[name][0])]
    return declared or public + functions


def _declared(module: Module) -> set[str]:
    """The classes that say what they are, by a base."""
    return {
        node.name
        for node in syntax.statements(module.tree.body)
        if isinstance(node, ast.ClassDef)
        for base in map(syntax.dotted, node.bases)
        if base and base.rpartition(".")[2] in _BASES
    }


def _is_predict(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "predict"


def _is_method(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in (
        "predict",
        "predict_batch",
    )


def _is_made(node: ast.stmt) -> bool:
    """Whether this is `predict = functools.partial(…)` or a lambda. Any other value may be a result as well as a function:
    `predict = model.predict(rows)` in a script."""
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return False
    if not any(isinstance(target, ast.Name) and target.id == "predict" for target in targets):
        return False
    if isinstance(value, ast.Call):
        return (syntax.dotted(value.func) or "").rpartition(".")[2] in ("partial", "update_wrapper")
    return isinstance(value, ast.Lambda)
