from fastapi import FastAPI

from service.scoring import score

app = FastAPI()


@app.get("/score")
def read(text: str):
    return {"score": score(text)}
