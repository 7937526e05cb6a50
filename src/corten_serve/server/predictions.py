"""Cog's predictions as the server sees them (cog.run/http): those that are made while nobody waits, their ids, cancelling, webhooks.

A prediction that somebody waits for is a call like any other. With `Prefer: respond-async` the client is answered at once; what became
of the prediction can be asked for a while, within bounds, and is sent to the webhook where the operator allows those
(`CORTEN_FOLLOW_URLS`, see `corten_serve.urls`).
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from corten_serve import urls
from corten_serve.server.models import Deferrable, Models, Route
from corten_serve.server.requests import Outcome, Refused, Stream

if TYPE_CHECKING:
    from corten_serve.server.log import Log
    from corten_serve.settings import Settings

ONE = "/predictions/{prediction_id}"
_PLACE = re.compile(r"/predictions/([\w.~:-]{1,200})(/cancel)?", re.ASCII)
_IDENTITY = re.compile(r"[\w.~:-]{1,200}", re.ASCII)
_KEPT, _KEPT_BYTES, _KEPT_SECONDS = 100, 32 << 20, 600.0
_MOST = 1000
"""Predictions that are made at the same time while nobody waits for them."""
_PAUSES = (1.0, 5.0)
"""Seconds before a webhook that failed is called again."""
_APART = 0.5
"""Seconds from one call of a webhook about the pieces of a prediction to the next, as in Cog."""
_EVENTS = ("start", "output", "logs", "completed")


class Wanted:
    """What a deferred prediction was asked for: its id, and the webhook with the events that it is called for."""

    __slots__ = ("events", "id", "input", "webhook")

    def __init__(self, identity: str, webhook: str | None, events: tuple[str, ...], given: Any) -> None:
        self.id = identity
        self.webhook = webhook
        self.events = events
        self.input = given


class _Running:
    """`followed`: nobody waits for it. `stream`: it comes in pieces, which have begun to."""

    __slots__ = ("answer", "canceled", "followed", "route", "stream")

    def __init__(self, answer: asyncio.Future[Outcome], route: Route) -> None:
        self.answer = answer
        self.route = route
        self.followed = self.canceled = False
        self.stream: Stream | None = None


class Predictions:
    """Predictions by id: those that are made now, and the last of those that nobody waited for."""

    def __init__(self, settings: Settings, models: Models, log: Log) -> None:
        self._models = models
        self._log = log
        self._policy = urls.Policy(settings.follow, settings.body)
        self._running: dict[str, _Running] = {}
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._size = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def deferred(self) -> int:
        """How many are made while nobody waits."""
        return len(self._tasks)

    def place(self, path: str) -> tuple[str, bool] | None:
        """The id in a path, and whether it is that of cancelling; None for other paths."""
        found = _PLACE.fullmatch(path)
        return None if found is None else (found[1], found[2] is not None)

    def route(self) -> Route | None:
        """Where calls go that name their prediction; None where nothing was written for Cog."""
        found = self._models.table.get(ONE, {}).get("PUT")
        return found.route if isinstance(found, Deferrable) else None

    def wanted(self, body: bytes, identity: str, named: bool) -> Wanted:
        """What a deferred request asks for. `named`: its path has the id already. Raises Refused."""
        try:
            request = json.loads(body) if body.strip() else {}
        except (ValueError, RecursionError) as error:
            raise Refused(422, "the body is not JSON") from error
        if not isinstance(request, dict):
            raise Refused(422, "the body is not an object with 'input'")
        own = request.get("id")
        if own is not None and (not isinstance(own, str) or not _IDENTITY.fullmatch(own)):
            raise Refused(422, "'id' is no text of letters, digits and - _ . ~ :, at most 200 of them")
        if named and own not in (None, identity):
            raise Refused(422, "prediction ID must match the ID supplied in the URL")
        webhook = request.get("webhook")
        if webhook is not None:
            if not isinstance(webhook, str):
                raise Refused(422, "'webhook' is no URL")
            try:
                urls.check(webhook, self._policy)
            except urls.UrlRefused as error:
                reason = str(error).replace(", or send the file as a data URL", "")
                raise Refused(422, f"the webhook is not called: {reason}") from error
        events = request.get("webhook_events_filter")
        if events is None:
            events = _EVENTS
        elif not isinstance(events, list) or not all(each in _EVENTS for each in events):
            raise Refused(422, f"'webhook_events_filter' is no list of {', '.join(_EVENTS)}")
        if len(self._tasks) >= _MOST:
            raise Refused(503, f"{_MOST} predictions are being made while nobody waits for them", 5)
        return Wanted(own or identity, webhook, tuple(events), request.get("input"))

    def is_running(self, identity: str) -> bool:
        """Whether the prediction is being made, or waits for its turn."""
        return identity in self._running

    def began(self, identity: str, answer: asyncio.Future[Outcome], route: Route) -> None:
        """`answer` is that of the prediction. It can be cancelled until it is there."""
        running = self._running[identity] = _Running(answer, route)

        def ended(_: Any) -> None:
            if self._running.get(identity) is running and not running.followed:
                del self._running[identity]

        answer.add_done_callback(ended)

    def follow(self, wanted: Wanted, answer: asyncio.Future[Outcome], release: Any) -> None:
        """See to a prediction that nobody waits for. `release` is called when its body is not needed any more."""
        running = self._running[wanted.id]
        running.followed = True
        task = asyncio.get_running_loop().create_task(self._follow(wanted, running))
        self._tasks.add(task)

        def ended(_: Any) -> None:
            self._tasks.discard(task)
            self._let_go(wanted.id, running)
            release()

        task.add_done_callback(ended)

    def cancel(self, identity: str) -> bool:
        """Give the prediction up; False where there is none."""
        running = self._running.get(identity)
        if running is None:
            return False
        running.canceled = True
        if running.stream is not None:
            running.stream.leave()
            running.stream.end(broken=True)
        else:
            running.route.pool.give_up(running.answer, _canceled(identity))
        return True

    def _let_go(self, identity: str, running: _Running) -> None:
        if self._running.get(identity) is running:
            del self._running[identity]

    def told(self, identity: str) -> tuple[int, bytes]:
        """Status and body for who asks what became of a prediction."""
        self._forget()
        if identity in self._running:
            return 200, self.begun(identity)
        kept = self._kept.get(identity)
        return (404, b"{}") if kept is None else (200, kept[1])

    def begun(self, identity: str) -> bytes:
        """A prediction that is being made, or waits for its turn."""
        running = self._running.get(identity)
        request = running.route.pool.find(running.answer) if running is not None else None
        handed = (request is not None and request.worker is not None) or (
            running is not None and running.stream is not None
        )
        return _compact({"id": identity, "status": "processing" if handed else "starting"})

    def health(self, busy: bool, draining: bool, version: str) -> bytes:
        """`/health-check`, which is 200 whatever it says."""
        state, setup = self._models.state, self._models.cog
        names = {"ready": "BUSY" if busy else "READY", "starting": "STARTING", "failed": "DEFUNCT"}
        status = "DEFUNCT" if draining else names.get(state, "DEFUNCT")
        document: dict[str, Any] = {"status": status}
        if setup is not None:
            document["setup"] = setup
        elif state == "failed":
            document["status"] = "SETUP_FAILED"
            document["setup"] = {"status": "failed", "logs": self._models.reason or ""}
        elif state == "starting":
            document["setup"] = {"status": "starting", "logs": ""}
        if self._models.reason and status != "READY":
            document["user_healthcheck_error"] = self._models.reason
        document["version"] = {"corten": version}
        return _compact(document)

    async def _follow(self, wanted: Wanted, running: _Running) -> None:
        started = time.time()
        if wanted.webhook is not None and "start" in wanted.events:
            said = {"id": wanted.id, "status": "starting", "input": wanted.input}
            await self._call(wanted.webhook, _compact(said), tries=1)
        try:
            outcome = await running.answer
            if isinstance(outcome, Stream):
                running.stream = outcome
                outcome = await self._pieces(wanted, outcome, running, started)
        except asyncio.CancelledError:
            return
        except Refused as refused:
            outcome = (refused.status, b"", _compact({"error": refused.reason}))
        status, _, body = outcome
        if status != 200:
            said = {
                "id": wanted.id,
                "status": "failed",
                "input": wanted.input,
                "error": _reason(body),
                "started_at": _moment(started),
                "completed_at": _moment(time.time()),
            }
            body = _compact(said)
        self._keep(wanted.id, bytes(body))
        self._let_go(wanted.id, running)
        # What is known when the prediction has ended, and was not before, is in one call for all events.
        if wanted.webhook is not None and {"completed", "output", "logs"} & set(wanted.events):
            await self._call(wanted.webhook, bytes(body), tries=len(_PAUSES) + 1)

    async def _pieces(
        self, wanted: Wanted, stream: Stream, running: _Running, started: float
    ) -> tuple[int, bytes, bytes]:
        """The whole of a prediction that comes in pieces. The webhook is told of those that have come, twice a second at most."""
        loop = asyncio.get_running_loop()
        buffer, looked = bytearray(), 0
        outputs: list[Any] = []
        logs, size, told, whole = "", 0, 0.0, b""
        hears = wanted.webhook is not None and bool({"output", "logs"} & set(wanted.events))
        while (part := await stream.next()) is not None:
            stream.taken(len(part), loop.time())
            buffer += part
            fresh = False
            while (end := buffer.find(b"\n\n", looked)) >= 0:
                name, _, data = bytes(buffer[:end]).partition(b"\ndata: ")
                del buffer[: end + 2]
                looked = 0
                if name == b"event: completed":
                    whole = data
                elif name == b"event: output" and hears and size <= _KEPT_BYTES:
                    piece = json.loads(data)
                    outputs.append(piece.get("chunk"))
                    logs = str(piece.get("logs", ""))
                    size += len(data)
                    fresh = True
            looked = max(0, len(buffer) - 1)
            if fresh and wanted.webhook is not None and loop.time() - told >= _APART:
                said = {
                    "id": wanted.id,
                    "status": "processing",
                    "input": wanted.input,
                    "output": outputs,
                    "logs": logs,
                }
                await self._call(wanted.webhook, _compact({**said, "started_at": _moment(started)}), tries=1)
                told = loop.time()
        if running.canceled:
            return _canceled(wanted.id)
        return (200, b"", whole) if whole else (502, b"", _compact({"error": "the prediction broke off"}))

    async def _call(self, url: str, body: bytes, tries: int) -> None:
        for number in range(tries):
            reason = ""
            try:
                status = await asyncio.to_thread(urls.post, url, body, self._policy)
                if status < 400:
                    return
                reason = f"it answered {status}"
            except urls.UrlRefused as error:
                reason = str(error)
            if number < tries - 1:
                await asyncio.sleep(_PAUSES[number])
        self._log.say(f"warning: the webhook at '{_place(url)}' was not told: {reason}")

    def _keep(self, identity: str, body: bytes) -> None:
        old = self._kept.pop(identity, None)
        self._size += len(body) - (len(old[1]) if old is not None else 0)
        self._kept[identity] = (time.monotonic(), body)
        self._forget()

    def _forget(self) -> None:
        oldest = time.monotonic() - _KEPT_SECONDS
        while self._kept:
            identity, (at, body) = next(iter(self._kept.items()))
            if at > oldest and len(self._kept) <= _KEPT and self._size <= _KEPT_BYTES:
                return
            del self._kept[identity]
            self._size -= len(body)


def _canceled(identity: str) -> tuple[int, bytes, bytes]:
    body: dict[str, Any] = {"id": identity, "status": "canceled", "output": None, "logs": "", "metrics": {}}
    return 200, b"", _compact(body)


def responds_later(prefer: str | None, accept: str | None) -> bool:
    """Whether a `Prefer` header asks for an answer before the prediction is made (RFC 7240, section 4.1). Who wants events waits
    for them."""
    if prefer is None or "text/event-stream" in (accept or ""):
        return False
    return any(each.partition(";")[0].strip().lower() == "respond-async" for each in prefer.split(","))


def _reason(body: bytes) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return "the prediction failed"
    if isinstance(value, dict) and isinstance(value.get("detail"), list):
        return "; ".join(
            f"{each['loc'][-1]}: {each['msg']}" if isinstance(each, dict) and each.get("loc") else str(each)
            for each in value["detail"][:5]
        )
    reason = value.get("error") if isinstance(value, dict) else None
    return reason if isinstance(reason, str) else "the prediction failed"


def _place(url: str) -> str:
    """A webhook as the log may name it: what follows the path may be a secret."""
    return url.partition("?")[0][:200]


def _moment(seconds: float) -> str:
    from datetime import datetime, timezone

    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")  # noqa: UP017 (Python 3.10)


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
