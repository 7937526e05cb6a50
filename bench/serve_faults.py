"""Rows of `serve.py` about what goes wrong or is replaced while clients ask: a killed worker, an update, idle connections."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from measure import Failed, environment
from serve_load import Connection, Load, Question, steady
from serve_peers import Server, serving

from corten_serve import frames
from corten_serve.server.process import spawn
from corten_serve.settings import Settings

Found = list[tuple[str, float, str]]
_IDLE = 10_000
_PREDICT = "class Predictor:\n    def predict(self, x: float) -> float:\n        return x + {}\n"


def raise_limit() -> None:
    """As many open files as there may be, for us and the servers that we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def kill(peer: str, seconds: float, work: Path) -> Found:
    """A worker is killed at 200 requests/s. Beside the time until it is back stands that of a worker's own start."""
    if peer == "rsgi":
        return []  # nobody starts anything again by default
    with serving(peer, "m1", 1 if peer == "corten" else 2, work) as server:
        victims = [pid for pid in server.processes() if pid != server.pid]
        if not victims:
            raise Failed("there is no worker process to kill")
        victim = max(victims, key=_resident)
        loads: list[Load] = []
        thread = _steadily(server.question, max(8.0, seconds), loads)
        time.sleep(2)
        before = len(server.processes())
        os.kill(victim, signal.SIGKILL)
        begun = time.perf_counter()
        time.sleep(0.05)
        connection = Connection(server.question.port, 30)
        while time.perf_counter() - begun < 30 and not (
            len(server.processes()) >= before and connection.ask(server.question.bytes) == 200
        ):
            time.sleep(0.01)
        back = time.perf_counter() - begun
        if peer != "corten":
            thread.join()
            return [("kill", back, "s"), ("kill-lost", loads[0].bad, "")]
        # Under the same load, so that both starts have as little of the processors.
        own = _own_start(server)
        thread.join()
        return [
            ("kill", back, "s"),
            ("kill-own", own, "s"),
            ("kill-more", back - own, "s"),
            ("kill-lost", loads[0].bad, ""),
        ]


def _own_start(server: Server) -> float:
    """Seconds from the start of one more worker of `server` to its word that it is ready. Raises Failed."""
    variables = dict(
        entry.split("=", 1)
        for entry in Path(f"/proc/{server.pid}/environ").read_text().split("\0")
        if "=" in entry
    )
    settings = Settings.from_environment(variables)
    begun = time.perf_counter()
    worker = spawn(settings, variables, settings.name, 0)
    try:
        reader = frames.Reader()
        worker.channel.settimeout(30)
        while data := worker.channel.recv(1 << 16):
            if any(item.kind == frames.READY for item in reader.feed(data)):
                return time.perf_counter() - begun
        raise Failed("a worker by itself did not get ready")
    except OSError as error:
        raise Failed(f"a worker by itself did not get ready: {error}") from error
    finally:
        worker.kill()
        worker.channel.close()
        os.waitpid(worker.pid, 0)


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return 0


def _steadily(question: Question, seconds: float, loads: list[Load]) -> threading.Thread:
    thread = threading.Thread(target=lambda: loads.append(steady(question, 200, seconds, clients=64)))
    thread.start()
    return thread


def update(peer: str, seconds: float, work: Path) -> Found:
    """`corten up --update` at 200 requests/s: containers, unlike the other rows."""
    if peer != "corten":
        return []
    home, project = work / "home", work / "updated"
    project.mkdir(exist_ok=True)
    variables = environment(CORTEN_HOME=str(home))

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "corten", *words], env=variables, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise Failed(f"'corten {words[0]}': {done.stderr.strip()[-300:]}")
        return done.stdout.strip()

    (project / "predict.py").write_text(_PREDICT.format(1))
    url = run("up", str(project), "--detach", "--port", "0", "--name", "updated")
    try:
        loads: list[Load] = []
        question = Question(int(url.rpartition(":")[2].strip("/")), "/predict", b'{"x": 3.0}')
        thread = _steadily(question, max(8.0, seconds), loads)
        time.sleep(1)
        (project / "predict.py").write_text(_PREDICT.format(2))
        begun = time.perf_counter()
        run("up", "--update", str(project))
        took = time.perf_counter() - begun
        thread.join()
        return [("update", took, "s"), ("update-lost", loads[0].bad, "")]
    finally:
        run("down", "updated")


def idle(peer: str, seconds: float, work: Path) -> Found:
    """Memory of connections on which nobody says anything, and whether others are still answered."""
    with serving(peer, "m0", 1, work) as server:
        before = server.pss()
        clients: list[socket.socket] = []
        try:
            for _ in range(_IDLE):
                clients.append(  # noqa: PERF401 - those that there are have to be closed
                    socket.create_connection(("127.0.0.1", server.question.port), 10)
                )
            if Connection(server.question.port, 10).ask(server.question.bytes) != 200:
                raise Failed(f"nobody else is answered beside {_IDLE} idle connections")
            return [("idle", (server.pss() - before) / 1e6, "MB")]
        except OSError as error:
            raise Failed(f"{len(clients)} idle connections, then: {error}") from error
        finally:
            for client in clients:
                client.close()
