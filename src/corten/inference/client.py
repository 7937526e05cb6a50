"""One exchange with a model server: its document, a prediction as a whole, or piece by piece as it comes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from corten.errors import FetchError, RuntimeFailure
from corten.network.connection import Answer as Received
from corten.network.connection import Connections, NetworkSettings
from corten.values import dataclass, replace

_SILENCE = 3600.0
"""Seconds that a prediction may take before its connection counts as dead."""
_LARGEST_DOCUMENT = 16 << 20
_PIECE = 1 << 16
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
    """Asks the server at `url`, on connections that are kept. Not for several threads at once."""

    def __init__(self, url: str, network: NetworkSettings) -> None:
        self.url = url.rstrip("/")
        self._connections = Connections(replace(network, read=_SILENCE))

    def document(self) -> Any:
        """Its OpenAPI document. Raises FetchError, RuntimeFailure."""
        received = self._connections.send("GET", f"{self.url}/openapi.json", {"Accept": "application/json"})
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
        return self._connections.send("POST", f"{self.url}{path}", headers, body)


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
