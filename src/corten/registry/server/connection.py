"""One client's connection: request after request, until it is done, too slow, or the server stops."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus

from corten.registry.server.application import Application, refused
from corten.registry.server.exchange import Answer, Part
from corten.registry.server.refusals import Refusal
from corten.registry.server.wire import IDLE, Body, Disconnected, Head, Incoming

_PIECE = 1 << 20
_DISCARDED = 256 << 10
"""Bytes of a body nobody wanted that are read so that the connection can go on."""
_LINGER = 2.0


class Connection:
    """Answers what comes in on `socket`, for `peer`; `log` gets a line for each request."""

    def __init__(
        self,
        connection: socket.socket,
        peer: str,
        application: Application,
        tls: ssl.SSLContext | None,
        log: Callable[[str], None],
    ) -> None:
        self._socket, self._peer = connection, peer
        self._application, self._tls, self._log = application, tls, log
        self._guard = threading.Lock()
        self._busy = self._leaving = False
        self._since = time.monotonic()

    @property
    def idle_since(self) -> float | None:
        """When it began to wait for a request; None while one is being answered. Of `time.monotonic`."""
        return None if self._busy or self._leaving else self._since

    def serve(self) -> None:
        """Until the connection is over. Never raises for what the other side does."""
        try:
            self._socket.settimeout(IDLE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                # The handshake is waited for here, in this connection's thread, and no other client waits for it.
                self._socket = self._tls.wrap_socket(self._socket, server_side=True)
            incoming = Incoming(self._socket)
            while self._next(incoming):
                pass
        except (OSError, Disconnected):
            pass
        finally:
            with suppress(OSError):
                self._socket.close()

    def leave(self) -> None:
        """Take no further request: end at once when none is being answered, else after its answer."""
        with self._guard:
            self._leaving = True
            if not self._busy:
                self._shut(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End at once, whatever is being done."""
        self._shut(socket.SHUT_RDWR)

    def _next(self, incoming: Incoming) -> bool:
        """Answer one request. Returns whether there may be another."""
        try:
            head = incoming.head()
            if head is None or not self._begin():
                return False
            body = Body(incoming, head.headers, lambda: self._go_on(head))
        except Refusal as refusal:
            self._send(refused(refusal), "GET", last=True)
            self._linger(incoming)
            return False
        started = time.monotonic()
        try:
            answer = self._application.answer(head, body)
        except Disconnected:
            raise
        except Exception:
            # A mistake of ours: the client is told, and the thread ends with a traceback.
            self._send(refused(Refusal(500, "UNKNOWN", "a mistake in the registry")), head.method, last=True)
            raise
        expected = not body.begun and "expect" in head.headers and not body.ended
        # A client that waits for '100 Continue' sends its body only when it gets one, and it got this answer instead.
        clean = not expected and self._discard(body)
        last = self._leaving or not head.persistent or not clean
        self._send(answer, head.method, last)
        seconds = time.monotonic() - started
        self._log(
            f"{self._peer} {head.method} {head.target[:300]} {answer.status} {answer.size} {seconds:.3f} s"
        )
        if not clean:
            self._linger(incoming)
        with self._guard:
            self._busy, self._since = False, time.monotonic()
            return not last and not self._leaving

    def _begin(self) -> bool:
        with self._guard:
            self._busy = not self._leaving
            return self._busy

    def _go_on(self, head: Head) -> None:
        if head.headers.get("expect", "").lower() == "100-continue":
            try:
                self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            except OSError:
                raise Disconnected from None

    def _discard(self, body: Body) -> bool:
        try:
            return body.ended or body.discard(_DISCARDED)
        except Refusal:
            return False

    def _send(self, answer: Answer, method: str, last: bool) -> None:
        self._socket.settimeout(IDLE)
        lines = [
            f"HTTP/1.1 {answer.status} {_phrase(answer.status)}",
            f"Date: {formatdate(usegmt=True)}",
            "Docker-Distribution-Api-Version: registry/2.0",
            "X-Content-Type-Options: nosniff",
            *(f"{key}: {value}" for key, value in answer.headers.items()),
        ]
        if answer.status not in (204, 304):
            lines.append(f"Content-Length: {answer.size}")
        if last:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        silent = method == "HEAD" or answer.status in (204, 304)
        if isinstance(answer.body, bytes):
            self._socket.sendall(head if silent else head + answer.body)
            return
        with answer.body.file:
            self._socket.sendall(head)
            if not silent:
                self._send_file(answer.body)

    def _send_file(self, part: Part) -> None:
        """Each piece has its own minute, so that a large blob may take long but a client that stops reading may not."""
        position, end = part.start, part.start + part.size
        if not isinstance(self._socket, ssl.SSLSocket):
            while position < end:
                sent = self._socket.sendfile(part.file, position, min(end - position, 64 * _PIECE))
                if not sent:
                    raise Disconnected
                position += sent
            return
        buffer = memoryview(bytearray(_PIECE))
        part.file.seek(position)
        while position < end:
            count = os.readv(part.file.fileno(), [buffer[: min(end - position, _PIECE)]])
            if not count:
                raise Disconnected
            self._socket.sendall(buffer[:count])
            position += count

    def _linger(self, incoming: Incoming) -> None:
        """Let the other side read the answer before the connection goes: bytes that it still sends would reset it."""
        self._shut(socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER
        place = memoryview(bytearray(_PIECE))
        with suppress(OSError, Disconnected):
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                incoming.readinto(place)

    def _shut(self, how: int) -> None:
        with suppress(OSError):
            self._socket.shutdown(how)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
