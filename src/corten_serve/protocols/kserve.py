"""KServe's first protocol, which is TensorFlow Serving's: `{"instances": […]}` → `{"predictions": […]}`
(kserve.github.io, "V1 Protocol")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corten_serve.protocols.codec import encode, error_body, load, problems_text
from corten_serve.protocols.instances import Instances
from corten_serve.protocols.interface import (
    Answer,
    BadRequest,
    Call,
    Described,
    Document,
    Model,
    Problem,
    Route,
    Work,
)
from corten_serve.protocols.openapi import PREDICTING, content, operation, probe, ref
from corten_serve.protocols.results import Results
from corten_serve.protocols.shapes import Shapes

ROUTE = "v1:predict"
TAG = "KServe v1"


class KServe:
    """`POST /v1/models/NAME:predict` of one model; its endpoint `predict`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._endpoint = model.endpoints[0]
        self._instances = Instances(self._endpoint.signature)
        self._results = Results(self._endpoint.signature)

    def routes(self) -> list[Route]:
        """One route."""
        return [Route("POST", f"/v1/models/{self._model.name}:predict", ROUTE, (), self._endpoint.batch)]

    def documents(self) -> list[Document]:
        """The models of the server, and whether this one is ready."""
        model = self._model
        names = list(model.names or (model.name,))
        return [
            Document(
                "/v1/models", encode({"models": names, "object": "list", "data": [_card(n) for n in names]})
            ),
            Document(
                f"/v1/models/{model.name}",
                encode({"name": model.name, "ready": True, **_card(model.name)}),
                ready=True,
            ),
        ]

    def read(self, call: Call) -> Work:
        """An item for each instance. Raises BadRequest."""
        try:
            return Work(self._endpoint.name, self._instances.document(load(call.body)), call)
        except BadRequest as error:
            raise BadRequest(error.problems, 400) from error

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """A prediction for each. Raises ResultError."""
        return Answer(200, encode({"predictions": [self._results.plain(result) for result in results]}))

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """`{"error": …}`; what does not fit the types is 400 here."""
        return Answer(400 if status == 422 else status, error_body(message or problems_text(problems)))

    def openapi(self) -> Described:
        """Three paths."""
        name = self._model.name
        shapes = Shapes(self._endpoint, {})
        infer = operation(
            "v1_predict",
            TAG,
            "Predict instances",
            content(ref("V1Predictions")),
            PREDICTING,
            content(ref("V1Instances")),
        )
        facts = {"type": "object", "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}}}
        paths = {
            "/v1/models": probe("v1_models", TAG, "The names of the models", False),
            f"/v1/models/{name}": probe("v1_model", TAG, "Whether the model is ready", True, facts),
            f"/v1/models/{name}:predict": {"post": infer},
        }
        return Described(paths, self._instances.schemas(shapes))


def _card(name: str) -> dict[str, Any]:
    """A model as OpenAI's clients list it. When it was made is not known."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "corten"}
