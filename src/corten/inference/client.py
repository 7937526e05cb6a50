"""One exchange with a model server: its document, a prediction as a whole, or piece by piece as it comes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from corten.errors import FetchError, RuntimeFailure
from corten.network.addresses import origin, redirected, shown, user_of, without_user
from corten.network.connection import REDIRECTS, Connections, NetworkSettings, basic, same_host
from corten.network.connection import Answer as Received
from corten.values import dataclass, replace

_SILENCE = 3600.0
"""Seconds that a prediction may take before its connection counts as dead."""
_LARGEST_DOCUMENT = 16 << 20
_PIECE = 1 << 16
_MOST_REDIRECTS = 5
ACCEPT = "application/json, application/x-ndjson, text/event-stream;q=0.5, */*;q=0.1"


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as a whole. `after` is what `Retry-After` says, in seconds."""

    status: int
    kind: str
    body: bytes
    after: float | None = None

    @property
    def message(self) -> str:
        """What a failure says of itself, in one line."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            document = None
        said = document.get("error") if isinstance(document, dict) else None
        text = said if isinstance(said, str) else self.body[:200].decode(errors="replace").strip()
        return " ".join(text.split()) or f"status {self.status}"


class Client:
    """Asks the server at `url`, on connections that are kept. A user and a password in `url` go to its host alone, and are
    nowhere shown: `url` is without them afterwards. Not for several threads at once."""

    def __init__(self, url: str, network: NetworkSettings) -> None:
        self.url = without_user(url).rstrip("/")
        self._login = user_of(url)
        self._connections = Connections(replace(network, read=_SILENCE))

    def document(self) -> Any:
        """Its OpenAPI document. Raises FetchError, RuntimeFailure."""
        received = self._send("GET", "/openapi.json", {"Accept": "application/json"})
        try:
            data = b"".join(_pieces(received, _LARGEST_DOCUMENT))
        finally:
            received.close()
        try:
            if received.status == 200:
                return json.loads(data)
        except (ValueError, RecursionError):
            pass
        raise RuntimeFailure(
            f"'{self.url}' has no /openapi.json, so it is no model server of Corten's",
            hint="give the address that 'corten up' printed",
        )

    def predict(self, path: str, body: bytes, accept: str = "application/json, */*;q=0.1") -> Answered:
        """Post `body`, JSON, and take the whole answer. Raises FetchError."""
        received = self._post(path, body, accept)
        try:
            data = b"".join(_pieces(received, None))
        finally:
            received.close()
        return Answered(received.status, _kind(received.headers), data, _after(received.headers))

    def stream(self, path: str, body: bytes, accept: str = ACCEPT) -> tuple[Answered, Iterator[bytes]]:
        """Post `body` and take the answer piece by piece: the status and the content type, and the pieces. A failure comes as a
        whole, without pieces. Raises FetchError."""
        received = self._post(path, body, accept)
        kind = _kind(received.headers)
        if received.status != 200:
            try:
                data = b"".join(_pieces(received, _LARGEST_DOCUMENT))
            finally:
                received.close()
            return Answered(received.status, kind, data, _after(received.headers)), iter(())
        return Answered(200, kind, b""), _closing(received)

    def _post(self, path: str, body: bytes, accept: str) -> Received:
        headers = {"Content-Type": "application/json", "Accept": accept}
        return self._send("POST", path, headers, body)

    def _send(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Received:
        """One exchange, and those that it is redirected to: a request with a body only where the server asks for the same again
        (RFC 9110, 15.4). Raises FetchError."""
        url = f"{self.url}{path}"
        for _ in range(_MOST_REDIRECTS):
            own = same_host(origin(url), origin(self.url)) and self._login is not None
            login = basic(self._login) if own and self._login is not None else {}
            received = self._connections.send(method, url, {**headers, **login}, body)
            location = received.headers.get("location")
            if received.status not in REDIRECTS or not location:
                return received
            received.close()
            target = redirected(url, location)
            if body is not None and received.status not in (307, 308):
                raise FetchError(
                    f"'{shown(url)}' redirects to '{shown(target)}' without the request's body",
                    hint="give the address that it redirects to",
                )
            url = without_user(target)
        raise FetchError(f"'{shown(url)}' redirects in a circle")


def _pieces(received: Received, most: int | None) -> Iterator[bytes]:
    size = 0
    while piece := received.read1(_PIECE):
        size += len(piece)
        if most is not None and size > most:
            raise FetchError(f"'{received.url}' answered more than {most >> 20} MiB")
        yield piece


def _closing(received: Received) -> Iterator[bytes]:
    try:
        yield from _pieces(received, None)
    finally:
        received.close()


def _kind(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
