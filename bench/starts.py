"""How long a container takes: `print(1)` in a built image, and a predictor from `up` to its first answer."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from dockerfiles import Docker, DockerfilePeer
from measure import Failed, Job, environment, run, settle
from peers import Corten, Peer
from results import Results

_COMMAND = ["python3", "-c", "print(1)"]
IRIS = Path(__file__).parent.parent / "examples" / "iris"
_FLOWER = {"sepal_length": 6.3, "sepal_width": 2.9, "petal_length": 5.6, "petal_width": 1.8}


def measure_run(corten: Corten, peers: list[Peer], size: str, count: int, results: Results) -> None:
    """`print(1)` in the image of a set, in turn, with everybody who is here."""
    jobs = {"corten": corten.invoke(corten.home(size), "run", size.lower(), "--", *_COMMAND)}
    for peer in peers:
        if isinstance(peer, DockerfilePeer) and peer.installer == "uv":
            jobs |= _engine_run(peer, size, results)
    jobs |= _bundles(corten, results)
    failed: set[str] = set()
    for number in range(count + 1):
        for name, job in jobs.items():
            if name in failed:
                continue
            try:
                sample = run(job, corten.new("logs"))
            except Failed as error:
                failed.add(name)
                results.note(f"run with {name}: {error}")
                continue
            if number:  # the first is a warm-up
                results.figure("run", size, name, "ms").add(sample, own_cpu=False)


def _engine_run(peer: DockerfilePeer, size: str, results: Results) -> dict[str, Job]:
    engine = peer.engine
    tag = peer.tag(size)
    if isinstance(engine, Docker):
        argv = [str(engine.client), "run", "--rm", "--network", "none", tag, *_COMMAND]
        return {"docker": Job(argv, engine.env, engine.work)}
    if shutil.which("podman") is None:
        results.note("podman is not installed (Debian: podman)")
        return {}
    argv = ["podman", *engine.storage, "--runtime", "runc", "--cgroup-manager", "cgroupfs"]  # type: ignore[attr-defined]
    argv += [
        "run",
        "--rm",
        "--network",
        "none",
        "--ulimit",
        "nofile=20000:20000",
        "--ulimit",
        "nproc=1000:1000",
    ]
    return {"podman": Job([*argv, f"localhost/{tag}", *_COMMAND], environment(), engine.work)}


def _bundles(corten: Corten, results: Results) -> dict[str, Job]:
    """Plain OCI runtimes over the unpacked base: the floor."""
    found: dict[str, Job] = {}
    bundle = corten.new("bundles")
    root = bundle / "rootfs"
    for name in ("runc", "crun"):
        if shutil.which(name) is None or os.geteuid() != 0:
            results.note(f"{name} alone: {'needs root' if shutil.which(name) else 'is not installed'}")
            continue
        if not root.exists():
            root.mkdir(parents=True)
            subprocess.run(["tar", "-xf", corten.base_archive(), "-C", root], check=True)
        if not (bundle / "config.json").exists():
            subprocess.run([name, "spec"], cwd=bundle, check=True)
            spec = json.loads((bundle / "config.json").read_bytes())
            spec["process"] |= {"terminal": False, "args": _COMMAND}
            (bundle / "config.json").write_text(json.dumps(spec))
        found[name] = Job(
            [name, "run", "--bundle", str(bundle), f"corten-bench-{os.getpid()}"], environment(), bundle
        )
    return found


def measure_up(corten: Corten, count: int, results: Results) -> None:
    """The iris example, trained and built beforehand: from typing `up` to the first right answer."""
    project = corten.new("projects") / "iris"
    shutil.copytree(IRIS, project)
    home = corten.copy(corten.base)
    corten.call(home, "run", "-v", f"{project}:/app", str(project), "--", "python", "train.py")
    corten.call(home, "build", str(project))
    for number in range(count + 1):
        settle(corten.work)
        seconds = predict_once(corten, home, project)
        if number:
            results.figure("up", "iris", "corten").values.append(seconds)


def predict_once(corten: Corten, home: Path, project: Path) -> float:
    port = _free_port()
    job = corten.invoke(home, "up", str(project), "--port", str(port))
    log = corten.new("logs")
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            job.argv, env=job.env, cwd=job.cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            while not _predicts(port):
                if process.poll() is not None or time.perf_counter() - started > 60:
                    raise Failed(f"up: {log.read_text(errors='replace').strip()[-300:]}")
                time.sleep(0.005)
            seconds = time.perf_counter() - started
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return seconds


def _predicts(port: int) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict",
        data=json.dumps(_FLOWER).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return b"virginica" in answer.read()
    except (OSError, urllib.error.URLError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
