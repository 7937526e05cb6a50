"""All protocols of one model, behind the one interface: a call is handed to the protocol that its route belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
from corten_serve.protocols.openapi import document
from corten_serve.protocols.plain import Plain


class Desk:
    """Reads and writes every request of `model`. It is a WireProtocol itself."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._plain: WireProtocol = Plain(model)
        self._routes: list[Route] = []
        self._by_route: dict[str, WireProtocol] = {}
        for protocol in (self._plain,):
            for route in protocol.routes():
                self._routes.append(route)
                self._by_route[route.route] = protocol

    def routes(self) -> list[Route]:
        """Every operation that the server has to send here."""
        return self._routes

    def documents(self) -> list[Document]:
        """What the server answers to GET by itself."""
        return []

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
        model = self._model
        return document(model.name, model.version, model.description, model.endpoints[0].signature)
