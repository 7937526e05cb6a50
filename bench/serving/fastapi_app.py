"""FastAPI, as its documentation begins: a function for one request, run in a thread."""

from __future__ import annotations

import models
from fastapi import FastAPI
from pydantic import BaseModel

models.load()
app = FastAPI()


class Row(BaseModel):
    a: float
    b: float
    c: float
    d: float


class One(BaseModel):
    x: float


if models.KIND.startswith("m1"):

    @app.post("/predict")
    def predict(row: Row) -> int:
        return models.m1([[row.a, row.b, row.c, row.d]])[0]

else:

    @app.post("/predict")
    def predict_one(one: One) -> float:
        call = {"m0": models.m0, "m2": lambda x: models.m2([x])[0], "hold": models.hold}[models.KIND]
        return call(one.x)


@app.get("/livez")
def livez() -> str:
    return "live"
