"""MLflow's scoring protocol (mlflow.org/docs, "Local inference spec"): `POST /invocations`, `/ping`, `/health`, `/version`.

MLflow itself, in the project's environment, reads a request's body and writes the answer's: `dataframe_split`,
`dataframe_records`, `instances`, `inputs`, CSV, Parquet. Here its answers are only passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from corten_serve.protocols.codec import encode, problems_text
from corten_serve.protocols.interface import (
    JSON,
    Answer,
    Call,
    Described,
    Document,
    Model,
    Problem,
    Route,
    Work,
)
from corten_serve.protocols.openapi import PREDICTING, content, operation

ROUTE = "mlflow:invocations"
KEY = "\0mlflow"
"""The argument of a request in MLflow's own form, which no column can be named as."""
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class Asked(NamedTuple):
    """A request in MLflow's own form."""

    body: bytes
    content_type: str


class MLflow:
    """The routes of a server's first model; `/invocations` stands in the place of SageMaker's."""

    def __init__(self, model: Model, version: str) -> None:
        self._first = model.first
        self._endpoint = model.endpoints[0]
        self._version = version

    def routes(self) -> list[Route]:
        """One route."""
        return [Route("POST", "/invocations", ROUTE, ("content-type",))] if self._first else []

    def documents(self) -> list[Document]:
        """What MLflow's server answers to GET."""
        if not self._first:
            return []
        ready = [Document(path, b"\n", ready=True) for path in ("/health",)]
        return [*ready, Document("/version", self._version.encode(), "text/plain; charset=utf-8")]

    def read(self, call: Call) -> Work:
        """One item of work: MLflow reads it."""
        asked = Asked(bytes(call.body), call.headers[0] or JSON)
        return Work(self._endpoint.name, [([], {KEY: asked})], call)

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """MLflow's answer, as it is."""
        answer: Answer = results[0]
        return answer

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """An error in MLflow's form."""
        code = "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR"
        return Answer(status, encode({"error_code": code, "message": message or problems_text(problems)}))

    def openapi(self) -> Described:
        """One path."""
        if not self._first:
            return Described({}, {})
        request = {
            "type": "object",
            "description": "exactly one of the forms of a table or of tensors, and `params` beside it",
            "properties": {**{name: {} for name in _FORMS}, "params": {"type": "object"}},
        }
        answer = {"type": "object", "properties": {"predictions": {}}}
        post = operation(
            "mlflow_invocations", "MLflow", "Score a table", content(answer), PREDICTING, content(request)
        )
        return Described({"/invocations": {"post": post}}, {})
