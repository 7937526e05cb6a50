from fastapi import FastAPI, Form

from service.settings import TITLE


def build_api(debug: bool = False) -> FastAPI:
    api = FastAPI(title=TITLE)

    @api.post("/echo")
    def echo(word: str = Form(...)):
        return {"word": word, "title": TITLE}

    return api
