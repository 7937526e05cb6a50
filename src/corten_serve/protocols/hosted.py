"""What hosting services send: SageMaker to `/invocations`, Vertex AI to the path that it names in `AIP_PREDICT_ROUTE`.

Both take a request as `/predict` does, or `{"instances": […]}`. SageMaker's batch jobs send rows of CSV or lines of JSON,
and get as many back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corten_serve.protocols.accept import choose, parse
from corten_serve.protocols.bodies import Bodies, recoded
from corten_serve.protocols.codec import bind, encode, error_body, load
from corten_serve.protocols.instances import Instances, csv_rows
from corten_serve.protocols.interface import (
    JSON,
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

CSV = "text/csv"
LINES = "application/jsonlines"
_LINES = (LINES, "application/x-ndjson", "application/jsonl", "application/x-jsonlines")
_PERHAPS_JSON = frozenset(
    {
        "",
        "text/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "binary/octet-stream",
    }
)
"""What clients of hosting services, or the services for them, call a body whose type nobody has set."""
TAG = "hosting services"
INVOCATIONS, VERTEX = "hosted:invocations", "hosted:vertex"


class Hosted:
    """The routes of hosting services, which belong to a server's first model and its endpoint `predict`."""

    def __init__(self, model: Model) -> None:
        self._first = model.first
        self._endpoint = model.endpoints[0]
        signature = self._signature = self._endpoint.signature
        self._bodies = Bodies(signature)
        self._results = Results(signature)
        self._instances = Instances(signature)
        self._wrapped = all(field.name != "instances" for field in signature.request.fields)
        self._vertex = _path(model.environment.get("AIP_PREDICT_ROUTE", ""))
        self._health = _path(model.environment.get("AIP_HEALTH_ROUTE", ""))

    def routes(self) -> list[Route]:
        """`/invocations`, and Vertex's path where the environment names one."""
        if not self._first:
            return []
        wanted, batch = ("content-type", "accept"), self._endpoint.batch
        vertex = [Route("POST", self._vertex, VERTEX, wanted, batch)] if self._vertex else []
        return [Route("POST", "/invocations", INVOCATIONS, wanted, batch), *vertex]

    def documents(self) -> list[Document]:
        """`/ping`, and Vertex's path for health where the environment names one."""
        if not self._first:
            return []
        paths = ["/ping", *([self._health] if self._health else [])]
        return [Document(path, b'{"status":"ready"}', ready=True) for path in paths]

    def read(self, call: Call) -> Work:
        """One item, or one for each instance, row or line. Raises BadRequest."""
        content_type, accept = call.headers[0], call.headers[1]
        kind, parameters = parse(content_type)
        if kind == CSV and not self._bodies.takes(CSV):
            chosen = _chosen(accept, (CSV, JSON, LINES))
            return Work(self._endpoint.name, self._instances.rows(call.body), call, ("rows", chosen))
        if kind in _LINES:
            chosen = _chosen(accept, (LINES, JSON, CSV))
            return Work(self._endpoint.name, self._instances.lines(call.body), call, ("rows", chosen))
        if (
            kind in _PERHAPS_JSON
            and bytes(call.body[:64]).lstrip()[:1] == b"{"
            and not self._bodies.takes(kind)
        ):
            kind = content_type = JSON
        is_json = kind == JSON or kind.endswith("+json")
        if self._wrapped and is_json and bytes(call.body[:64]).lstrip()[:1] == b"{":
            value = load(recoded(call.body, parameters))
            if "instances" in value:
                chosen = _chosen(accept, (JSON,))
                return Work(self._endpoint.name, self._instances.document(value), call, ("instances", chosen))
            arguments = bind(self._signature, value)
        else:
            arguments = self._bodies.read(call.body, content_type)
        chosen = self._results.choose(accept)
        return Work(self._endpoint.name, [arguments], call, ("one", chosen), self._results.stream(chosen))

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The result, or all of them in the form of the request. Raises ResultError."""
        how, chosen = work.note
        if how == "one":
            return self._results.write(results[0], chosen)
        plain = [self._results.plain(result) for result in results]
        if how == "instances":
            return Answer(200, encode({"predictions": plain}))
        if chosen == CSV:
            return Answer(200, csv_rows(plain), "text/csv; charset=utf-8")
        if chosen == LINES:
            return Answer(200, b"".join(encode(value) + b"\n" for value in plain), LINES)
        return Answer(200, encode(plain))

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """As `/predict` has it."""
        return Answer(status, error_body(message, problems))

    def openapi(self) -> Described:
        """`/invocations` and `/ping`, and Vertex's paths."""
        if not self._first:
            return Described({}, {})
        shapes = Shapes(self._endpoint, {})
        failures = (*PREDICTING, "406", "415", "422")
        requests, answers = self._contents(shapes)
        paths: dict[str, Any] = {"/ping": probe("ping", TAG, "Whether a prediction can be made now", True)}
        if self._health:
            paths[self._health] = probe("vertex_health", TAG, "Whether a prediction can be made now", True)
        named = {"/invocations": "invocations", **({self._vertex: "vertex_predict"} if self._vertex else {})}
        for path, identity in named.items():
            predict = operation(identity, TAG, "Predict", answers, failures, requests, not shapes.optional)
            paths[path] = {"post": predict}
        return Described(paths, self._instances.schemas(shapes))

    def _contents(self, shapes: Shapes) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content types of requests and answers."""
        requests, answers = shapes.requests(), shapes.answers()
        text = {**content({"type": "string"}, CSV), **content({"type": "string"}, LINES)}
        wrapped = [ref("V1Instances")] if self._wrapped else []
        requests = {**text, **requests, **content({"anyOf": [ref(shapes.request), *wrapped]})}
        result = answers[JSON]["schema"]
        rows = {"type": "array", "items": shapes.result}
        answer = {"anyOf": [result, ref("V1Predictions"), rows]} if result else {}
        return requests, {**text, **answers, **content(answer)}


def _chosen(accept: str, offers: tuple[str, ...]) -> str:
    chosen = choose(accept, offers)
    if chosen is None:
        raise BadRequest(
            [("", "the results can be had as " + ", ".join(f"'{offer}'" for offer in offers))], 406
        )
    return chosen


def _path(text: str) -> str:
    """A path from the environment; nothing where it is none."""
    return text if text.startswith("/") and text.isprintable() and not set(text) & set(" ?#") else ""
