from bottle import Bottle, request, run

app = Bottle()


@app.post("/double")
def double():
    return {"result": request.json["x"] * 2}


if __name__ == "__main__":
    run(app, host="localhost", port=8080)
