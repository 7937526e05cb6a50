"""A real server with a real worker, started as an image starts them, and spoken to over real HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.worker import Worker

SOURCE = Path(__file__).parents[2] / "src"


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Serving:
    """`pid` is the server's process; `out` and `err` the files that its output goes to."""

    pid: int
    port: int
    out: Path
    err: Path
    code: int | None = field(default=None)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})
        finally:
            connection.close()

    def predict(self, body: Any = None, **options: Any) -> Answer:
        return self.request("POST", "/predict", body, **options)

    def wait_ready(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.poll() is not None:
                raise AssertionError(f"the server ended with {self.code}: {self.log()}")
            try:
                if self.request("GET", "/readyz").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"not ready: {self.log()}")

    def wait_for_requests(self, count: int, seconds: float = 60) -> None:
        """Wait until so many predictions of the first model are in the server or were answered by it, all together."""
        end = time.monotonic() + seconds
        while True:
            model = self.request("GET", "/status").json["models"][0]
            found = model["queue"]["waiting"] + model["queue"]["handed"] + model["latency"]["count"]
            if found >= count:
                return
            assert time.monotonic() < end, model
            time.sleep(0.01)

    def log(self) -> str:
        return self.err.read_text() if self.err.exists() else ""

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def poll(self) -> int | None:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, seconds: float = 60) -> int:
        end = time.monotonic() + seconds
        while self.poll() is None:
            assert time.monotonic() < end, f"the server did not end: {self.log()}"
            time.sleep(0.01)
        assert self.code is not None
        return self.code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()


Start = Callable[..., Serving]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server for the code of a predictor module. `inherit=False` lets it bind its port itself. Its output goes to
    the descriptor `streams`, or nowhere, closed, where that is -1. With `files` it may open no more than so many."""
    running: list[Serving] = []

    def start(
        code: str,
        target: str = "predict:predict",
        inherit: bool = True,
        ready: bool = True,
        streams: int | None = None,
        files: int = 0,
        **environment: str,
    ) -> Serving:
        app = tmp_path / "app"
        app.mkdir(exist_ok=True)
        (app / "predict.py").write_text(textwrap.dedent(code))
        listener = socket.create_server(("127.0.0.1", 0), backlog=6000)
        port = listener.getsockname()[1]
        settings = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCE),
            "CORTEN_PREDICT": target,
            "CORTEN_APP": str(app),
            "CORTEN_WORKER_PYTHON": sys.executable,
            **({"LISTEN_FDS": "1"} if inherit else {"PORT": str(port), "CORTEN_HOST": "127.0.0.1"}),
            **environment,
        }
        out, err = tmp_path / "out", tmp_path / "err"
        actions: list[Any] = [
            (os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_OPEN, 2, str(err), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        ]
        if streams is not None:
            places = [(os.POSIX_SPAWN_DUP2, streams, each) for each in (1, 2)]
            actions = places if streams >= 0 else [(os.POSIX_SPAWN_CLOSE, 1), (os.POSIX_SPAWN_CLOSE, 2)]
        if inherit:
            actions.append((os.POSIX_SPAWN_DUP2, listener.fileno(), 3))
        else:
            listener.close()
        arguments = [sys.executable, "-m", "corten_serve", "serve"]
        if files:
            arguments = ["/bin/sh", "-c", f'ulimit -n {files} && exec "$0" "$@"', *arguments]
        pid = os.posix_spawn(arguments[0], arguments, settings, file_actions=actions, setsid=True)
        listener.close()
        serving = Serving(pid, port, out, err)
        running.append(serving)
        if ready:
            serving.wait_ready()
        return serving

    yield start
    for serving in running:
        if serving.poll() is None:
            workers = serving.children()
            serving.signal(signal.SIGKILL)
            serving.wait()
            for pid in workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start a worker by itself, and wait until it is ready unless told otherwise."""
    running: list[Worker] = []

    def begin(code: str, target: str = "predict:predict", ready: bool = True, **environment: str) -> Worker:
        worker = Worker(tmp_path, code, target, **environment)
        running.append(worker)
        if ready:
            worker.ready()
        return worker

    yield begin
    for worker in running:
        worker.kill()
