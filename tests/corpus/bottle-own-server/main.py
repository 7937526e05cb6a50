from bottle import request, route, run


@route("/add")
def add():
    return {"sum": int(request.query.a) + int(request.query.b)}


run(host="localhost", port=8080)
