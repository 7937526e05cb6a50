"""A client of HTTP/2 without TLS, by prior knowledge: many requests at once on one connection."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import h2.config
import h2.connection
import h2.events

_GOAWAY = 7


@dataclass
class Reply:
    """The answer to one request, as far as it has come. `ended`: it is whole; `reset`: it was broken off."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: bool = False

    @property
    def status(self) -> int:
        return int(self.headers[":status"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Http2:
    """One connection. `farewell` is set when the server has said that it ends (GOAWAY), `closed` when it is over."""

    def __init__(self, port: int, authority: str = "localhost") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.authority = authority
        self.replies: dict[int, Reply] = {}
        self.farewell = self.closed = False
        self._raw = b""
        self.http.initiate_connection()
        self._flush()

    def __enter__(self) -> Http2:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def ask(self, method: str, path: str, body: Any = None, *more: tuple[str, str], end: bool = True) -> int:
        """Send a request and return its stream's number. Without `end` its body goes on."""
        number = self.http.get_next_available_stream_id()
        self.replies[number] = Reply()
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        pseudo = [
            (":method", method), (":scheme", "http"), (":path", path), (":authority", self.authority),
        ]  # fmt: skip
        self.http.send_headers(number, [*pseudo, *more], end_stream=end and data is None)
        if data is not None:
            self.http.send_data(number, data, end_stream=end)
        self._flush()
        return number

    def whole(self, number: int, seconds: float = 60.0) -> Reply:
        """The answer on a stream, once it has ended one way or the other."""
        reply = self.replies[number]
        end = time.monotonic() + seconds
        while not (reply.ended or reply.reset):
            assert time.monotonic() < end, reply
            assert not self.closed, reply
            self.read(1.0)
        return reply

    def request(self, method: str, path: str, body: Any = None, *more: tuple[str, str]) -> Reply:
        """One request and its answer."""
        return self.whole(self.ask(method, path, body, *more))

    def read(self, seconds: float) -> None:
        """Take in what comes next within so many seconds."""
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        self._raw += data
        while len(self._raw) >= 9:
            length = 9 + int.from_bytes(self._raw[:3], "big")
            if len(self._raw) < length:
                break
            frame, self._raw = self._raw[:length], self._raw[length:]
            if frame[3] == _GOAWAY:
                # The library would take nothing after it, while the server still answers what it has.
                self.farewell = True
                continue
            for event in self.http.receive_data(frame):
                self._take(event)
        self._flush()

    def _take(self, event: Any) -> None:
        reply = self.replies.get(getattr(event, "stream_id", 0) or 0)
        if reply is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            reply.headers = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            reply.body += event.data
            self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            reply.ended = True
        elif isinstance(event, h2.events.StreamReset):
            reply.reset = not reply.ended

    def _flush(self) -> None:
        data = self.http.data_to_send()
        if data:
            try:
                self.socket.sendall(data)
            except OSError:
                self.closed = True
