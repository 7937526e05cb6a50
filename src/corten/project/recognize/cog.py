"""Finding the predictor of a project that was written for Cog: `predict: "predict.py:Predictor"` in `cog.yaml`.

What else `cog.yaml` says (packages, the Python, variables) is read by `corten.project.hints.cog_yaml`."""

from __future__ import annotations

import ast
import posixpath

from corten.errors import ProjectError
from corten.lazy import regex
from corten.project.hints import documents
from corten.project.model import Predictor
from corten.project.recognize import foreign_config
from corten.project.recognize.candidates import PLATFORM, Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.folder import Folder

FILE = "cog.yaml"
_REFERENCE = regex(r"(?:\./)?([^:\s]+\.py)(?::([A-Za-z_]\w*))?")


def find(facts: Facts) -> list[Candidate]:
    """The predictor that `cog.yaml` names. Raises ProjectError for one that is not there."""
    folder = facts.folder
    if not folder.exists(FILE):
        return []
    config = foreign_config.table(folder, FILE)
    if config is None:
        return []
    key = "run" if foreign_config.text(config.get("run")) else "predict"
    reference = foreign_config.text(config.get(key))
    if not reference:
        return []
    found = _REFERENCE.fullmatch(reference)
    line = documents.line_of(folder.text(FILE) or "", f"{key}:")
    if found is None:
        raise ProjectError(
            f"'{key}' in '{FILE}' is '{reference[:80]}'", hint='Cog writes it as "predict.py:Predictor"'
        )
    path = posixpath.normpath(found[1])
    if folder.data(path) is None:
        raise ProjectError(
            f"'{FILE}' names '{path}', which is not in the project",
            hint=f"correct '{key}' in line {line} of '{FILE}', or name what runs by 'predict' in [tool.corten]",
        )
    name = found[2] or _name_in(folder, path)
    module = path.removesuffix(".py").replace("/", ".")
    # The module's name where there is one: a pickle may have been written under it.
    target = (
        f"{module}:{name}" if all(part.isidentifier() for part in module.split(".")) else f"{path}:{name}"
    )
    env = {"CORTEN_COG": "1"}
    most = foreign_config.mapping(config.get("concurrency")).get("max")
    if isinstance(most, int) and 1 <= most <= 10_000:
        env["CORTEN_CONCURRENCY"] = str(most)
    note = f"'{FILE}' has the predictor '{path}:{name}'; Cog's protocol is served beside Corten's"
    train = foreign_config.text(config.get("train"))
    if train:
        note += f"; '{train[:80]}' is not served: it trains"
    return [
        Candidate(
            "predictor",
            Predictor(target),
            FILE,
            note,
            PLATFORM,
            env=env,
            writable=True,
            source="cog",
            target=target,
        )
    ]


def _name_in(folder: Folder, path: str) -> str:
    """`Runner` or `Predictor`, whichever the file has: what Cog takes where only the file is named."""
    module = folder.module(path)
    names = {
        node.name
        for node in (module.tree.body if module is not None else ())
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return "Runner" if "Runner" in names else "Predictor"
