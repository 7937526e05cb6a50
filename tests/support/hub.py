"""A hub on this machine that speaks Hugging Face's file API: what a model has at a revision, and its files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class HubServer:
    """`models` are files by path, by repository; files of at least `large` bytes are as Git LFS has them, with a sha256. Such a file is
    answered with a redirect to `elsewhere`, where that is set. `asked` has (path, Authorization) of each request."""

    url: str = ""
    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: int = 1000
    commit: str = "c" * 40
    elsewhere: str = ""
    token: str = ""
    changed: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def listing(self, repository: str) -> dict[str, Any]:
        """The answer of `/api/models/…/revision/…`."""
        files = []
        for path, data in self.models[repository].items():
            git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            item: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git}
            if len(data) >= self.large:
                item["lfs"] = {
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "size": len(data),
                    "pointerSize": 134,
                }
            files.append(item)
        return {"id": repository, "sha": self.commit, "siblings": files, **self.changed}


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """One that listens until the end of the block."""
    state = HubServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("Authorization")))
            path = self.path.partition("?")[0]
            if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
                self._answer(401, b"{}")
            elif path.startswith("/api/models/"):
                repository = path.removeprefix("/api/models/").partition("/revision/")[0]
                known = repository in state.models
                self._answer(
                    200 if known else 404, json.dumps(state.listing(repository)).encode() if known else b"{}"
                )
            else:
                repository, _, file = path[1:].partition(f"/resolve/{state.commit}/")
                data = state.models.get(repository, {}).get(file)
                if data is None:
                    self._answer(404, b"")
                elif state.elsewhere and len(data) >= state.large:
                    self.send_response(302)
                    self.send_header("Location", f"{state.elsewhere}{path}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    self._answer(200, data)

        def _answer(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
