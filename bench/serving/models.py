"""What every server serves: M0 answers at once, M1 is scikit-learn on one row, M2 costs 5 ms + 0.05 ms a row and can be batched."""

from __future__ import annotations

import os
import time
from typing import Any

KIND = os.environ.get("BENCH_MODEL", "m0")
_model: Any = None


def load() -> None:
    """Train or prepare what `KIND` needs, once in each process."""
    global _model
    if KIND.startswith("m1") and _model is None:
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression

        data = load_iris()
        _model = LogisticRegression(max_iter=500).fit(data.data, data.target)


def m0(x: float) -> float:
    """The no-op."""
    return x


def m1(rows: list[list[float]]) -> list[int]:
    """Classes of iris flowers."""
    return [int(label) for label in _model.predict(rows)]


def m2(values: list[float]) -> list[float]:
    """Keeps a processor busy, as a model would."""
    end = time.perf_counter() + 0.005 + 0.00005 * len(values)
    while time.perf_counter() < end:
        pass
    return [value * 2 for value in values]


def hold(seconds: float) -> float:
    """Hold the interpreter's lock: a regular expression never lets go of it."""
    import re

    length, begun = 18, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        re.match("(a+)+b", "a" * length)
        length = min(length + 1, 25)
    return time.perf_counter() - begun
