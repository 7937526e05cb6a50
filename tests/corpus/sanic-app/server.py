from sanic import Sanic
from sanic.response import json

app = Sanic("doubles")


@app.get("/<x:int>")
async def double(request, x):
    return json({"y": 2 * x})


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=8000)
