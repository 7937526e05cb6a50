"""Finding a model's file that the server can load without code."""

from __future__ import annotations

import glob
import itertools
import os
import re

from corten.project.kinds import MODEL_FILES, TABLE
from corten.project.model import Predictor
from corten.project.patterns import is_glob
from corten.project.recognize.candidates import SCRIPT, Candidate
from corten.project.recognize.facts import Facts

_READERS = {
    ".onnx": frozenset({"onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"}),
    ".skops": frozenset({"skops"}),
}
_ESTIMATORS = frozenset({"scikit-learn", "xgboost", "lightgbm", "catboost", "imbalanced-learn", "skops"})
"""Packages whose models have scikit-learn's interface."""
_MOST_MATCHES = 1000
UNNAMED = tuple(f"{folder}*{ending}" for folder in ("", "models/") for ending in MODEL_FILES)
"""Where a model lies that the project does not name. It is not served unasked: loading a pickle runs code."""


def find(facts: Facts) -> list[Candidate]:
    """The only model among the declared weights that can be served; several are named with the line that serves them all."""
    if len(facts.scripts) == 1 or facts.folder.has_file("main.py"):
        return []  # that runs, as it does without models
    served = readable(facts, facts.models) if facts.models else []
    if len(served) == 1:
        note = f"'{served[0]}' is the model that is served, without code"
        return [Candidate("predictor", Predictor(served[0]), served[0], note, SCRIPT + 5)]
    if served:
        table = ", ".join(f'{_model_name(path)} = "{path}"' for path in served[:6])
        note = f"nothing runs by default: predict = {{ {table} }} in {TABLE} would serve the models"
        return [Candidate("predictor", None, served[0], note, SCRIPT + 5)]
    return []


def readable(facts: Facts, patterns: tuple[str, ...]) -> list[str]:
    """The files that `patterns` name and that can be served without code: a known ending, and the library that reads
    them among the dependencies. One that is named exactly need not exist yet: it may be trained in the image."""
    root = facts.folder.root
    named: dict[str, None] = {}
    for pattern in patterns:
        if not is_glob(pattern) or os.path.lexists(f"{root}/{pattern}"):
            named[pattern] = None
        else:
            matches = glob.iglob(pattern, root_dir=root, recursive=True)
            named |= dict.fromkeys(sorted(itertools.islice(matches, _MOST_MATCHES)))
    files = [path for path in named if path.endswith(MODEL_FILES)]
    names = {name.partition("[")[0] for name in facts.packages} if files else set()
    return [path for path in files if _readers(path) & names]


def _readers(path: str) -> frozenset[str]:
    """The packages of which one is needed to load a model's file."""
    return _READERS.get(os.path.splitext(path)[1], _ESTIMATORS)


def _model_name(path: str) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", os.path.basename(path).rsplit(".", 1)[0].lower()).strip("-")
    return stem[:63].rstrip("-") or "model"
