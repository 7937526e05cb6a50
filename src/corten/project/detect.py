"""What a project runs, where it does not say: a predictor, a web application, or a script. Files are read, never imported.

In this order: one predictor or web application (several are an error that lists them); the only command of
`[project.scripts]`; `main.py`; the only model file among the declared weights, which the server loads by itself; the only
script in the project's folder."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Callable, Collection
from typing import Any

from corten.errors import ProjectError
from corten.project import predictors, webapps
from corten.project.kinds import MODEL_FILES, TABLE
from corten.project.model import Command, Predictor
from corten.project.patterns import is_glob
from corten.values import dataclass

_NO_SCRIPT = re.compile(
    r"(?:setup|conftest|noxfile|fabfile|tasks|manage|version|_version|__init__|locustfile|test_.*|.*_test|gunicorn.*)\.py"
)
_READERS = {
    ".onnx": frozenset({"onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"}),
    ".skops": frozenset({"skops"}),
}
_ESTIMATORS = frozenset({"scikit-learn", "xgboost", "lightgbm", "catboost", "imbalanced-learn", "skops"})
"""Packages whose models have scikit-learn's interface."""
_MOST_MATCHES = 1000
_UNNAMED = tuple(f"{folder}*{ending}" for folder in ("", "models/") for ending in MODEL_FILES)
"""Where a model lies that the project does not name. It is not served unasked: loading a pickle runs code."""
WOULD_SERVE = "would serve the model"
"""The end of a note about a model beside a script, of which the script was chosen."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What runs, None when nothing does, and in words where it was found."""

    entry: Predictor | Command | None
    note: str


def find(
    root: str,
    scripts: Collection[str],
    models: Collection[str],
    packages: Callable[[], Collection[str]],
) -> Entry:
    """What the project in `root` runs. `scripts` are the names of `[project.scripts]`; `models` the patterns of its declared
    weights; `packages` tells the names of its dependencies and is called for a web application or a model only. Raises ProjectError for more than one choice, and for a web
    application without a server."""
    found = predictors.find(root)
    apps = webapps.find(root)
    by_server = _served(apps, packages) if apps else []
    if len(found) + len(by_server) > 1:
        raise _ambiguous(found, by_server, packages)
    if found:
        target, path = found[0]
        return Entry(Predictor(target), f"'{path}' has the predictor '{target.partition(':')[2]}'")
    if by_server:
        app = by_server[0]
        argv = webapps.command(app, packages())
        return Entry(
            Command(argv), f"'{app.path}' has the {app.interface.upper()} application '{app.target}'"
        )
    return _script(root, scripts, models, packages)


def _served(apps: list[webapps.WebApp], packages: Callable[[], Collection[str]]) -> list[webapps.WebApp]:
    """Of the two doors of one application (Django's `wsgi.py` and `asgi.py`), the one that there is a server for."""
    folders = {os.path.dirname(app.path) for app in apps}
    if len(apps) == 2 and len(folders) == 1 and {app.interface for app in apps} == {"wsgi", "asgi"}:
        for app in sorted(apps, key=lambda app: app.interface, reverse=True):
            try:
                webapps.command(app, packages())
            except ProjectError:
                continue
            return [app]
        return apps[:1]
    return apps


def _ambiguous(
    found: list[tuple[str, str]], apps: list[webapps.WebApp], packages: Callable[[], Collection[str]]
) -> ProjectError:
    lines = [f'predict = "{target}"' for target, _ in found]
    for app in apps:
        try:
            argv = webapps.command(app, packages())
        except ProjectError:
            argv = ("gunicorn" if app.interface == "wsgi" else "uvicorn", app.target)
        lines.append(f'command = "{" ".join(argv)}"')
    what = "predictors" if not apps else "web applications" if not found else "things to run"
    named = ", ".join(
        [f"'{target}' in '{path}'" for target, path in found]
        + [f"'{app.target}' in '{app.path}'" for app in apps]
    )
    return ProjectError(
        f"the project has {len(lines)} {what}: {named}",
        hint=f"write one into {TABLE}: " + "  or  ".join(lines),
    )


def _script(
    root: str, scripts: Collection[str], models: Collection[str], packages: Callable[[], Collection[str]]
) -> Entry:
    if len(scripts) == 1:
        name = next(iter(scripts))
        return Entry(Command((name,)), f"[project.scripts] has the command '{name}'")
    with os.scandir(root) as listing:
        files = sorted(
            entry.name
            for entry in listing
            if entry.name.endswith(".py")
            and os.path.isfile(entry.path)
            and not _NO_SCRIPT.fullmatch(entry.name)
        )
    if "main.py" in files:
        return Entry(Command(("python", "main.py")), "'main.py' is the script")
    served = _models(root, models, packages) if models else []
    if len(served) == 1:
        return Entry(Predictor(served[0]), f"'{served[0]}' is the model that is served, without code")
    if len(served) > 1:
        table = ", ".join(f'{_model_name(path)} = "{path}"' for path in served[:6])
        return Entry(
            None, f"nothing runs by default: predict = {{ {table} }} in {TABLE} would serve the models"
        )
    if len(files) == 1:
        beside = [] if models else _models(root, _UNNAMED, packages)
        model = f'; models = ["{beside[0]}"] in {TABLE} {WOULD_SERVE}' if beside else ""
        return Entry(Command(("python", files[0])), f"'{files[0]}' is the only script{model}")
    if files:
        shown = ", ".join(f"'{name}'" for name in files[:6]) + (", …" if len(files) > 6 else "")
        return Entry(
            None, f"nothing runs by default: {shown} could, and 'command' in {TABLE} would say which"
        )
    return Entry(None, "nothing runs by default")


def _models(root: str, patterns: Collection[str], packages: Callable[[], Collection[str]]) -> list[str]:
    """The files among the declared weights that can be served without code: a known ending, and the library that reads
    them among the dependencies. One that is named exactly need not exist yet: it may be trained in the image."""
    named: dict[str, None] = {}
    for pattern in patterns:
        if not is_glob(pattern) or os.path.lexists(f"{root}/{pattern}"):
            named[pattern] = None
        else:
            matches = glob.iglob(pattern, root_dir=root, recursive=True)
            named |= dict.fromkeys(sorted(itertools.islice(matches, _MOST_MATCHES)))
    files = [path for path in named if path.endswith(MODEL_FILES)]
    names = {name.partition("[")[0] for name in packages()} if files else set()
    return [path for path in files if _readers(path) & names]


def _readers(path: str) -> frozenset[str]:
    """The packages of which one is needed to load a model's file."""
    return _READERS.get(os.path.splitext(path)[1], _ESTIMATORS)


def _model_name(path: str) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", os.path.basename(path).rsplit(".", 1)[0].lower()).strip("-")
    return stem[:63].rstrip("-") or "model"


def names_of_scripts(table: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """`[project.scripts]` as (name, "module:function"). Raises ProjectError for anything else (entry points
    specification, "name" and "object reference")."""
    scripts = table.get("scripts") or {}
    for name, target in scripts.items():
        usable = re.fullmatch(r"[\w.-]+", name) and isinstance(target, str)
        if not usable or not re.fullmatch(r"\s*[\w.]+\s*:\s*[\w.]+\s*(?:\[.*\])?\s*", target):
            raise ProjectError(
                f"'{name}' in [project.scripts] must lead to a 'module:function', not {target!r}",
                hint='for example predict = "package.cli:main"',
            )
    return tuple(
        (name, re.sub(r"\s|\[.*\]", "", target))
        for name, target in scripts.items()
        if name not in (".", "..")
    )
