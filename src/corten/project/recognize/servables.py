"""Finding services of libraries that bring a server of their own (BentoML, LitServe), and those that are only named (Truss, MLServer,
Ray Serve, Azure Functions)."""

from __future__ import annotations

import ast
import posixpath
import re

from corten.lazy import regex
from corten.project import syntax
from corten.project.kinds import TABLE
from corten.project.model import Command
from corten.project.recognize import foreign_config
from corten.project.recognize.candidates import APPLICATION, PLATFORM, Candidate
from corten.project.recognize.facts import Facts
from corten.project.syntax import Module

_ANY = "0.0.0.0"  # noqa: S104 -- the container's own interfaces: what leaves it is decided outside
_BENTOFILES = ("bentofile.yaml", "bentofile.yml")
_SERVICE = regex(r"[A-Za-z_][\w.]*(?::[A-Za-z_]\w*)?")
_OWN = APPLICATION + 5
"""More than that of a web application: their files may also make one."""


def find(facts: Facts) -> list[Candidate]:
    """The service of BentoML or LitServe; where there is none, what the project is of another tool's."""
    return _bento(facts) or _lit(facts) or [*_truss(facts), *_mlserver(facts), *_ray(facts), *_azure(facts)]


def _bento(facts: Facts) -> list[Candidate]:
    folder = facts.folder
    for file in _BENTOFILES:
        config = foreign_config.table(folder, file) if folder.exists(file) else None
        service = foreign_config.text((config or {}).get("service"))
        if config is not None and _SERVICE.fullmatch(service):
            asked = foreign_config.texts(foreign_config.mapping(config.get("python")).get("packages"))
            note = f"'{file}' has the service '{service}' of BentoML"
            return [_of_bento(facts, service, file, note, PLATFORM, tuple(asked))]
    found = []
    for module in folder.modules(b"bentoml"):
        for name in _bento_services(module):
            target = f"{module.name}:{name}"
            note = f"'{module.path}' has the service '{name}' of BentoML"
            found.append(_of_bento(facts, target, module.path, note, _OWN))
    return found


def _of_bento(
    facts: Facts, service: str, path: str, note: str, strength: int, asked: tuple[str, ...] = ()
) -> Candidate:
    command = ("bentoml", "serve", service, "--host", _ANY, "--port", "$PORT")
    wanted = [item for item in asked if re.match(r"[A-Za-z0-9]", item) and "://" not in item]
    requires = tuple(_missing(facts, *wanted, "bentoml"))
    return Candidate(
        "web",
        Command(command),
        path,
        note,
        strength,
        requires=requires,
        reason=f"'{path}' needs it" if requires else "",
        ready="/readyz",
        writable=True,
        target=service,
    )


def _bento_services(module: Module) -> list[str]:
    """Classes that `@bentoml.service` marks, and names that `bentoml.Service(…)` is given to. One that others depend on is
    started by them."""
    names = module.imports()
    found: list[str] = []
    inner: set[str] = set()
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef):
            marks = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
            if any(_full(names, mark) == "bentoml.service" for mark in marks):
                found.append(node.name)
            for part in ast.walk(node):
                if isinstance(part, ast.Call) and _full(names, part.func) == "bentoml.depends":
                    inner |= {each.id for each in part.args if isinstance(each, ast.Name)}
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and _full(names, node.value.func) in ("bentoml.Service", "bentoml.legacy.Service")
        ):
            found += [each.id for each in node.targets if isinstance(each, ast.Name)]
    return [name for name in found if name not in inner]


def _lit(facts: Facts) -> list[Candidate]:
    found = []
    for module in facts.folder.modules(b"litserve"):
        names = module.imports()
        calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
        makes = any(_full(names, call.func) == "litserve.LitServer" for call in calls)
        runs = any(isinstance(call.func, ast.Attribute) and call.func.attr == "run" for call in calls)
        if makes and runs:
            requires = tuple(_missing(facts, "litserve"))
            found.append(
                Candidate(
                    "web",
                    Command(("python", module.path)),
                    module.path,
                    f"'{module.path}' has a server of LitServe",
                    _OWN,
                    requires=requires,
                    reason=f"'{module.path}' needs it" if requires else "",
                    ready="/health",
                    writable=True,
                    target=module.path,
                )
            )
    return found


def _truss(facts: Facts) -> list[Candidate]:
    folder = facts.folder
    config = foreign_config.table(folder, "config.yaml") if folder.exists("config.yaml") else None
    if (
        config is None
        or not folder.exists("model/model.py")
        or not {"model_name", "resources", "python_version", "requirements"} & set(config)
    ):
        return []
    return [
        _named(
            "config.yaml",
            "'config.yaml' and 'model/model.py' are a Truss; a 'predict.py' with 'class Predictor' that calls its 'load' in 'setup' and "
            f"its 'predict' is served, with predict = \"predict:Predictor\" in {TABLE}",
        )
    ]


def _mlserver(facts: Facts) -> list[Candidate]:
    path = next((each for each in facts.folder.files("model-settings.json")), None)
    if path is None:
        return []
    return [
        _named(
            path,
            f"'{path}' is of MLServer; with mlserver and its runtime among the dependencies, command = \"mlserver start .\" in "
            f"{TABLE} runs it",
        )
    ]


def _ray(facts: Facts) -> list[Candidate]:
    for module in facts.folder.modules(b"ray"):
        names = module.imports()
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            marks = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
            if any(_full(names, mark) == "ray.serve.deployment" for mark in marks):
                app = _bound(module)
                return [
                    _named(
                        module.path,
                        f"'{module.path}' has a deployment of Ray Serve; with 'ray[serve]' among the dependencies, "
                        f'command = "serve run {module.name}:{app or "app"}" in {TABLE} runs it',
                    )
                ]
    return []


def _azure(facts: Facts) -> list[Candidate]:
    """Functions of Azure: `function_app.py`, or a folder with `function.json` for each. An application that is handed to Azure whole
    (`AsgiFunctionApp`) is served as it is."""
    folder = facts.folder
    path = next((each for each in folder.files("function_app.py")), None)
    names: list[str] = []
    if path is not None and (module := folder.module(path)) is not None:
        source = folder.data(path) or b""
        if b"AsgiFunctionApp" in source or b"WsgiFunctionApp" in source or b"azure" not in source:
            return []
        names = [
            node.name
            for node in ast.walk(module.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list
        ]
    else:
        files = [each for each in folder.files("/function.json") if folder.exists("host.json")]
        if not files:
            return []
        path = files[0]
        names = [posixpath.basename(posixpath.dirname(each)) for each in files]
    shown = ", ".join(f"'{name}'" for name in names[:3]) + (
        f" and {len(names) - 3} more" if len(names) > 3 else ""
    )
    return [
        _named(
            path,
            f"'{path}' is of Azure Functions{f' ({shown})' if names else ''}, which Azure's own host calls ('func start' of its tools runs "
            "it); an 'app.py' with a web application of Flask or FastAPI that calls the same code is served, and so is a 'predict.py' with "
            "a function 'predict'",
        )
    ]


def _bound(module: Module) -> str | None:
    """The name that `X.bind(…)` is given to."""
    for node in syntax.statements(module.tree.body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            function = node.value.func
            if isinstance(function, ast.Attribute) and function.attr == "bind":
                return next((each.id for each in node.targets if isinstance(each, ast.Name)), None)
    return None


def _named(path: str, note: str) -> Candidate:
    """Something that Corten knows and does not run by itself. Nothing weaker is run in its place."""
    return Candidate("web", None, path, f"nothing runs by default: {note}", _OWN)


def _full(names: dict[str, str], node: ast.expr) -> str:
    """What a name or an attribute stands for: `bentoml.service`."""
    dotted = syntax.dotted(node) or ""
    first, sign, rest = dotted.partition(".")
    return f"{names.get(first, first)}{sign}{rest}"


def _missing(facts: Facts, *wanted: str) -> list[str]:
    listed = {name.partition("[")[0] for name in facts.listed}
    found: dict[str, str] = {}
    for item in wanted:
        name = re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", item, maxsplit=1)[0]).lower()
        if name not in listed:
            found.setdefault(name, item)
    return list(found.values())
