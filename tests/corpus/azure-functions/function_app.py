import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="double", methods=["POST"])
def double(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps({"result": req.get_json()["x"] * 2}), mimetype="application/json")
