"""AWS Lambda's Runtime API: events are fetched one after the other, and answered (docs.aws.amazon.com/lambda, "Using the Lambda
runtime API", version 2018-06-01). What an event means is the worker's to know; to us it is a body for its route `lambda`."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from corten_serve.server.log import Log
from corten_serve.server.models import Models
from corten_serve.server.requests import Refused, Stream

_PREFIX = "/2018-06-01/runtime"
_ROUTE = "lambda"
_ERROR_TYPE = "lambda-runtime-function-error-type"
_LARGEST = 64 << 20
_PAUSES = (0.1, 0.5, 1.0, 5.0)
"""Seconds between attempts while the API does not answer."""


@dataclass(frozen=True)
class _Event:
    id: str
    body: bytes
    deadline: float


@dataclass(frozen=True)
class _Result:
    """`error` is the type of one, None for a success."""

    body: bytes
    error: str | None = None


class RuntimeApi:
    """Serves the events of the API at `address`. Requests wait in a thread of their own, because one of them takes as long
    as nobody calls. `busy` is called with 1 when an event has come and with -1 when its answer is delivered."""

    def __init__(self, address: str, models: Models, log: Log, busy: Callable[[int], None]) -> None:
        self._address = address
        self._models = models
        self._log = log
        self._busy = busy
        self._loop = asyncio.get_running_loop()
        self._stopping = False

    def start(self) -> None:
        """Begin. Events are asked for as soon as the models are ready."""
        threading.Thread(target=self._run, name="lambda", daemon=True).start()

    def stop(self) -> None:
        """Ask for no more events."""
        self._stopping = True

    def failed(self, message: str) -> None:
        """Tell the API that the start failed. It is no error when it cannot be told."""
        document = {"errorMessage": message, "errorType": "Corten.StartFailed", "stackTrace": []}
        self._post("/init/error", _Result(json.dumps(document).encode(), "Corten.StartFailed"), tries=1)

    def _run(self) -> None:
        asyncio.run_coroutine_threadsafe(self._models.known.wait(), self._loop).result()
        while not self._stopping:
            event = self._next()
            if event is None:
                continue
            self._loop.call_soon_threadsafe(self._busy, 1)
            try:
                result = asyncio.run_coroutine_threadsafe(self._answer(event), self._loop).result()
                self._deliver(event, result)
            finally:
                self._loop.call_soon_threadsafe(self._busy, -1)

    def _next(self) -> _Event | None:
        for pause in _PAUSES:
            connection = http.client.HTTPConnection(self._address)
            try:
                connection.request("GET", f"{_PREFIX}/invocation/next")
                response = connection.getresponse()
                body = response.read(_LARGEST)
                identity = response.headers.get("Lambda-Runtime-Aws-Request-Id", "")
                if response.status == 200 and identity:
                    return _Event(
                        identity, body, _seconds(response.headers.get("Lambda-Runtime-Deadline-Ms"))
                    )
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            if self._stopping:
                return None
            time.sleep(pause)
        self._log.say(f"warning: the Lambda runtime API at '{self._address}' gives no event")
        return None

    async def _answer(self, event: _Event) -> _Result:
        route = self._models.route(_ROUTE)
        if route is None:
            return _failure("this predictor takes no events", "Corten.NoRoute")
        timeout = max(0.05, event.deadline - time.time()) if event.deadline else 0.0
        begun = time.perf_counter()
        meta = route.prefix + "\0".join((event.id, *("" for _ in route.headers))).encode("latin-1", "replace")
        try:
            outcome = await route.pool.submit(route.lane, meta, event.body, None, timeout, None)
        except Refused as refused:
            route.pool.meter.answered(_ROUTE, refused.status, time.perf_counter() - begun)
            return _failure(refused.reason, "Corten.Refused")
        if isinstance(outcome, Stream):
            parts = []
            while (part := await outcome.next()) is not None:
                parts.append(part)
            outcome = (502 if outcome.broken else outcome.status, outcome.meta, b"".join(parts))
        status, fields, body = outcome
        route.pool.meter.answered(_ROUTE, status, time.perf_counter() - begun)
        self._log.request(
            "EVENT",
            _ROUTE,
            status,
            time.perf_counter() - begun,
            self._address,
            event.id,
            False,
            route.pool.name,
        )
        if status == 200:
            return _Result(body)
        names = fields.decode("latin-1").split("\0")
        kinds = dict(zip(names[1::2], names[2::2], strict=False))
        if _ERROR_TYPE in kinds:
            return _Result(body, kinds[_ERROR_TYPE])
        return _failure(_reason(body), "Corten.ServerError")

    def _deliver(self, event: _Event, result: _Result) -> None:
        kind = "response" if result.error is None else "error"
        if not self._post(f"/invocation/{event.id}/{kind}", result) and result.error is None:
            # Most likely larger than Lambda takes; the caller is told instead of waiting for its deadline.
            refused = _failure("the answer was not taken by Lambda", "Corten.NotTaken")
            self._post(f"/invocation/{event.id}/error", refused)

    def _post(self, path: str, result: _Result, tries: int = len(_PAUSES)) -> bool:
        headers = {"content-type": "application/json"}
        if result.error is not None:
            headers["Lambda-Runtime-Function-Error-Type"] = result.error
        for pause in _PAUSES[:tries]:
            connection = http.client.HTTPConnection(self._address, timeout=30)
            try:
                connection.request("POST", f"{_PREFIX}{path}", result.body, headers)
                response = connection.getresponse()
                response.read(1 << 16)
                return response.status < 300
            except (OSError, http.client.HTTPException):
                time.sleep(pause)
            finally:
                connection.close()
        self._log.say(f"warning: an answer could not be given to the Lambda runtime API at '{self._address}'")
        return False


def _failure(message: str, kind: str) -> _Result:
    document = {"errorMessage": message, "errorType": kind, "stackTrace": []}
    return _Result(json.dumps(document).encode(), kind)


def _reason(body: bytes) -> str:
    try:
        value = json.loads(body)
    except ValueError:
        return "the prediction failed"
    reason = value.get("error") if isinstance(value, dict) else None
    return reason if isinstance(reason, str) else "the prediction failed"


def _seconds(milliseconds: str | None) -> float:
    return int(milliseconds) / 1000 if milliseconds and milliseconds.isdigit() else 0.0
