"""A double of AWS Lambda's Runtime API (version 2018-06-01), over real HTTP: give it events, take answers."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Given(NamedTuple):
    """What came for one event: `response`, or `error` with its type."""

    id: str
    kind: str
    body: bytes
    type: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class LambdaDouble:
    """`address` is for AWS_LAMBDA_RUNTIME_API. Bodies above `largest` bytes are refused with 413, as Lambda does."""

    def __init__(self, largest: int = 6 << 20) -> None:
        self.answers: queue.Queue[Given] = queue.Queue()
        self.failures: queue.Queue[Any] = queue.Queue()
        self._events: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, largest))
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def event(self, identity: str, event: Any, seconds: float = 30.0) -> None:
        """Queue an event that has to be answered within so many seconds."""
        self._events.put((identity, json.dumps(event).encode(), time.time() + seconds))

    def answer(self) -> Given:
        """The next answer. Raises queue.Empty."""
        return self.answers.get(timeout=60)

    def ask(self, identity: str, event: Any, seconds: float = 30.0) -> Given:
        self.event(identity, event, seconds)
        return self.answer()

    def take(self) -> tuple[str, bytes, float]:
        return self._events.get(timeout=60)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(double: LambdaDouble, largest: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            assert self.path == "/2018-06-01/runtime/invocation/next"
            identity, body, deadline = double.take()
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", identity)
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int(deadline * 1000)))
            self.send_header(
                "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f"
            )
            self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kind = self.headers.get("Lambda-Runtime-Function-Error-Type")
            found = re.fullmatch(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)", self.path)
            status = 202
            if len(body) > largest:
                status = 413
            elif found:
                double.answers.put(Given(found[1], found[2], body, kind))
            elif self.path == "/2018-06-01/runtime/init/error":
                double.failures.put((kind, json.loads(body)))
            else:
                status = 404
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    return Handler
