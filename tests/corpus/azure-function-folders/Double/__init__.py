import json

import azure.functions as func


def main(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps({"result": int(req.params["x"]) * 2}), mimetype="application/json")
