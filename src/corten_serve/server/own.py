"""What the server answers by itself: health, state, documents, the page. None of it needs a worker, or waits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from corten_serve.server.models import Models
from corten_serve.server.page import page
from corten_serve.server.status import status
from corten_serve.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from granian.rsgi import Scope

    from corten_serve.server.app import App

Given = tuple[int, list[tuple[str, str]], bytes]
_JSON = ("content-type", "application/json")


class Own:
    """`routes` are the paths that take GET, each with a function of the request to status, headers and body."""

    def __init__(self, settings: Settings, models: Models, app: App) -> None:
        self._settings = settings
        self._models = models
        self._app = app
        self.routes: dict[str, Callable[[Scope], Given]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/status": self._status,
            "/openapi.json": self._openapi,
            "/": self._page,
        }

    def _livez(self, _: Scope) -> Given:
        return 200, [_JSON], b'{"status":"live"}'

    def _readyz(self, _: Scope) -> Given:
        if self._app.draining:
            return 503, [_JSON], b'{"status":"stopping"}'
        state, reason = self._models.state, self._models.reason
        document: dict[str, Any] = {"status": state}
        if state != "ready" and reason:
            document["error"] = reason
        return (200 if state == "ready" else 503), [_JSON], _compact(document)

    def _status(self, _: Scope) -> Given:
        headers = [_JSON, ("cache-control", "no-store")]
        return 200, headers, _compact(status(self._settings, self._models, self._app.draining))

    def _openapi(self, _: Scope) -> Given:
        document = self._models.openapi
        if document is None:
            return 503, [_JSON, ("retry-after", "1")], b'{"error": "the predictor is still starting"}'
        return 200, [_JSON], document

    def _page(self, scope: Scope) -> Given:
        accepts = scope.headers.get("accept-encoding") or ""
        headers, body = page(self._settings.name, self._settings.predict, self._models.state, accepts)
        return 200, list(headers), body


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
