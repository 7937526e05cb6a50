"""Corten's own protocol: `POST /predict`, and one path for each further endpoint. A JSON object of the parameters in, the
result as JSON out; or a form, an array, an upload in, and a file, an image, an array, a stream out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corten_serve.protocols.bodies import Bodies
from corten_serve.protocols.codec import error_body
from corten_serve.protocols.interface import Answer, Call, Described, Endpoint, Model, Problem, Route, Work
from corten_serve.protocols.openapi import PREDICTING, operation
from corten_serve.protocols.results import Results
from corten_serve.protocols.shapes import Shapes
from corten_serve.schema.kinds import Schema


class Readers:
    """What reads and writes for one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = endpoint.name
        self.bodies = Bodies(endpoint.signature)
        self.results = Results(endpoint.signature)

    def work(self, call: Call, content_type: str, accept: str) -> Work:
        """One item of work. Raises BadRequest."""
        results = self.results
        chosen = results.choose(accept)
        arguments = self.bodies.read(call.body, content_type)
        return Work(self.name, [arguments], call, chosen, results.stream(chosen) if results.streams else None)


class Plain:
    """Reads and writes the requests of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._readers = {f"json:{each.name}": Readers(each) for each in model.endpoints}

    def readers(self, endpoint: str) -> Readers:
        """What other protocols read and write the same bodies with."""
        return self._readers[f"json:{endpoint}"]

    def routes(self) -> list[Route]:
        """One for each endpoint."""
        prefix = self._model.prefix
        return [
            Route(
                "POST", prefix + each.endpoint.place, route, ("content-type", "accept"), each.endpoint.batch
            )
            for route, each in self._readers.items()
        ]

    def read(self, call: Call) -> Work:
        """One item of work. Raises BadRequest."""
        headers = call.headers
        return self._readers[call.route].work(call, headers[0], headers[1])

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The one result. Raises ResultError."""
        return self._readers[work.call.route].results.write(results[0], work.note)

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """`{"error": …}`, and each problem with its field."""
        return Answer(status, error_body(message, problems))

    def openapi(self) -> Described:
        """A path for each endpoint."""
        paths: dict[str, Any] = {}
        schemas: dict[str, Schema] = {}
        for readers in self._readers.values():
            endpoint = readers.endpoint
            shapes = Shapes(endpoint, schemas)
            schemas.update(shapes.schemas)
            summary = endpoint.description.split("\n\n")[0].replace("\n", " ") or endpoint.name.capitalize()
            paths[self._model.prefix + endpoint.place] = {
                "post": operation(
                    endpoint.name,
                    "predict",
                    summary,
                    shapes.answers(),
                    (*PREDICTING, "406", "415", "422"),
                    shapes.requests(),
                    not shapes.optional,
                    endpoint.description,
                )
            }
        return Described(paths, schemas)
