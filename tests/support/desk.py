"""A predictor behind its protocols, without a process or a socket: a call in, an answer out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from corten_serve.protocols.desk import Desk
from corten_serve.protocols.interface import Answer, BadRequest, Call, Endpoint, Model
from corten_serve.schema.signature import Signature


class Served:
    """`predict` (and further endpoints) as a worker serves them."""

    def __init__(self, predict: Callable[..., Any], *further: Callable[..., Any], **model: Any) -> None:
        functions = {"predict": predict, **{function.__name__: function for function in further}}
        self.functions = functions
        endpoints = tuple(Endpoint(name, Signature(function)) for name, function in functions.items())
        self.desk = Desk(Model(**{"name": "demo", "version": "1", "endpoints": endpoints, **model}))

    def answer(self, route: str, body: Any, *headers: str) -> Answer:
        """The answer to one call. A body that is no bytes is sent as JSON."""
        data = body if isinstance(body, (bytes, memoryview)) else json.dumps(body).encode()
        wanted = next(each.headers for each in self.desk.routes() if each.route == route)
        call = Call(route, "r1", (*headers, *[""] * (len(wanted) - len(headers))), data)
        try:
            work = self.desk.read(call)
        except BadRequest as error:
            return self.desk.write_error(call, error.status, "", error.problems)
        function = self.functions[work.endpoint]
        results = [function(*arguments, **keywords) for arguments, keywords in work.items]
        if work.stream is not None:
            parts = b"".join(map(work.stream.part, results[0])) + work.stream.end()
            return Answer(200, parts, work.stream.type)
        return self.desk.write(
            work, [list(result) if hasattr(result, "send") else result for result in results]
        )

    def json(self, route: str, body: Any, *headers: str) -> Any:
        """The answer's JSON, which has to be one of 200."""
        answer = self.answer(route, body, *headers)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def refused(self, route: str, body: Any, *headers: str) -> tuple[int, str]:
        """Status and sentence of an error."""
        answer = self.answer(route, body, *headers)
        assert answer.status >= 400, answer.body
        return answer.status, json.loads(answer.body)["error"]
