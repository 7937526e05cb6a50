"""What setup.py and setup.cfg require, where it stands there as it is. Neither is run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from corten.project.regular import open_regular
from corten.values import dataclass

_MOST_BYTES = 500_000


def requires(root: Path) -> tuple[str, ...] | None:
    """The requirements in `install_requires` of setup.cfg or setup.py in `root`; none where there are none, or where setup.py
    takes them from a requirements file. None where it computes them otherwise."""
    config = _text(root / "setup.cfg")
    if config is not None and "install_requires" in config:
        return of_config(config)
    source = _text(root / "setup.py")
    if source is None or "install_requires" not in source:
        return ()
    found = of_source(source)
    return () if found is None and "requirements" in source.replace("install_requires", "") else found


def of_config(text: str) -> tuple[str, ...] | None:
    """What `install_requires` of setup.cfg lists; None where it cannot be read."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
        value = parser.get("options", "install_requires", fallback="")
    except configparser.Error:
        return None
    lines = [line.partition(" #")[0].strip() for line in value.splitlines()]
    if any(line.startswith("file:") for line in lines):
        return ()
    return tuple(line for line in lines if line and not line.startswith("#"))


def of_source(source: str) -> tuple[str, ...] | None:
    """The list of texts that is `install_requires` of the call of `setup`; None where it is computed."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    named = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for keyword in node.keywords if name == "setup" else ():
            if keyword.arg != "install_requires":
                continue
            value = keyword.value
            value = named.get(value.id, value) if isinstance(value, ast.Name) else value
            items = value.elts if isinstance(value, ast.List | ast.Tuple) else None
            if items is None:
                return None
            texts = [item.value for item in items if isinstance(item, ast.Constant)]
            if len(texts) != len(items) or not all(isinstance(text, str) for text in texts):
                return None
            return tuple(str(text) for text in texts)
    return None


def _text(path: Path) -> str | None:
    try:
        with open_regular(path) as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a call of `setup` says. `values` has the keywords that are written out, `computed` the names of the others."""

    values: Mapping[str, object]
    computed: frozenset[str]


def keywords(source: str) -> Setup | None:
    """The keywords of the only call of `setup` in a setup.py, which is not run; None where there is none, or more than one."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        == "setup"
    ]
    if len(calls) != 1 or calls[0].args:
        return None
    named = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    values: dict[str, object] = {}
    computed: set[str] = set()
    for keyword in calls[0].keywords:
        value = keyword.value
        value = named.get(value.id, value) if isinstance(value, ast.Name) else value
        try:
            literal = ast.literal_eval(value)
            repr(literal)  # a number of very many digits raises ValueError, and would wherever it is shown
            values[keyword.arg or "**"] = literal
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            where = _found_in(value)
            if keyword.arg == "packages" and where is not None:
                values["packages"] = where
            else:
                computed.add(keyword.arg or "**")
    return Setup(values, frozenset(computed))


def _found_in(value: ast.expr) -> str | None:
    """The folder in which `find_packages(…)` looks; None for another expression."""
    if not isinstance(value, ast.Call):
        return None
    name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    if name not in ("find_packages", "find_namespace_packages"):
        return None
    given = [*value.args[:1], *(item.value for item in value.keywords if item.arg == "where")]
    if not given:
        return ""
    return str(given[0].value) if isinstance(given[0], ast.Constant) else None
