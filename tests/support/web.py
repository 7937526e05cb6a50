"""A web server in a thread, for tests: files with `Range`, passwords, redirects, and every way to misbehave."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Seen:
    """One request: method, path, headers with lower-case names."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Web:
    """`files` maps paths to bytes. `login` asks everything for this user and password. `misbehave` maps a path to a function
    that answers in place of the server (given the handler and how often the path was asked before) and returns whether
    it did."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    ranges: bool = True
    lengths: bool = True
    misbehave: dict[str, Callable[[Handler, int], bool]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.partition("//")[2]

    def with_login(self, user: str, password: str) -> str:
        return self.url.replace("//", f"//{user}:{password}@")

    def asked(self, path: str, method: str | None = None) -> list[Seen]:
        return [item for item in self.seen if item.path == path and method in {None, item.method}]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        web = self.web
        path = self.path.partition("?")[0]
        before = len(web.asked(path, self.command))
        web.seen.append(Seen(self.command, path, {key.lower(): value for key, value in self.headers.items()}))
        if web.login is not None:
            expected = "Basic " + base64.b64encode(":".join(web.login).encode()).decode()
            if self.headers.get("Authorization") != expected:
                self.reply(401, b"who are you?", {"WWW-Authenticate": 'Basic realm="test"'})
                return
        odd = web.misbehave.get(path)
        if odd is not None and odd(self, before):
            return
        data = web.files.get(path)
        if data is None:
            self.reply(404, b"not here")
            return
        headers = {"Content-Type": web.types.get(path, "application/octet-stream"), "Accept-Ranges": "bytes"}
        span = self.headers.get("Range")
        if span and web.ranges:
            first, _, last = span.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(len(data) - int(last), 0)
            end = min(int(last), len(data) - 1) if first and last else len(data) - 1
            if start >= len(data):
                self.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            self.reply(206, data[start : end + 1], headers)
            return
        self.reply(200, data, headers)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if self.web.lengths:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def cut(self, body: bytes, promised: int) -> None:
        """Send a beginning and hang up."""
        self.send_response(200)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

    def drip(self, promised: int, seconds: float) -> None:
        """Send a byte now and then."""
        self.send_response(200)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                self.wfile.write(b"x")
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.05)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()


@contextmanager
def serving() -> Iterator[Web]:
    """A server on a port of its own."""
    handler = type("Handler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    web = Web(f"http://127.0.0.1:{server.server_address[1]}")
    handler.web = web  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
