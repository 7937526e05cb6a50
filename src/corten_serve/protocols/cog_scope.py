"""One prediction of Cog's protocol while it is worked on: its id, its metrics, what the project's code has printed.

The project reaches it through `cog.current_scope()`; outside of a prediction everything there does nothing, as in Cog.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

_KEY = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*(?:\.[A-Za-z](?:_?[A-Za-z0-9])*){0,3}")
_TYPES = (bool, int, float, str, list, dict)
_MOST_LOGS = 1 << 20
_MOST_METRICS = 1000


class Prediction:
    """One prediction. `given` is its input as it may be shown again; times are those of the clock, in seconds."""

    def __init__(self, identity: str, given: Mapping[str, Any], context: Mapping[str, str]) -> None:
        self.id = identity
        self.given = given
        self.context = dict(context)
        self.metrics = Metrics()
        self.created = self.started = time.time()
        self.begun = time.perf_counter()
        self.took = 0.0
        self.failed: str | None = None
        self.streamed = False
        self._logs: list[str] = []
        self._size = 0

    def begin(self) -> None:
        """The project's code starts now."""
        self.started, self.begun = time.time(), time.perf_counter()

    def end(self) -> None:
        """The project's code has returned. The first time counts."""
        self.took = self.took or time.perf_counter() - self.begun

    def log(self, text: str) -> None:
        """Keep what was printed, within bounds."""
        room = _MOST_LOGS - self._size
        if room > 0:
            self._logs.append(text[:room])
            self._size += len(text[:room])
            if len(text) > room:
                self._logs.append("\n[more was printed; it is in the server's log]\n")

    @property
    def logs(self) -> str:
        """All that was printed."""
        return "".join(self._logs)


class Metrics:
    """What a prediction counts. A name keeps the type of its first value until it is deleted."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._types: dict[str, type] = {}

    def record(self, key: str, value: Any, mode: str | None = "replace") -> None:
        """Set (`replace`), add to (`incr`) or extend (`append`) the metric `key`; dots make objects. None deletes it."""
        if mode not in (None, "replace", "incr", "append"):
            raise ValueError(f"Invalid metric mode: {mode!r}. Expected 'replace', 'incr', or 'append'.")
        _check(key)
        if value is None:
            self.delete(key)
            return
        kind = next((each for each in _TYPES if isinstance(value, each)), None)
        if kind is None:
            raise TypeError(
                f"Unsupported metric value type: {type(value).__name__}. Expected bool, int, float, str, list, or dict."
            )
        table, name = self._place(key)
        if mode == "append":
            old = table.get(name)
            table[name] = [*(old if isinstance(old, list) else [] if old is None else [old]), value]
            return
        known = self._types.setdefault(key, kind)
        if known is not kind and not (mode == "incr" and {known, kind} <= {int, float}):
            raise TypeError(
                f"Metric '{key}' has type {known.__name__}, cannot set to {kind.__name__} without deleting first"
            )
        if mode == "incr":
            if kind not in (int, float):
                raise TypeError("Increment mode requires a numeric value")
            value = table.get(name, 0) + value
        table[name] = value

    def delete(self, key: str) -> None:
        """Forget the metric `key`."""
        self._types.pop(key, None)
        table, name = self._place(key)
        table.pop(name, None)

    def _place(self, key: str) -> tuple[dict[str, Any], str]:
        table = self.found
        *outer, name = key.split(".")
        for part in outer:
            inner = table.get(part)
            if not isinstance(inner, dict):
                inner = table[part] = {}
            table = inner
        if name not in table and len(self._types) >= _MOST_METRICS:
            raise ValueError(f"A prediction has at most {_MOST_METRICS} metrics")
        return table, name

    def __setitem__(self, key: str, value: Any) -> None:
        self.record(key, value)

    def __delitem__(self, key: str) -> None:
        self.delete(key)


class Scope:
    """What `current_scope()` gives: `metrics`, `record_metric`, and `context` as the request brought it."""

    def __init__(self, metrics: Metrics, context: dict[str, str]) -> None:
        self.metrics = metrics
        self.context = context

    def record_metric(self, key: str, value: Any, mode: str = "replace") -> None:
        """The same as `metrics.record`."""
        self.metrics.record(key, value, mode)


current: ContextVar[Prediction | None] = ContextVar("cog_prediction", default=None)


def current_scope() -> Scope:
    """The scope of the prediction that is worked on. Outside of one, whatever is recorded is forgotten."""
    prediction = current.get()
    return Scope(Metrics(), {}) if prediction is None else Scope(prediction.metrics, prediction.context)


def _check(key: str) -> None:
    if not isinstance(key, str) or len(key) > 128 or not _KEY.fullmatch(key):
        raise ValueError(f"Invalid metric name: {str(key)[:140]!r}")
    if key == "predict_time" or key.startswith("cog."):
        raise ValueError(f"The metric name {key!r} is reserved")
