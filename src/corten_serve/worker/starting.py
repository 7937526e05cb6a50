"""From a target's name to a predictor that is set up, warmed up, and described to the server."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

from corten_serve.errors import PredictorError
from corten_serve.protocols.codec import problems_text
from corten_serve.protocols.interface import BadRequest, Call, Work
from corten_serve.worker.answering import Answering
from corten_serve.worker.operations import Arguments, Failed, drive
from corten_serve.worker.output import Output
from corten_serve.worker.predictor import load
from corten_serve.worker.tracebacks import user_traceback

_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH)
_CONCURRENCY = 64
"""Requests that an async predictor works on side by side, where `CORTEN_CONCURRENCY` does not say otherwise."""


def start(environment: Mapping[str, str], output: Output) -> Answering:
    """Import and set up the predictor, and answer its warm-up requests. Raises PredictorError, with the project's traceback
    already on standard error where there is one."""
    target = environment.get("CORTEN_PREDICT", "")
    step = "cannot be imported"
    try:
        loaded = load(target)
        answering = Answering(loaded, output, **_about(environment))
        step = "failed in its 'setup'"
        loaded.setup()
        step = "failed in a warm-up request"
        _warm_up(answering, environment)
        return answering
    except PredictorError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        output.report(user_traceback(error))
        kind, text = type(error).__name__, str(error).strip().splitlines()
        hint = "the traceback above is the project's own code"
        if isinstance(error, ModuleNotFoundError) and error.name:
            hint = f"add the package that provides '{error.name.partition('.')[0]}' to the project's dependencies"
        elif _is_unreachable(error):
            hint = (
                "it asked another machine, and a predictor has no network unless the project asks for one: "
                'network = "private" in [tool.corten], or --network private'
            )
        raise PredictorError(
            f"the predictor '{target}' {step}: {kind}{': ' + text[0] if text else ''}", hint
        ) from error


def concurrency(answering: Answering, environment: Mapping[str, str]) -> int:
    """How many requests are worked on side by side: one for a sync predictor. Raises PredictorError."""
    text = environment.get("CORTEN_CONCURRENCY", "")
    if text and (not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 10_000):
        raise PredictorError(f"'CORTEN_CONCURRENCY' is '{text[:40]}'", "use a whole number from 1 to 10000")
    if not answering.loaded.asynchronous:
        return 1
    cog = answering.loaded.subject.concurrency if answering.loaded.cog is not None else 0
    return int(text) if text else cog or _CONCURRENCY


def ready_document(answering: Answering, most: int) -> bytes:
    """What the server learns when the predictor is ready: how to call it, its routes, and its documents."""
    desk = answering.desk
    document = {
        "predictor": {
            "batch": any(operation.batch is not None for operation in answering.operations.values()),
            "async": answering.loaded.asynchronous,
            "concurrency": most,
            "health": answering.loaded.health() is not None,
        },
        "routes": [
            {
                "method": route.method,
                "path": route.path,
                "route": route.route,
                "headers": list(route.headers),
                "batch": route.batch,
            }
            for route in desk.routes()
        ],
        "documents": [
            {
                "path": document.path,
                "type": document.type,
                "body": document.body.decode(errors="replace"),
                "ready": document.ready,
            }
            for document in desk.documents()
        ],
        "openapi": desk.openapi(),
        **({"cog": answering.loaded.subject.facts()} if answering.loaded.cog is not None else {}),
    }
    return json.dumps(document, ensure_ascii=False, default=str).encode(errors="replace")


def prepare_path(app: str) -> None:
    """Put the project's folder and its `src` first on `sys.path`, as `python` in that folder would, and Corten's stand-ins for
    packages of other tools last."""
    places = [place for place in (app, os.path.join(app, "src")) if os.path.isdir(place)]
    # Last, so that a project's own package of the same name is found first.
    stand_ins = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "compat")
    sys.path[:] = [*places, *(place for place in sys.path if place and place not in places), stand_ins]


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether what was raised comes from a host whose name is not known, or that there is no way to."""
    for _ in range(20):
        if error is None:
            break
        if isinstance(error, socket.gaierror) or getattr(error, "errno", None) in _NO_WAY:
            return True
        reason = getattr(error, "reason", None)
        error = (
            error.__cause__ or error.__context__ or (reason if isinstance(reason, BaseException) else None)
        )
    return False


def _about(environment: Mapping[str, str]) -> dict[str, Any]:
    """The model's names, for `protocols.interface.Model`."""
    name = environment.get("CORTEN_MODEL") or environment.get("CORTEN_NAME") or "predictor"
    names = tuple(each for each in environment.get("CORTEN_MODELS", "").split(",") if each)
    return {
        "name": name,
        "version": environment.get("CORTEN_VERSION") or "0",
        "prefix": f"/{name}" if len(names) > 1 else "",
        "names": names or (name,),
        "first": not names or names[0] == name,
        "environment": dict(environment),
    }


def _warm_up(answering: Answering, environment: Mapping[str, str]) -> None:
    """Predict what the predictor's `warmup` and `CORTEN_WARMUP` ask for, alone and as a batch."""
    operation = next(iter(answering.operations.values()))
    works = [_read(answering, operation.name, request) for request in _requests(environment)]
    items: list[Arguments] = [([], each) for each in answering.loaded.warmups()]
    asked = len(items)
    for work in works:
        items += work.items
    if not items:
        return
    for together in (False, True) if operation.call is not None and operation.batch is not None else (True,):
        results = drive(operation.steps(items, together), answering.loaded.loop)
        for each in results:
            if isinstance(each, Failed):
                raise each.error
        for work, result in zip(works, results[asked:]):  # noqa: B905 (no `strict` in Python 3.9)
            answering.desk.write(work, [result])


def _requests(environment: Mapping[str, str]) -> list[Any]:
    text = environment.get("CORTEN_WARMUP", "")
    if not text.strip():
        return []
    try:
        requests = json.loads(text)
    except ValueError:
        requests = None
    if not isinstance(requests, list) or not all(isinstance(each, dict) for each in requests):
        raise PredictorError(
            "'CORTEN_WARMUP' is not a JSON list of requests", 'write it as \'[{"text": "hello"}]\''
        )
    return requests


def _read(answering: Answering, name: str, request: Any) -> Work:
    """The work of a request as Corten's own protocol reads it."""
    call = Call(f"json:{name}", "", ("application/json", "application/json"), json.dumps(request).encode())
    try:
        return answering.desk.read(call)
    except BadRequest as error:
        raise PredictorError(
            f"a request in 'CORTEN_WARMUP' cannot be used: {problems_text(error.problems)}",
            "its fields are the parameters of 'predict'",
        ) from error
