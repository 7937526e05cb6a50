"""Corten's predictors: what a user writes."""

from __future__ import annotations

import asyncio

import models


class M0:
    def setup(self) -> None:
        models.load()

    def predict(self, x: float) -> float:
        return models.m0(x)


class M1:
    def setup(self) -> None:
        models.load()

    def predict(self, a: float, b: float, c: float, d: float) -> int:
        return models.m1([[a, b, c, d]])[0]


class M1Batched(M1):
    def predict_batch(self, items: list[dict[str, float]]) -> list[int]:
        return models.m1([[item["a"], item["b"], item["c"], item["d"]] for item in items])


class M2:
    def predict(self, x: float) -> float:
        return models.m2([x])[0]

    def predict_batch(self, items: list[float]) -> list[float]:
        return models.m2(items)


class Hold:
    def predict(self, x: float) -> float:
        return models.hold(x)


class Slow:
    async def predict(self, x: float) -> str:
        await asyncio.sleep(0.1)
        return "x" * 300_000
