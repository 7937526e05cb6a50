from robyn import Robyn

app = Robyn(__file__)


@app.get("/double/:x")
async def double(request):
    return {"result": int(request.path_params["x"]) * 2}


if __name__ == "__main__":
    app.start(port=8080)
