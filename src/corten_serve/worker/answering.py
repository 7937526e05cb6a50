"""What stands between an item of a frame and the project's code, and back: the same for calls one after the other, side by
side, and in batches."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from corten_serve.errors import InvalidInput
from corten_serve.frames import ANSWER, IN_FILE, Item
from corten_serve.protocols.desk import Desk
from corten_serve.protocols.interface import Answer, BadRequest, Call, Endpoint, Model, ResultError, Work
from corten_serve.worker import forks
from corten_serve.worker.current import NOBODY, Current
from corten_serve.worker.operations import Failed, Operation, Stray
from corten_serve.worker.output import Output
from corten_serve.worker.predictor import Loaded
from corten_serve.worker.tracebacks import user_traceback

CANCELLED = 499
"""The status of an answer that nobody waits for."""


class Answering:
    """Reads calls and writes answers of one predictor. `operations` are its endpoints by name."""

    def __init__(self, loaded: Loaded, output: Output, **about: Any) -> None:
        """`about` is what the model is called and where it is served: fields of `protocols.interface.Model`."""
        self.loaded = loaded
        self.output = output
        self.operations = {handler.name: Operation(handler) for handler in loaded.handlers}
        endpoints = tuple(
            Endpoint(
                operation.name,
                operation.signature,
                loaded.describe(operation.handler),
                operation.batch is not None,
                operation.handler.path,
            )
            for operation in self.operations.values()
        )
        self.model = Model(
            endpoints=endpoints,
            description=loaded.description,
            cog=loaded.cog,
            protocol=loaded.protocol,
            alone=loaded.alone,
            **about,
        )
        self.desk = Desk(self.model)
        self._writing = 0.0

    def call(self, item: Item) -> Call:
        """The call in a CALL item. A body that is in a file is read, and the file removed."""
        route, *rest = item.meta.decode("latin-1").split("\0")
        body = item.body
        if item.status & IN_FILE:
            body = _taken(body)
        return Call(route, rest[0] if rest else "", tuple(rest[1:]), body)

    def failure(self, call: Call, error: BaseException) -> Answer:
        """The answer for what was raised, and a line or a traceback in the log where the project has to know."""
        if forks.child:
            self.reported(error)
        write = self.desk.write_error
        if isinstance(error, BadRequest):
            return write(call, error.status, "", error.problems)
        if isinstance(error, InvalidInput):
            return write(call, 422, "", [("", str(error) or "the input is invalid")])
        return write(call, 500, self.reported(error, call.request_id))

    def reported(self, error: BaseException, who: str = "") -> str:
        """Log `error` of the request `who`, or of the one that is worked on, and say in a sentence what a client may know, who
        may be anybody."""
        if isinstance(error, Stray):
            error = error.error
        if forks.child:
            forks.end(error)
        if isinstance(error, ResultError):
            self.output.report(f"error: {error}", who=who)
            return str(error)
        self.output.report(user_traceback(error), who=who)
        return f"the predictor raised {type(error).__name__}; its traceback is in the server's log"

    def write(self, work: Work, results: Sequence[Any]) -> Answer:
        """The answer to a whole call. Its first item that failed fails it."""
        for result in results:
            if result.__class__ is Failed:
                return self.failure(work.call, result.error)
        try:
            return self.written(work, results)
        except Exception as error:
            return self.failure(work.call, error)

    def written(self, work: Work, results: Sequence[Any]) -> Answer:
        """The answer to a whole call, none of whose items failed. Raises what the protocol does, ResultError and others."""
        begun = time.perf_counter()
        try:
            return self.desk.write(work, results)
        finally:
            self._writing = time.perf_counter() - begun

    def spent(self) -> float:
        """Seconds that writing the last answer took; asked again, 0."""
        seconds, self._writing = self._writing, 0.0
        return seconds

    def unreadable(self, item: Item, error: OSError) -> Answer:
        """The answer to a call whose body's file cannot be read."""
        self.output.report(f"error: the body of a request cannot be read: {error.strerror or error}")
        route = item.meta.decode("latin-1").partition("\0")[0]
        self._writing = 0.0
        return self.desk.write_error(Call(route, "", (), b""), 500, "the body of the request got lost")

    def cancelled(self, identity: int, took: float = 0.0) -> Item:
        """What the server gets for a call that was given up."""
        return Item(identity, ANSWER, CANCELLED, int(took * 1e6), b"", b"")


def answered(identity: int, answer: Answer, took: float, writing: float) -> Item:
    """`answer` as an item; it took `took` seconds, of which `writing` went into its bytes."""
    micros, meta, body = int(took * 1e6), answer.meta(), answer.body
    return Item(identity, ANSWER, answer.status, micros, meta, body, int(writing * 1e6))


def current_of(calls: Sequence[Call], items: Sequence[Item]) -> Current:
    """Who is being worked for: the ids of `calls`, and the nearest of the times that `items` leave."""
    left = [item.micros for item in items if item.micros]
    until = time.monotonic() + min(left) / 1000 if left else 0.0
    ids = tuple(call.request_id for call in calls if call.request_id)
    return Current(ids, until) if ids or until else NOBODY


def _taken(path: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
