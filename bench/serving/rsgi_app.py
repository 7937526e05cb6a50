"""Raw Granian: no validation, no queue, no isolation. A floor."""

from __future__ import annotations

import json

import models

models.load()
_HEADERS = [("content-type", "application/json")]


async def app(scope, proto):
    if scope.path == "/livez":
        proto.response_str(200, _HEADERS, '"live"')
        return
    body = json.loads(await proto())
    if models.KIND.startswith("m1"):
        answer = models.m1([[body["a"], body["b"], body["c"], body["d"]]])[0]
    elif models.KIND == "m0":
        answer = models.m0(body["x"])
    else:
        answer = models.hold(body["x"]) if models.KIND == "hold" else models.m2([body["x"]])[0]
    proto.response_str(200, _HEADERS, json.dumps(answer))
