"""The worker process: the project's code in the project's environment, answering frame by frame.

Started by the server with the socket as descriptor 3 and the board as descriptor 4. The board is eight bytes of shared
memory in which the worker notes the id of the request that it is working on: when it dies, the server knows from it
which requests were never begun and can safely be given to the next worker. What the project prints goes where the
container's output goes, untouched.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
import time
from typing import Any

from corten_serve import frames
from corten_serve.errors import InvalidInput, PredictorError
from corten_serve.protocols.interface import Answer, BadRequest, Call, Endpoint, Model, ResultError
from corten_serve.worker.predictor import Loaded, load
from corten_serve.worker.tracebacks import user_traceback

CHANNEL, BOARD = 3, 4
BOARD_SIZE = 8
_HOLD = 0.0002
"""Seconds for which finished answers may wait for others of their frame."""
_SLOW = 0.0005
"""Seconds that a request typically takes above which no answer waits for another: sending it costs next to nothing then,
and a quick answer never stands behind a slow prediction."""


class Service:
    """A predictor that is set up, with everything that answering a request needs."""

    def __init__(self, loaded: Loaded, name: str = "predictor", version: str = "0") -> None:
        from corten_serve.protocols.desk import Desk
        from corten_serve.schema.signature import Signature

        self._call = loaded.call
        self._await = _Awaiter()
        self.description = loaded.description
        self.signature = Signature(loaded.call)
        endpoint = Endpoint("predict", self.signature, loaded.description)
        self.desk = Desk(Model(name, version, (endpoint,), loaded.description))

    def answer(self, meta: bytes, body: bytes) -> tuple[int, bytes]:
        """Status and JSON body for a request's body. It never raises: what the project raises is a 500, and logged."""
        content_type = meta.partition(b"\0")[2].decode("latin-1")
        answer = self.reply(Call("json:predict", "", (content_type, ""), body))
        return answer.status, answer.body

    def reply(self, call: Call) -> Answer:
        """The answer to one call. It never raises."""
        desk = self.desk
        try:
            work = desk.read(call)
        except BadRequest as error:
            return desk.write_error(call, error.status, "", error.problems)
        except Exception as error:
            # A validator of the project's own (pydantic, a dataclass) failed in a way that is no validation error.
            return desk.write_error(call, 500, _failure(error))
        try:
            results = []
            for arguments, keywords in work.items:
                result = self._call(*arguments, **keywords)
                results.append(self._await(result) if hasattr(result, "__await__") else result)
            return desk.write(work, results)
        except InvalidInput as error:
            return desk.write_error(call, 422, "", [("", str(error) or "the input is invalid")])
        except ResultError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            return desk.write_error(call, 500, str(error))
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            return desk.write_error(call, 500, _failure(error))


class _Awaiter:
    """Runs an async `predict` to its end on one event loop that lives as long as the worker."""

    def __init__(self) -> None:
        self._loop: Any = None

    def __call__(self, awaitable: Any) -> Any:
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)

        async def wait() -> Any:
            return await awaitable

        return self._loop.run_until_complete(wait())


def _failure(error: BaseException) -> str:
    """Log the project's traceback; the client learns the kind of the error and no more, for it may be anybody."""
    sys.stdout.flush()
    print(user_traceback(error), end="", file=sys.stderr, flush=True)
    return f"the predictor raised {type(error).__name__}; its traceback is in the server's log"


def serve(channel: socket.socket, board: mmap.mmap, service: Service) -> None:
    """Answer calls until the server closes the channel."""
    reader = frames.Reader()
    clock = time.perf_counter
    typical = 0.0
    while True:
        data = channel.recv(1 << 18)
        if not data:
            return
        answers: list[frames.Item] = []
        sent = clock()
        for item in reader.feed(data):
            board[:BOARD_SIZE] = item.id.to_bytes(BOARD_SIZE, "little")
            begun = clock()
            if answers and (begun - sent > _HOLD or typical > _SLOW):
                channel.sendall(frames.encode(answers))
                answers.clear()
                sent = begun
            status, body = service.answer(item.meta, item.body)
            took = clock() - begun
            typical += (took - typical) / 16
            answers.append(frames.Item(item.id, frames.ANSWER, status, int(took * 1e6), b"", body))
        if answers:
            channel.sendall(frames.encode(answers))


def start(target: str, name: str, version: str) -> tuple[Service, bytes]:
    """Import and set up the predictor; returns what answers and its OpenAPI document. Raises PredictorError, with the
    project's traceback already on standard error where there is one."""
    step = "cannot be imported"
    try:
        loaded = load(target)
        service = Service(loaded, name, version)
        from corten_serve.protocols.openapi import rendered

        described = rendered(service.desk.openapi())
        step = "failed in its 'setup'"
        loaded.setup()
        return service, described
    except PredictorError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        sys.stdout.flush()
        print(user_traceback(error), end="", file=sys.stderr, flush=True)
        kind, text = type(error).__name__, str(error).strip().splitlines()
        hint = "the traceback above is the project's own code"
        if isinstance(error, ModuleNotFoundError) and error.name:
            hint = f"add the package that provides '{error.name.partition('.')[0]}' to the project's dependencies"
        raise PredictorError(
            f"the predictor '{target}' {step}: {kind}{': ' + text[0] if text else ''}", hint
        ) from error


def prepare_path(app: str) -> None:
    """Put the project's folder and its `src` first on `sys.path`, as `python` in that folder would."""
    places = [place for place in (app, os.path.join(app, "src")) if os.path.isdir(place)]
    sys.path[:] = [*places, *(place for place in sys.path if place and place not in places)]


def main() -> int:
    """The process: descriptors 3 and 4, `CORTEN_PREDICT`, `CORTEN_NAME`, `CORTEN_VERSION`, `CORTEN_APP`."""
    for descriptor in (CHANNEL, BOARD):
        os.set_inheritable(descriptor, False)
    channel = socket.socket(fileno=CHANNEL)
    channel.setblocking(True)
    board = mmap.mmap(BOARD, BOARD_SIZE)
    environment = os.environ
    prepare_path(environment.get("CORTEN_APP", "/app"))
    target = environment.get("CORTEN_PREDICT", "")
    try:
        service, described = start(
            target, environment.get("CORTEN_NAME") or "predictor", environment.get("CORTEN_VERSION") or "0"
        )
    except PredictorError as error:
        body = f"{error.message}\0{error.hint or ''}".encode(errors="replace")
        channel.sendall(frames.encode([frames.Item(0, frames.FAILED, body=body)]))
        return 1
    try:
        channel.sendall(frames.encode([frames.Item(0, frames.READY, body=described)]))
        serve(channel, board, service)
    except (BrokenPipeError, ConnectionResetError):
        pass  # The server is gone, and with it everybody who could want an answer.
    return 0


if __name__ == "__main__":
    sys.exit(main())
