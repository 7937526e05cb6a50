"""Finding a model's folder of MLflow (`MLmodel`), and what a project of MLflow (`MLproject`) runs."""

from __future__ import annotations

import posixpath
import re

from corten.lazy import regex
from corten.project.kinds import TABLE
from corten.project.model import Predictor
from corten.project.recognize import foreign_config
from corten.project.recognize.candidates import PLATFORM, SCRIPT, Candidate
from corten.project.recognize.facts import Facts

MODEL, PROJECT = "MLmodel", "MLproject"
_PARAMETER = regex(r"\{(\w+)\}")
_VERSION = regex(r"\d+(?:\.\d+){1,3}")


def find(facts: Facts) -> list[Candidate]:
    """The model in the project's own folder, or the only one below it; and the steps of a project of MLflow, which are named."""
    return [*_models(facts), *_project(facts)]


def _models(facts: Facts) -> list[Candidate]:
    folder = facts.folder
    places = [path for path in folder.files(MODEL) if posixpath.basename(path) == MODEL]
    own = MODEL in places
    found: list[Candidate] = []
    for path in [MODEL] if own else places:
        config = foreign_config.table(folder, path) or {}
        if "python_function" not in foreign_config.mapping(config.get("flavors")):
            continue
        listed = {name.partition("[")[0] for name in facts.listed}
        version = foreign_config.text(config.get("mlflow_version"))
        requires: tuple[str, ...] = ()
        if not listed & {"mlflow", "mlflow-skinny"}:
            requires = (f"mlflow=={version}" if _VERSION.fullmatch(version) else "mlflow",)
        note = f"'{path}' is a model of MLflow; MLflow's protocol is served beside Corten's"
        strength = PLATFORM if own else SCRIPT + 7
        reason = f"'{path}' was written by it" if requires else ""
        found.append(
            Candidate(
                "predictor",
                Predictor(path),
                path,
                note,
                strength,
                requires=requires,
                reason=reason,
                target=path,
            )
        )
    if len(found) > 1:
        table = ", ".join(
            f'{_name(item.path, number)} = "{item.path}"' for number, item in enumerate(found[:6])
        )
        note = f"nothing runs by default: predict = {{ {table} }} in {TABLE} would serve the models of MLflow"
        return [Candidate("predictor", None, found[0].path, note, SCRIPT + 7)]
    return found


def _project(facts: Facts) -> list[Candidate]:
    config = foreign_config.table(facts.folder, PROJECT) if facts.folder.exists(PROJECT) else None
    entries = foreign_config.mapping((config or {}).get("entry_points"))
    if config is None or not entries:
        return []
    name = "main" if "main" in entries else next(iter(entries))
    entry = foreign_config.mapping(entries[name])
    given = foreign_config.mapping(entry.get("parameters"))

    def value(match: re.Match[str]) -> str:
        said = given.get(match[1])
        default = said.get("default") if isinstance(said, dict) else None
        return str(default) if default is not None else match[1].upper()

    command = " ".join(_PARAMETER.sub(value, foreign_config.text(entry.get("command"))).split())[:200]
    others = f" (and {len(entries) - 1} more entry points)" if len(entries) > 1 else ""
    note = (
        f"nothing runs by default: '{PROJECT}' has steps that end{others}: corten run . -- {command or name}"
    )
    return [Candidate("script", None, PROJECT, note, SCRIPT + 7)]


def _name(path: str, number: int) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", posixpath.basename(posixpath.dirname(path)).lower()).strip("-")
    return stem[:40] or f"model-{number + 1}"
