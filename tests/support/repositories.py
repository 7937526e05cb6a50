"""Git repositories behind real servers: git's own http-backend, and plain files (the "dumb" protocol)."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PLAIN = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
}


def git(folder: Path, *words: str) -> str:
    """What git says in `folder`, without any configuration of this machine."""
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **PLAIN},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@dataclass
class Hub:
    """Repositories in `root`, served at `url`. `login` asks everything for this user and password; `moved` maps the beginning of a path to
    where it is sent; `seen` are the paths with the Authorization that came with them."""

    root: Path
    url: str = ""
    login: tuple[str, str] | None = None
    moved: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str | None]] = field(default_factory=list)

    def make(self, name: str, files: dict[str, str | bytes], *, tag: str = "") -> str:
        """Commit `files` to the repository `name`, which is made where it is not there. The commit's name."""
        work = self.root / f"{name}.work"
        if not work.exists():
            work.mkdir()
            git(work, "init", "-q", "-b", "main")
            git(self.root, "init", "-q", "--bare", "-b", "main", f"{name}.git")
        for path, content in files.items():
            place = work / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.commit(name, tag=tag)

    def commit(self, name: str, *, tag: str = "") -> str:
        """Commit whatever is in the work tree, and publish it."""
        work, bare = self.root / f"{name}.work", self.root / f"{name}.git"
        git(work, "add", "-A", "-f")
        git(work, "commit", "-q", "--allow-empty", "-m", "change")
        if tag:
            git(work, "tag", "-a", tag, "-m", tag)
        git(work, "push", "-q", "--all", str(bare))
        git(work, "push", "-q", "--tags", str(bare))
        git(bare, "update-server-info")
        return git(work, "rev-parse", "HEAD")

    @property
    def host(self) -> str:
        return self.url.partition("//")[2]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    hub: Hub

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        hub, (path, _, query) = self.hub, self.path.partition("?")
        hub.seen.append((path, self.headers.get("Authorization")))
        if hub.login is not None:
            wanted = "Basic " + base64.b64encode(":".join(hub.login).encode()).decode()
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="hub"')
                self.end_headers()
                return
        for start, target in hub.moved.items():
            if path.startswith(start):
                self.send_response(302)
                self.send_header(
                    "Location", f"{target}{path.removeprefix(start)}{'?' + query if query else ''}"
                )
                self.end_headers()
                return
        if path.startswith("/dumb/"):
            place = hub.root / path.removeprefix("/dumb/")
            self.send_response(200 if place.is_file() else 404)
            self.end_headers()
            self.wfile.write(place.read_bytes() if place.is_file() else b"")
            return
        variables = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(hub.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            **PLAIN,
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=variables, capture_output=True, check=False
        )
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        headers = [line.partition(": ")[::2] for line in head.decode().split("\r\n") if line]
        status = next((value for key, value in headers if key == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for key, value in headers:
            if key != "Status":
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(root: Path) -> Iterator[Hub]:
    """A server on a port of its own for the repositories in `root`."""
    root.mkdir(exist_ok=True)
    hub = Hub(root)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
