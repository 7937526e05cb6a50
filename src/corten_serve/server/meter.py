"""What is counted: plain numbers that the server adds to while it works, and others read. Times are seconds."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
STAGES = ("queue", "batch", "predict", "encode", "total")
"""Waiting for a worker; waiting for a batch to grow while one was free; in the worker up to the result; there, writing it
out; and everything from the first byte of the request to the last of the answer."""
RESTARTS = ("died", "hang", "memory", "health")
"""Why workers are replaced."""
_RECENT = 50
_WINDOW = 1000


class Histogram:
    """Counts of values up to each of `bounds`, not cumulated; the last count is of those above all. `total` is the sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


class ModelMeter:
    """The numbers of one model. `requests` counts answers by (route, status); 499 is a client that left. `recent` holds
    (time of day, status, seconds) of the last ones. `restarts` counts workers that were replaced, by why. `active` requests
    are being answered. `failed` is the time that answers above 399 took together."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.stages = {stage: Histogram(SECONDS) for stage in STAGES}
        self.queue = self.stages["queue"]
        self.batch = self.stages["batch"]
        self.predict = self.stages["predict"]
        self.encode = self.stages["encode"]
        self.batches = Histogram(SIZES)
        self.restarts: dict[str, int] = {}
        self.active = 0
        self.failed = 0.0
        self.recent: deque[tuple[float, int, float]] = deque(maxlen=_RECENT)
        self._latencies: deque[float] = deque(maxlen=_WINDOW)
        self._totals = self.stages["total"]

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One request has been answered, `seconds` after its first byte."""
        key = (route, status)
        requests = self.requests
        requests[key] = requests.get(key, 0) + 1
        self._totals.add(seconds)
        if status >= 400:
            self.failed += seconds
        self._latencies.append(seconds)
        self.recent.append((time.time(), status, seconds))

    def restarted(self, why: str) -> None:
        """A worker is replaced: it `died`, did `hang`, used too much `memory`, or its `health` check failed."""
        self.restarts[why] = self.restarts.get(why, 0) + 1

    def quantiles(self) -> tuple[float, float, float, int]:
        """p50, p90 and p99 of the last thousand answers, and how many answers there were in all."""
        values = sorted(self._latencies)
        if not values:
            return 0.0, 0.0, 0.0, 0
        last = len(values) - 1
        p50, p90, p99 = (values[round(last * share)] for share in (0.5, 0.9, 0.99))
        return p50, p90, p99, self._totals.count


class Meter:
    """All numbers of one server. `other` counts answers that no model gave, by (path or class of it, status)."""

    def __init__(self) -> None:
        self.begun = time.time()
        self.models: dict[str, ModelMeter] = {}
        self.other: dict[tuple[str, int], int] = {}

    def model(self, name: str) -> ModelMeter:
        """The numbers of the model `name`, made if there are none."""
        if name not in self.models:
            self.models[name] = ModelMeter()
        return self.models[name]

    def answered(self, what: str, status: int) -> None:
        """A request was answered by the server itself. `what` is one of few words, never a client's."""
        self.other[what, status] = self.other.get((what, status), 0) + 1
