from blacksheep import Application, get, json

app = Application()


@get("/double/{x}")
def double(x: int):
    return json({"result": x * 2})
