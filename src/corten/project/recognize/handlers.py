"""Finding a handler that was written for AWS Lambda: in a template of SAM or CloudFormation, in `serverless.yml`, or in a file of a
known name."""

from __future__ import annotations

import ast
import posixpath
import re
from typing import Any

from corten.lazy import regex
from corten.project.model import Predictor
from corten.project.recognize import foreign_config
from corten.project.recognize.candidates import APPLICATION, PLATFORM, Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.folder import Folder

_TEMPLATES = ("template.yaml", "template.yml", "sam.yaml", "sam.yml")
_SERVERLESS = ("serverless.yml", "serverless.yaml")
_AWS = regex(r"(?mi)^\s*FROM\s[^\n]*\blambda/python\b|awslambdaric")
_COMMAND = regex(r"(?mi)^\s*CMD\s*\[\s*[\"']([\w./-]+\.\w+)[\"']\s*\]")
_PLACES = ("src", "app", "lambda", "function")
_TYPES = ("AWS::Serverless::Function", "AWS::Lambda::Function")
_FILES = tuple(
    f"{folder}{name}.py"
    for folder in ("", "src/", "app/", "lambda/")
    for name in ("lambda_function", "lambda_handler", "handler", "app", "main", "index")
)
_FUNCTIONS = ("lambda_handler", "handler", "main")
_EVENTS, _CONTEXTS = ("event", "_event"), ("context", "_context", "ctx", "_ctx", "_")


def find(facts: Facts) -> list[Candidate]:
    """The handlers that a template names; without one, the handler in a file of a known name."""
    folder = facts.folder
    declared = [*_of_templates(folder), *_of_serverless(folder)] or _of_dockerfile(folder)
    if declared:
        return declared
    for path in _FILES:
        module = folder.module(path) if folder.has_file(path) else None
        if module is None:
            continue
        names = {
            node.name for node in module.tree.body if isinstance(node, ast.FunctionDef) and _takes_event(node)
        }
        name = next((each for each in _FUNCTIONS if each in names), None)
        if name is not None:
            return [
                _candidate(path, name, path, f"'{path}' has the Lambda handler '{name}'", APPLICATION - 5)
            ]
    return []


def _of_templates(folder: Folder) -> list[Candidate]:
    for file in _TEMPLATES:
        if not any(kind in (folder.text(file) or "") for kind in _TYPES):
            continue
        config = foreign_config.table(folder, file) or {}
        common = foreign_config.mapping(foreign_config.mapping(config.get("Globals")).get("Function"))
        found = []
        for name, resource in foreign_config.mapping(config.get("Resources")).items():
            resource = foreign_config.mapping(resource)
            if resource.get("Type") not in _TYPES:
                continue
            said = {**common, **foreign_config.mapping(resource.get("Properties"))}
            code = said.get("CodeUri", said.get("Code"))
            place = code if isinstance(code, str) and "://" not in code else "."
            found += _declared(folder, file, name, said, "Handler", "Runtime", place)
        return found
    return []


def _of_serverless(folder: Folder) -> list[Candidate]:
    for file in _SERVERLESS:
        if not folder.exists(file):
            continue
        config = foreign_config.table(folder, file) or {}
        provider = foreign_config.mapping(config.get("provider"))
        functions = config.get("functions")
        # A list of mappings is another spelling.
        parts = functions if isinstance(functions, list) else [functions]
        found = []
        for part in parts[:100]:
            for name, said in foreign_config.mapping(part).items():
                said = {"runtime": provider.get("runtime"), **foreign_config.mapping(said)}
                found += _declared(folder, file, name, said, "handler", "runtime", ".")
        return found
    return []


def _of_dockerfile(folder: Folder) -> list[Candidate]:
    """The handler of an image for Lambda: AWS's base, or its runtime client, and `CMD ["app.handler"]`."""
    text = folder.text("Dockerfile") or ""
    if not _AWS.search(text):
        return []
    words = _COMMAND.findall(text)
    for place in ("", *_PLACES) if words else ():
        said = {"Handler": words[-1]}
        found = _declared(folder, "Dockerfile", "", said, "Handler", "Runtime", place or ".")
        if found:
            return found
    return []


def _declared(
    folder: Folder, file: str, name: str, said: dict[str, Any], handler: str, runtime: str, place: str
) -> list[Candidate]:
    """The candidate for one function of a template; none where it is not Python's, or its file is not in the project."""
    language = foreign_config.text(said.get(runtime))
    written = foreign_config.text(said.get(handler))
    module, _, function = written.rpartition(".")
    if (language and not language.startswith("python")) or not module or not function.isidentifier():
        return []
    place = posixpath.normpath(place)
    for spelled in (module, module.replace(".", "/")):
        path = posixpath.normpath(posixpath.join(place, f"{spelled}.py"))
        if not path.startswith(("/", "..")) and folder.data(path) is not None:
            cwd = "" if place == "." else place
            called = f"the Lambda function '{name[:60]}', handler" if name else "the Lambda handler"
            note = f"'{file}' has {called} '{path}:{function}'"
            return [_candidate(path, function, file, note, PLATFORM - 5, cwd, name)]
    return []


def _candidate(
    path: str, function: str, file: str, note: str, strength: int, cwd: str = "", name: str = ""
) -> Candidate:
    target = f"{path}:{function}" if "/" in path else f"{path.removesuffix('.py')}:{function}"
    env = {"CORTEN_LAMBDA": "1", "LAMBDA_TASK_ROOT": f"/app/{cwd}" if cwd else "/app"}
    called = re.sub(r"[^\w-]", "", name)[:64]
    if called:
        env["AWS_LAMBDA_FUNCTION_NAME"] = called
    return Candidate("predictor", Predictor(target), file, note, strength, cwd=cwd, env=env, target=target)


def _takes_event(node: ast.FunctionDef) -> bool:
    names = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
    return len(names) == 2 and names[0] in _EVENTS and names[1] in _CONTEXTS
