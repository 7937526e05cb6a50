"""Corten's own protocol: `POST /predict`, and one path for each further endpoint. A JSON object of the parameters in, the
result as JSON out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corten_serve.protocols.codec import decode, encode, error_body
from corten_serve.protocols.interface import Answer, BadRequest, Call, Endpoint, Model, Problem, Route, Work


class Plain:
    """Reads and writes the requests of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._endpoints: dict[str, Endpoint] = {f"json:{each.name}": each for each in model.endpoints}

    def routes(self) -> list[Route]:
        """One for each endpoint."""
        prefix = self._model.prefix
        return [
            Route("POST", prefix + endpoint.place, route, ("content-type", "accept"), endpoint.batch)
            for route, endpoint in self._endpoints.items()
        ]

    def read(self, call: Call) -> Work:
        """One item of work. Raises BadRequest."""
        endpoint = self._endpoints.get(call.route)
        if endpoint is None:
            raise BadRequest([("", "there is nothing here")], 404)
        content_type = call.headers[0] if call.headers else ""
        return Work(endpoint.name, [decode(endpoint.signature, call.body, content_type)], call)

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The one result. Raises ResultError."""
        return Answer(200, encode(results[0]))

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """`{"error": …}`, and each problem with its field."""
        return Answer(status, error_body(message, problems))

    def openapi(self) -> dict[str, Any]:
        """Nothing yet: `openapi.document` describes these paths."""
        return {}
