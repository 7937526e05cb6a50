"""The wire of the fault proxy: HTTP/1.1 on both sides, bodies streamed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from support.fault_actions import Action, Answer, Cut, Delay, Drop, Exchange, Garbage, Lose, Redirect

if TYPE_CHECKING:
    from support.faults import FaultProxy

_PIECE = 1 << 16
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect"})


def listen(proxy: FaultProxy) -> ThreadingHTTPServer:
    """The server of `proxy`, on a port of its own; not running yet."""
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    return server


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Hung-up connections are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultProxy

    def setup(self) -> None:
        super().setup()
        self.upstream = HTTPConnection(self.proxy.target, timeout=60)

    def finish(self) -> None:
        self.upstream.close()
        with suppress(OSError):
            super().finish()

    def _exchange(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        exchange = Exchange(self.command, self.path, headers)
        self.body_left = True
        self.proxy.arrived(exchange)
        try:
            self._act(exchange, exchange.action or Action())
        except (Cut, OSError, HTTPException):
            self._hang_up()
        finally:
            self.proxy.gone()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_OPTIONS = _exchange

    def _act(self, exchange: Exchange, action: Action) -> None:
        match action:
            case Answer():
                self._answer(exchange, action)
                return
            case Redirect():
                location = f"http://{action.address}{self.path}"
                self._answer(exchange, Answer(action.status, {"Location": location}, early=True))
                return
            case Drop():
                raise Cut
            case Garbage():
                self._drain(exchange)
                self.wfile.write(action.data)
                raise Cut
            case Delay():
                time.sleep(action.seconds)
        response = self._forward(exchange, action)
        if isinstance(action, Lose):
            response.read()
            raise Cut
        self._pass_back(exchange, action, response)

    def _answer(self, exchange: Exchange, action: Answer) -> None:
        if not action.early:
            self._drain(exchange)
        exchange.status = action.status
        self.send_response(action.status)
        for key, value in action.headers.items():
            for line in (value,) if isinstance(value, str) else value:
                self.send_header(key, line)
        self.send_header("Content-Length", str(len(action.body)))
        if action.early:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(action.body)
            exchange.received = len(action.body)
        if action.early:
            self._linger()

    def _forward(self, exchange: Exchange, action: Action) -> HTTPResponse:
        """Send the request on, and the head of the registry's answer."""
        upstream = self.upstream
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in self.headers.items():
            if key.lower() not in _HOP:
                upstream.putheader(key, value)
        chunked = "content-length" not in exchange.headers and "transfer-encoding" in exchange.headers
        if chunked:
            upstream.putheader("Transfer-Encoding", "chunked")
        upstream.endheaders()
        try:
            for piece in action.request(self._request_body(exchange)):
                upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                upstream.send(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            # The registry has answered before it has seen the whole; its answer may still be there to read.
            if upstream.sock is None:
                raise
        return upstream.getresponse()

    def _pass_back(self, exchange: Exchange, action: Action, response: HTTPResponse) -> None:
        exchange.status = response.status
        self.send_response_only(response.status, response.reason)
        length = response.headers.get("Content-Length")
        for key, value in response.headers.items():
            if key.lower() not in _HOP:
                here = value.replace(f"//{self.proxy.target}/", f"//{self.proxy.address}/")
                self.send_header(key, here if key.lower() == "location" else value)
        bodiless = self.command == "HEAD" or response.status in {204, 304}
        chunked = length is None and not bodiless
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        if self.body_left or response.will_close:
            self.send_header("Connection", "close")
        self.end_headers()
        if not bodiless:
            pieces = iter(lambda: response.read1(_PIECE), b"")
            for piece in action.response(pieces):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                exchange.received += len(piece)
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
        response.close()
        if self.body_left:
            self._linger()

    def _request_body(self, exchange: Exchange) -> Iterator[bytes]:
        """The body as it comes. Raises Cut when the client hangs up before its end."""
        for piece in self._framed(exchange.headers):
            exchange.sent += len(piece)
            yield piece
        self.body_left = False

    def _framed(self, headers: dict[str, str]) -> Iterator[bytes]:
        if "content-length" not in headers:
            if "transfer-encoding" in headers:
                yield from self._chunks()
            return
        yield from self._counted(int(headers["content-length"]))

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self.rfile.readline(1000)
            if not line:
                raise Cut
            size = int(line.split(b";")[0], 16)
            yield from self._counted(size)
            self.rfile.readline(1000)
            if size == 0:
                return

    def _counted(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self.rfile.read1(min(left, _PIECE))  # type: ignore[attr-defined]
            if not piece:
                raise Cut
            left -= len(piece)
            yield piece

    def _drain(self, exchange: Exchange) -> None:
        for _ in self._request_body(exchange):
            pass

    def _linger(self) -> None:
        """Close the sending side and read on for a moment: a close with unread data would destroy the answer."""
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(0.5)
            until = time.monotonic() + 2
            while self.connection.recv(_PIECE) and time.monotonic() < until:
                pass

    def _hang_up(self) -> None:
        self.close_connection = True
        self.upstream.close()
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass
