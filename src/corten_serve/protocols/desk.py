"""All protocols of one model, behind the one interface: a call is handed to the protocol that its route belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corten_serve.protocols.functions import Functions
from corten_serve.protocols.hosted import Hosted
from corten_serve.protocols.inference import Inference
from corten_serve.protocols.interface import (
    Answer,
    BadRequest,
    Call,
    Document,
    Model,
    Problem,
    Route,
    WireProtocol,
    Work,
)
from corten_serve.protocols.kserve import KServe
from corten_serve.protocols.openapi import assembled, rendered
from corten_serve.protocols.plain import Plain


class Desk:
    """Reads and writes every request of `model`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._routes: list[Route] = []
        self._by_route: dict[str, WireProtocol] = {}
        self._documents: list[Document] = []
        own: WireProtocol | None = None if model.protocol is None else model.protocol(model)
        if own is not None and model.alone:
            self._protocols: tuple[WireProtocol, ...] = (own,)
            self._plain: WireProtocol = own
            self._add(own)
            self._openapi = self._described()
            return
        self._plain = Plain(model)
        inference, kserve, hosted = Inference(model), KServe(model), Hosted(model)
        self._protocols = (self._plain, inference, kserve, hosted)
        if model.cog is not None:
            from corten_serve.protocols.cog import Cog

            self._protocols += (Cog(model),)
        if own is not None:
            self._protocols += (own,)
            self._documents += own.documents() if hasattr(own, "documents") else []
        self._documents += [*inference.documents(), *kserve.documents(), *hosted.documents()]
        self._add(*self._protocols)
        self._openapi = self._described()
        self._add(Functions(model, self, self._documents, lambda: rendered(self._openapi)))

    def _add(self, *protocols: WireProtocol) -> None:
        """Take in their routes. Of two with the same path the later one counts: Vertex may say `/predict`."""
        for protocol in protocols:
            for route in protocol.routes():
                same = (route.method, route.path)
                self._routes = [each for each in self._routes if (each.method, each.path) != same]
                self._routes.append(route)
                self._by_route[route.route] = protocol

    def routes(self) -> list[Route]:
        """Every operation that the server has to send here. The one without a path is for events of Lambda."""
        return self._routes

    def documents(self) -> list[Document]:
        """What the server answers to GET by itself, beside the OpenAPI document."""
        return self._documents

    def read(self, call: Call) -> Work:
        """The work that `call` asks for. Raises BadRequest, also for a route that nobody has."""
        protocol = self._by_route.get(call.route)
        if protocol is None:
            raise BadRequest([("", f"there is no route '{call.route[:60]}'")], 404)
        return protocol.read(call)

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The answer for the results. Raises ResultError."""
        return self._by_route[work.call.route].write(work, results)

    def write_error(self, call: Call, status: int, message: str, problems: Sequence[Problem] = ()) -> Answer:
        """The answer to a call that failed, in the form of its protocol. `message` may be empty where there are
        problems, which then make the sentence."""
        return self._by_route.get(call.route, self._plain).write_error(call, status, message, problems)

    def openapi(self) -> dict[str, Any]:
        """The whole OpenAPI document of the model."""
        return self._openapi

    def _described(self) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        schemas: dict[str, Any] = {}
        for protocol in self._protocols:
            described = protocol.openapi()
            paths.update(described.paths)
            schemas.update(described.schemas)
        return assembled(self._model, paths, schemas)
