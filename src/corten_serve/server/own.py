"""What the server answers by itself: health, state, documents, the page. None of it needs a worker, or waits."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from corten_serve.server.answers import packed
from corten_serve.server.metrics import OPEN, TEXT, Metrics, asks_for_open
from corten_serve.server.models import Models
from corten_serve.server.page import page
from corten_serve.server.statistics import statistics
from corten_serve.server.status import status
from corten_serve.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from granian.rsgi import Scope

    from corten_serve.server.app import App
    from corten_serve.server.log import Log

Given = tuple[int, list[tuple[str, str]], bytes]
_JSON = ("content-type", "application/json")
_DISCOVERY = {
    "cog_version": "0.21.0",
    "openapi_url": "/openapi.json",
    "healthcheck_url": "/health-check",
    "predictions_url": "/predictions",
    "predictions_idempotent_url": "/predictions/{prediction_id}",
    "predictions_cancel_url": "/predictions/{prediction_id}/cancel",
}
"""What Cog's clients ask a server's root for. There is no URL that ends the server: whoever may ask it may not end it."""


class Own:
    """`routes` are the paths that take GET, each with a function of the request to status, headers and body. `watching` are
    those of them that machines ask for again and again."""

    def __init__(self, settings: Settings, models: Models, app: App, log: Log) -> None:
        self._settings = settings
        self._models = models
        self._app = app
        self._measured = Metrics(settings, models, log)
        self.routes: dict[str, Callable[[Scope], Given]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/status": self._status,
            "/metrics": self._metrics,
            "/openapi.json": self._openapi,
            "/": self._page,
            **self._probes(),
        }
        self.watching = frozenset(self.routes) - {"/", "/openapi.json"}

    def _probes(self) -> dict[str, Callable[[Scope], Given]]:
        """The platforms' own names for health. A worker announces them too, but who asks before there is one has to be
        answered at once, and not to wait as a prediction does."""
        models: dict[str, Callable[[Scope], Given]] = {}
        for name in self._models.pools:
            models[f"/v2/models/{name}/ready"] = partial(self._model_ready, name)
            for version in ("", f"/versions/{self._settings.version or '0'}"):
                models[f"/v2/models/{name}{version}/stats"] = partial(self._statistics, (name,))
        return {
            "/v2/models/stats": partial(self._statistics, tuple(self._models.pools)),
            "/ping": self._readyz,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            **models,
        }

    def _live(self, _: Scope) -> Given:
        return 200, [_JSON], b'{"live":true}'

    def _ready(self, _: Scope) -> Given:
        ready = not self._app.draining and self._models.state == "ready"
        return (200 if ready else 503), [_JSON], _compact({"ready": ready})

    def _model_ready(self, name: str, _: Scope) -> Given:
        ready = not self._app.draining and self._models.pools[name].state == "ready"
        return (200 if ready else 503), [_JSON], _compact({"name": name, "ready": ready})

    def _statistics(self, names: tuple[str, ...], _: Scope) -> Given:
        version = self._settings.version or "0"
        found = [statistics(name, version, self._models.pools[name].meter) for name in names]
        return 200, [_JSON, ("cache-control", "no-store")], _compact({"model_stats": found})

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

    def _metrics(self, scope: Scope) -> Given:
        openly = asks_for_open(scope.headers.get("accept"))
        kind = ("content-type", OPEN if openly else TEXT)
        headers = [kind, ("vary", "accept"), ("cache-control", "no-store")]
        return 200, *packed(headers, self._measured.body(openly), scope.headers.get("accept-encoding"))

    def _openapi(self, _: Scope) -> Given:
        document = self._models.openapi
        if document is None:
            return 503, [_JSON, ("retry-after", "1")], b'{"error": "the predictor is still starting"}'
        return 200, [_JSON], document

    def _page(self, scope: Scope) -> Given:
        """The page for browsers, which ask for HTML. Who does not asks whether the server lives, in KServe's first protocol."""
        if "html" not in (scope.headers.get("accept") or "").lower():
            alive: dict[str, Any] = {"status": "alive", "name": self._settings.name}
            if self._models.cog is not None or self._settings.cog:
                alive |= _DISCOVERY
            return 200, [_JSON, ("vary", "accept"), ("cache-control", "no-cache")], _compact(alive)
        accepts = scope.headers.get("accept-encoding") or ""
        headers, body = page(self._settings.name, self._settings.predict, self._models.state, accepts)
        return 200, list(headers), body


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
