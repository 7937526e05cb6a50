from fastapi import FastAPI
from pydantic import BaseModel

from .model import double

api = FastAPI(title="doubles")


class Item(BaseModel):
    x: float


@api.post("/predict")
def predict(item: Item):
    return {"y": double(item.x)}
