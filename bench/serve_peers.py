"""Who serves the models of `serving/models.py`: Corten's model server, and others as their own documentation begins, each in an
environment of its own. All run bare on this machine, so containers make no difference."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from measure import Failed, _tree, environment
from serve_load import Connection, Question

APPS = Path(__file__).resolve().parent / "serving"
SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGES = {
    "corten": ("granian", "scikit-learn"),
    "rsgi": ("granian", "uvloop", "scikit-learn"),
    "fastapi": ("fastapi", "uvicorn", "httptools", "uvloop", "scikit-learn"),
    "litserve": ("litserve", "scikit-learn"),
    "bentoml": ("bentoml", "scikit-learn"),
    # MLServer's workers call asyncio.get_event_loop() before a loop exists: uvloop 0.22 and later raise an error there,
    # every worker ends, and the server shuts its pool down.
    "mlserver": ("mlserver", "uvloop<0.22", "scikit-learn"),
    "cog": ("cog", "scikit-learn"),
}
PEERS = tuple(PACKAGES)
_ROW = {"a": 5.1, "b": 3.5, "c": 1.4, "d": 0.2}
_CORTEN = {"m0": "M0", "m1": "M1", "m1b": "M1Batched", "m2": "M2", "hold": "Hold", "slow": "Slow"}
_LIVE = {
    "corten": "/livez",
    "fastapi": "/livez",
    "rsgi": "/livez",
    "litserve": "/health",
    "bentoml": "/livez",
}
_LIVE |= {"mlserver": "/v2/health/live", "cog": "/health-check"}
_START = 60.0


@dataclass(frozen=True)
class Server:
    """A server that runs. `started` is seconds from its start to its first good answer."""

    peer: str
    pid: int
    question: Question
    live: str
    started: float

    def processes(self) -> list[int]:
        """Its process and all below."""
        return _tree(self.pid)

    def pss(self) -> int:
        """Bytes that all of them hold, shared pages counted once."""
        total = 0
        for pid in self.processes():
            with suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
        return total


def install(peer: str, folder: Path) -> Path:
    """The peer's own environment with its packages, and its interpreter. Raises Failed."""
    place = folder / peer
    python = place / "bin" / "python"
    uv = str(Path(sys.executable).parent / "uv")
    for command in (
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(place)],
        [uv, "pip", "install", "--quiet", "--python", str(python), "--compile-bytecode", *PACKAGES[peer]],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"{peer} cannot be installed: {done.stderr.strip()[-200:]}")
    return python


def body_of(peer: str, kind: str) -> bytes:
    """A request for the model `kind`, in the peer's own words."""
    values: dict[str, object] = dict(_ROW) if kind.startswith("m1") else {"x": 3.0}
    if peer == "mlserver":
        data = list(values.values())
        tensor = {"name": "x", "shape": [1, len(data)], "datatype": "FP64", "data": data}
        return json.dumps({"inputs": [tensor]}).encode()
    if peer == "cog":
        return json.dumps({"input": values}).encode()
    if peer == "bentoml" and kind == "m2":
        values = {"x": [3.0]}
    return json.dumps(values).encode()


@contextmanager
def serving(peer: str, kind: str, workers: int, folder: Path, **extra: str) -> Iterator[Server]:
    """The peer serves `kind`; it is ended afterwards, with all that it started. Raises Failed where it does not start."""
    python, port = folder / "environments" / peer / "bin" / "python", _free_port()
    place = folder / f"{peer}-{kind}"
    shutil.copytree(APPS, place, dirs_exist_ok=True)
    command, more, path = _command(peer, str(python), kind, workers, port, place)
    variables = environment(
        BENCH_MODEL="m1" if kind == "m1b" else kind,
        BENCH_WORKERS=str(workers),
        PORT=str(port),
        **more,
        **extra,
    )
    with open(place / "log", "wb") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=place,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            question = Question(port, path, body_of(peer, kind))
            probe = question if kind != "hold" else Question(port, path, b'{"x": 0}')
            if peer == "mlserver" and kind == "hold":
                probe = Question(port, path, body_of(peer, kind).replace(b"3.0", b"0.0"))
            _wait(process, probe, begun, place / "log", peer)
            yield Server(peer, process.pid, question, _LIVE[peer], time.perf_counter() - begun)
        finally:
            _end(process)


def _command(
    peer: str, python: str, kind: str, workers: int, port: int, place: Path
) -> tuple[list[str], dict[str, str], str]:
    """Its command line, its variables, and the path of its predictions."""
    count, at = str(workers), str(port)
    if peer == "corten":
        variables = {
            "PYTHONPATH": str(SOURCE),
            "CORTEN_PREDICT": f"corten_app:{_CORTEN[kind]}",
            "CORTEN_WORKER_PYTHON": python,
            "CORTEN_APP": str(place),
            "CORTEN_HOST": "127.0.0.1",
            "CORTEN_WORKERS": count,
            "CORTEN_LOG": "warning",
        }
        return [python, "-m", "corten_serve", "serve"], variables, "/predict"
    quiet = ["--log-level", "warning"]
    if peer == "rsgi":
        words = ["-m", "granian", "--interface", "rsgi", "--port", at, "--workers", count, "--no-ws"]
        return [python, *words, *quiet, "rsgi_app:app"], {}, "/predict"
    if peer == "fastapi":
        words = ["-m", "uvicorn", "fastapi_app:app", "--port", at, "--workers", count, "--no-access-log"]
        return [python, *words, *quiet], {}, "/predict"
    if peer == "litserve":
        return [python, "litserve_app.py"], {}, "/predict"
    if peer == "bentoml":
        home = {"BENTOML_HOME": str(place / "home"), "BENTOML_DO_NOT_TRACK": "True"}
        words = ["-m", "bentoml", "serve", "bentoml_app:Service", "--port", at, "-q"]
        return [python, *words], home, "/predict"
    if peer == "mlserver":
        settings = {"http_port": port, "grpc_port": _free_port(), "metrics_port": _free_port()}
        settings |= {"parallel_workers": workers, "host": "127.0.0.1"}
        (place / "settings.json").write_text(json.dumps({**settings, "access_logger_disabled": True}))
        batching = {"max_batch_size": 64, "max_batch_time": 0.005} if kind == "m2" else {}
        model = {"name": "model", "implementation": "mlserver_app.Model", **batching}
        (place / "model-settings.json").write_text(json.dumps(model))
        return [str(Path(python).parent / "mlserver"), "start", "."], {}, "/v2/models/model/infer"
    raise Failed(f"{peer} is not known here")


def _wait(process: subprocess.Popen[bytes], question: Question, begun: float, log: Path, peer: str) -> None:
    while time.perf_counter() - begun < _START:
        if process.poll() is not None:
            raise Failed(f"{peer} ended: {_why(log)}")
        connection = Connection(question.port, 10)
        status = connection.ask(question.bytes)
        connection.close()
        if status == 200:
            return
        time.sleep(0.005)
    raise Failed(f"{peer} does not answer: {_why(log)}")


def _why(log: Path) -> str:
    """The first error that a log names, and its end: the end alone is often only what a server says as it shuts down."""
    text = log.read_text(errors="replace").strip()
    errors = [line for line in text.splitlines() if re.match(r"[\w.]*(Error|Exception|Stop)\b", line)]
    return f"{errors[0]} … {text[-200:]}" if errors else text[-300:]


def _end(process: subprocess.Popen[bytes]) -> None:
    everybody = _tree(process.pid)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(8)
    for pid in everybody:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
