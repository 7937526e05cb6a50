"""BentoML, as its documentation begins; M2 with its batching."""

from __future__ import annotations

import os

import bentoml
import models

_SERVICE = {"workers": int(os.environ.get("BENCH_WORKERS", "1")), "traffic": {"timeout": 60}}

if models.KIND.startswith("m1"):

    @bentoml.service(**_SERVICE)
    class Service:
        def __init__(self) -> None:
            models.load()

        @bentoml.api
        def predict(self, a: float, b: float, c: float, d: float) -> int:
            return models.m1([[a, b, c, d]])[0]

elif models.KIND == "m2":

    @bentoml.service(**_SERVICE)
    class Service:
        @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
        def predict(self, x: list[float]) -> list[float]:
            return models.m2(x)

else:

    @bentoml.service(**_SERVICE)
    class Service:
        @bentoml.api
        def predict(self, x: float) -> float:
            return models.hold(x) if models.KIND == "hold" else models.m0(x)
