"""A second implementation of what the page talks to: `openapi.json`, `status`, `readyz` and a few endpoints, canned."""

from __future__ import annotations

import json
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from corten_serve.server.page import page

MARKUP = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'
NUMBER = {"type": "number"}
TEXT = {"type": "string"}
PERSON = {
    "title": "Person",
    "type": "object",
    "description": "Who it is about",
    "properties": {
        "name": TEXT,
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "born": {"type": "string", "format": "date"},
        "friend": {"anyOf": [{"$ref": "#/components/schemas/Person"}, {"type": "null"}], "default": None},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
IRIS = {
    "type": "object",
    "properties": {
        "sepal": {**NUMBER, "description": "Length and width in cm", "minimum": 0, "examples": [5.1]},
        "note": {**TEXT, "default": "first\nsecond"},
        "colour": {"enum": ["blue", "white", 3], "default": "white"},
        "exact": {"type": "boolean", "default": True},
        "count": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "row": {"type": "array", "items": NUMBER, "default": [5.1, 3.5]},
        "matrix": {
            "type": "array",
            "items": {"anyOf": [NUMBER, {"type": "array"}]},
            "format": "ndarray-float64",
        },
        "tags": {"type": "array", "items": TEXT, "maxItems": 3},
        "pair": {
            "type": "array",
            "prefixItems": [{"title": "low", **NUMBER}, {"title": "high", **NUMBER}],
            "minItems": 2,
            "maxItems": 2,
        },
        "person": {"$ref": "#/components/schemas/Person"},
        "weights": {"type": "object", "additionalProperties": NUMBER, "default": {"a.b": 1.5}},
        "either": {"anyOf": [{"type": "integer"}, {"$ref": "#/components/schemas/Person"}]},
        "anything": {},
    },
    "required": ["sepal", "matrix", "tags", "pair", "person", "either", "anything"],
    "additionalProperties": False,
}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
IMAGE = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}
PICTURE = {
    "type": "object",
    "properties": {"image": IMAGE, "scale": {**NUMBER, "default": 0.5}, "as_json": {"type": "boolean"}},
    "required": ["image"],
}


def content(kind: str, schema: Any = None) -> dict[str, Any]:
    return {"content": {kind: {"schema": schema} if schema is not None else {}}}


def operation(request: Any, *answers: str, answer: Any = None, **more: Any) -> dict[str, Any]:
    body = {"application/json": {"schema": request}, **more.pop("bodies", {})}
    kinds: dict[str, Any] = {kind: {} for kind in answers or ("application/json",)}
    if answer is not None:
        kinds["application/json"] = {"schema": answer}
    return {
        "post": {
            "tags": ["predict"],
            "requestBody": {"required": True, "content": body},
            "responses": {"200": {"content": kinds}},
            **more,
        }
    }


def document() -> dict[str, Any]:
    """An OpenAPI document with everything that the page knows how to ask for."""
    text = {"type": "object", "properties": {"text": TEXT}, "required": ["text"]}
    form = {
        "type": "object",
        "properties": {**PICTURE["properties"], "image": {"contentMediaType": "image/*"}},  # type: ignore[dict-item]
    }
    bodies = {"multipart/form-data": {"schema": form}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "stub", "version": "1"},
        "paths": {
            "/predict": operation(IRIS, description="Says which iris it is."),
            "/picture": operation(PICTURE, "application/json", "image/png", bodies=bodies),
            "/tokens": operation(text, "application/json", "application/x-ndjson", "text/event-stream"),
            "/events": operation(text, "text/event-stream"),
            "/cut": operation(NOTHING, "application/x-ndjson"),
            "/table": operation(NOTHING, answer={"type": "array"}),
            "/slow": operation(text),
            "/hostile": operation(
                {"type": "object", "properties": {MARKUP: {**TEXT, "title": MARKUP, "description": MARKUP}}},
                description=MARKUP,
            ),
            "/v2/models/stub/infer": {"post": {"responses": {}}},
        },
        "components": {"schemas": {"Person": PERSON}},
    }


def png(width: int, height: int) -> bytes:
    """A small picture: a slope of colours."""
    rows = b"".join(
        b"\0" + b"".join(bytes((x * 255 // width, y * 255 // height, 120)) for x in range(width))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@dataclass
class Stub:
    """`state` and `reason` can be changed while it runs; `seen` are the requests: path, headers, body. `go` lets slow
    answers and streams end."""

    name: str = "iris"
    state: str = "ready"
    reason: str = ""
    document: dict[str, Any] = field(default_factory=document)
    status: bool = True
    requests: int = 40
    uptime: float = 3700.5
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    @property
    def last(self) -> Any:
        """The last body, as JSON."""
        return json.loads(self.seen[-1][2])


@contextmanager
def stub(**settings: Any) -> Iterator[Stub]:
    """A stub that serves until the end of the block."""
    state = Stub(**settings)
    handler = type("Handler", (_Handler,), {"stub": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        state.go.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    stub: Stub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def _send(self, status: int, body: Any, kind: str = "application/json", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        stub = self.stub
        if self.path == "/":
            accepts = self.headers["accept-encoding"] or ""
            headers, body = page(stub.name, "predict:predict", stub.state, accepts)
            (_, kind), *rest = headers
            self._send(200, body, kind, **dict(rest))
        elif self.path == "/openapi.json":
            if stub.state == "ready":
                self._send(200, stub.document)
            else:
                self._send(503, {"error": "the predictor is still starting"}, retry_after="1")
        elif self.path == "/readyz":
            error = {"error": stub.reason} if stub.reason else {}
            self._send(200 if stub.state == "ready" else 503, {"status": stub.state, **error})
        elif self.path == "/status" and stub.status:
            self._send(200, _status(stub))
        else:
            self._send(404, {"error": f"there is no '{self.path}' here"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.stub.seen.append((self.path, headers, body))
        getattr(self, f"_{self.path[1:]}", self._predict)(headers, body)

    def _predict(self, headers: dict[str, str], body: bytes) -> None:
        given = json.loads(body)
        problems = []
        if isinstance(person := given.get("person"), dict) and "age" not in person:
            problems.append({"field": "person.age", "message": "missing; expected an integer"})
        if given.get("tags") == ["", "x"]:
            problems.append({"field": "tags[0]", "message": "the tag is empty"})
        if problems:
            message = "; ".join(f"{one['field']}: {one['message']}" for one in problems)
            self._send(422, {"error": message, "problems": problems})
            return
        answer = {"species": "setosa", "scores": [0.91, 0.08, 0.01], "seen": given}
        self._send(200, answer, x_request_id="r-1")

    def _picture(self, headers: dict[str, str], body: bytes) -> None:
        if headers.get("accept", "").startswith("image/"):
            self._send(200, png(64, 48), "image/png")
        else:
            self._send(200, {"ok": True})

    def _stream(self, kind: str, parts: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for index, part in enumerate(parts):
            if index == len(parts) - 1:
                self.stub.go.wait(20)
            try:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            except OSError:
                self.stub.left.set()
                return
        self.wfile.write(b"0\r\n\r\n")

    def _cut(self, headers: dict[str, str], body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("content-length", "100")
        self.end_headers()
        self.wfile.write(b'"one"\n')
        self.stub.go.wait(20)
        self.close_connection = True

    def _tokens(self, headers: dict[str, str], body: bytes) -> None:
        words = json.loads(body)["text"].split()
        self._stream("application/x-ndjson", [json.dumps(f"{word} ").encode() + b"\n" for word in words])

    def _events(self, headers: dict[str, str], body: bytes) -> None:
        parts = [b'data: {"step": %d, "loss": 0.%d}\n\n' % (step, 9 - step) for step in range(3)]
        self._stream("text/event-stream", [*parts, b'event: error\ndata: {"error": "out of steps"}\n\n'])

    def _table(self, headers: dict[str, str], body: bytes) -> None:
        self._send(200, [{"label": f"class {i}", "score": round(1 / (i + 1), 3)} for i in range(250)])

    def _slow(self, headers: dict[str, str], body: bytes) -> None:
        self.stub.go.wait(20)
        self._send(200, {"done": True})

    def _hostile(self, headers: dict[str, str], body: bytes) -> None:
        self._send(200, {MARKUP: MARKUP, "list": [{MARKUP: MARKUP}], "items": [MARKUP]})


def _status(stub: Stub) -> dict[str, Any]:
    recent = [
        {"at": i, "status": 500 if i == 7 else 200, "ms": 10 + (i * 37) % 23} for i in range(stub.requests)
    ]
    return {
        "name": stub.name,
        "version": "1.2.0",
        "state": stub.state,
        "uptime": stub.uptime,
        "draining": False,
        "models": [
            {
                "name": stub.name,
                "state": stub.state,
                "reason": stub.reason or None,
                "queue": {"waiting": 3, "bound": 256},
                "workers": [
                    {"pid": 7, "state": "ready", "rss": 150_000_000, "restarts": 0, "busy": 1},
                    {"pid": 8, "state": "ready", "rss": 140_000_000, "restarts": 1, "busy": 0},
                ],
                "latency": {"p50": 12.2, "p90": 21.0, "p99": 43.9, "count": 1234},
                "recent": recent,
            }
        ],
    }
