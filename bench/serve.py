"""Measure Corten's model server beside FastAPI, LitServe, BentoML, MLServer and raw Granian, in one run: `make bench-serve`.

The same models for everybody, on this machine, one server at a time; the load generator is wrk (and sockets of our own for a
steady rate, for bursts and for faults) on the same processors. Who cannot be installed or does not start is left out with a note.

    bench/serve.py --rows m0,m1 --seconds 3 --runs 1        a quick look
    bench/serve.py --peers fastapi --rows m1,start,memory   one comparison
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import machine
import report
import serve_faults
from measure import Failed
from results import Results
from serve_load import Connection, Question, at_once, steady, wrk
from serve_peers import PEERS, Server, install, serving

from build import _list, _remove

TITLES = {
    "m0": "M0 (no-op), 64 connections, requests/s",
    "m0-p99": "the same, p99, ms",
    "m1": "M1 (scikit-learn, one row), 64 connections, requests/s",
    "m1b": "M1 with predict_batch, requests/s",
    "m1-turn": "M1, one client in turn, requests/s",
    "m2": "M2 (batches), 64 connections, two workers, requests/s",
    "m2-p99": "the same, p99, ms",
    "rate-p50": "M1 at 200 requests/s, p50, ms",
    "rate-p99": "the same, p99, ms",
    "start": "start to the first 200, s",
    "memory": "memory of all processes under M1's load (PSS), MB",
    "health": "health while predict holds the interpreter's lock for 3 s, ms",
    "kill": "a killed worker back in service, s",
    "kill-own": "a worker's own start, s",
    "kill-more": "the first less the second, s",
    "kill-lost": "requests that this lost",
    "update": "`corten up --update` at 200 requests/s, s",
    "update-lost": "requests that this lost",
    "term-lost": "requests that SIGTERM lost, of 16 in flight",
    "burst-memory": "5,000 requests at once to a slow model: more memory, MB",
    "burst-refused": "of those, refused at once",
    "leak": "5,000 slow answers of 300 kB: more memory after them than after the first 500, MB",
    "idle": "10,000 idle connections: more memory, MB",
    "body": "200 MB of JSON: more memory, MB",
    "body-status": "the same: answer",
}
ROWS = (
    "m0",
    "m1",
    "m1b",
    "m1-turn",
    "m2",
    "rate",
    "start",
    "memory",
    "health",
    "kill",
    "update",
    "term",
    "burst",
    "leak",
    "idle",
    "body",
)
_LIMITS: dict[str, tuple[str, float, str]] = {
    "m0": (">=", 12000, "≥ 12000"),
    "m0-p99": ("<=", 20, "≤ 20 ms"),
    "m1": (">=", 4000, "≥ 4000"),
    "m1b": (">=", 6000, "≥ 6000"),
    "m1-turn": (">=", 1000, "≥ 1000"),
    "m2": (">=", 3000, "≥ 3000"),
    "m2-p99": ("<=", 60, "≤ 60 ms"),
    "start": ("<=", 1.4, "≤ 1.4 s"),
    "memory": ("<=", 170, "≤ 170 MB"),
    "health": ("<=", 20, "≤ 20 ms"),
    "kill-more": ("<=", 0.2, "≤ 0.2 s"),
    "kill-lost": ("<=", 1, "≤ 1 (the one it had begun)"),
    "update-lost": ("<=", 0, "0"),
    "term-lost": ("<=", 0, "0"),
    "burst-memory": ("<=", 50, "≤ 50 MB"),
    "leak": ("<=", 30, "≤ 30 MB"),
    "body": ("<=", 50, "≤ 50 MB"),
}
_RATIOS = {
    "m1": ("fastapi", lambda own, other: own >= 3 * other, "≥ 3 × FastAPI"),
    "rate-p50": ("rsgi", lambda own, other: own <= 1.3 * other, "≤ 1.3 × RSGI"),
    "rate-p99": ("rsgi", lambda own, other: own <= 1.3 * other, "≤ 1.3 × RSGI"),
}
WHERE = "bare"


def targets(results: Results) -> list[tuple[str, str, str, bool]]:
    """The figures to reach that were measured: row, where, target, whether it was reached."""
    found = []
    for row, (sign, limit, text) in _LIMITS.items():
        own = results.median(row, WHERE, "corten")
        if own is not None:
            found.append((row, WHERE, text, own >= limit if sign == ">=" else own <= limit))
    for row, (peer, reached, text) in _RATIOS.items():
        own, other = results.median(row, WHERE, "corten"), results.median(row, WHERE, peer)
        if own is not None and other is not None:
            found.append((row, WHERE, text, reached(own, other)))
    return found


def main() -> int:
    """Parse, install, measure, report. 0 unless nothing could be measured."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are ended then, too
    serve_faults.raise_limit()
    work = Path(tempfile.mkdtemp(prefix="corten-bench-")).resolve()
    results = Results(machine.describe(work), targets, frozenset({"m0"}))
    results.note(
        "load generator: wrk -t1, and Python sockets for steady rates and bursts, on the same processors"
    )
    (work / "environments").mkdir()
    present = []
    for peer in ("corten", *arguments.peers):
        try:
            install(peer, work / "environments")
            present.append(peer)
        except Failed as error:
            results.note(f"{peer} is left out: {error}")
    try:
        for row in arguments.rows:
            for _ in range(arguments.runs if row not in _ONCE else 1):
                for peer in present:
                    _measured(row, peer, arguments.seconds, work, results)
    except KeyboardInterrupt:
        results.note("interrupted: what follows is not all")
    finally:
        _remove(work)
    print(report.summary(results, TITLES, markdown=arguments.markdown))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results.document(), indent=2, ensure_ascii=False) + "\n")
    return 0 if results.figures else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    others = [peer for peer in PEERS if peer not in ("corten", "cog")]
    parser.add_argument("--rows", type=_list(ROWS), default=list(ROWS), help=f"by commas: {', '.join(ROWS)}")
    parser.add_argument(
        "--peers", type=_list(others), default=others, help=f"beside whom: {', '.join(others)} (all)"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of every row (3)")
    parser.add_argument("--seconds", type=float, default=5, help="seconds of every load (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything down")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def _measured(row: str, peer: str, seconds: float, work: Path, results: Results) -> None:
    try:
        for name, value, unit in _MEASURES[row](peer, seconds, work):
            results.figure(name, WHERE, peer, unit).values.append(value)
    except Failed as error:
        results.note(f"{row} with {peer}: {error}")


Found = list[tuple[str, float, str]]


def _closed(row: str, kind: str, workers: int, connections: int, with_p99: bool) -> Callable[..., Found]:
    def measure(peer: str, seconds: float, work: Path) -> Found:
        if kind == "m1b" and peer != "corten":
            return []
        with serving(peer, kind, workers, work) as server:
            wrk(server.question, connections, 1, work)  # warm
            load = wrk(server.question, connections, seconds, work)
            if load.bad:
                raise Failed(f"{load.bad} requests were not answered with 200")
            found: Found = [(row, load.rate, "/s")]
            return [*found, (f"{row}-p99", load.p99, "ms")] if with_p99 else found

    return measure


def _rate(peer: str, seconds: float, work: Path) -> Found:
    with serving(peer, "m1", 1, work) as server:
        steady(server.question, 200, 1)
        load = steady(server.question, 200, seconds)
        return [("rate-p50", load.p50, "ms"), ("rate-p99", load.p99, "ms")]


def _start(peer: str, seconds: float, work: Path) -> Found:
    with serving(peer, "m1", 1, work):
        pass
    with serving(peer, "m1", 1, work) as server:
        return [("start", server.started, "s")]


def _memory(peer: str, seconds: float, work: Path) -> Found:
    with serving(peer, "m1", 1, work) as server:
        highest = _watched(server, lambda: wrk(server.question, 64, seconds, work))
        return [("memory", highest / 1e6, "MB")]


def _watched(server: Server, load: Callable[[], object]) -> int:
    """The most bytes that its processes held while `load` ran."""
    thread = threading.Thread(target=load)
    thread.start()
    highest = server.pss()
    while thread.is_alive():
        highest = max(highest, server.pss())
        time.sleep(0.05)
    thread.join()
    return highest


def _health(peer: str, seconds: float, work: Path) -> Found:
    with serving(peer, "hold", 1, work) as server:
        busy = threading.Thread(target=lambda: Connection(server.question.port).ask(server.question.bytes))
        busy.start()
        time.sleep(0.3)
        slowest = 0.0
        request = f"GET {server.live} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        while busy.is_alive():
            begun = time.perf_counter()
            connection = Connection(server.question.port, 10)
            status = connection.ask(request)
            connection.close()
            if status != 200:
                raise Failed(f"health answered {status}")
            slowest = max(slowest, time.perf_counter() - begun)
            time.sleep(0.02)
        busy.join()
        return [("health", slowest * 1000, "ms")]


def _term(peer: str, seconds: float, work: Path) -> Found:
    """16 requests are in flight at SIGTERM, and the clients ask no more after that."""
    with serving(peer, "m2", 1, work) as server:
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(Connection(server.question.port, 20).ask(server.question.bytes))

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        os.kill(server.pid, signal.SIGTERM)
        for thread in threads:
            thread.join()
        return [("term-lost", 16 - statuses.count(200), "")]


def _burst(peer: str, seconds: float, work: Path) -> Found:
    with serving(peer, "m2", 1, work) as server:
        before = server.pss()
        counts: list[dict[int, int]] = []
        highest = _watched(server, lambda: counts.append(at_once(server.question, 5000)))
        refused = sum(count for status, count in counts[0].items() if status in (429, 503, 409))
        return [("burst-memory", (highest - before) / 1e6, "MB"), ("burst-refused", refused, "")]


def _leak(peer: str, seconds: float, work: Path) -> Found:
    """Answers that take longer than a client's connection goes unwatched."""
    if peer != "corten":
        return []
    with serving(peer, "slow", 1, work) as server:
        steady(server.question, 300, 500 / 300, clients=64)
        before = server.pss()
        load = steady(server.question, 300, 5000 / 300, clients=64)
        if load.bad:
            raise Failed(f"{load.bad} requests were not answered with 200")
        return [("leak", (server.pss() - before) / 1e6, "MB")]


def _body(peer: str, seconds: float, work: Path) -> Found:
    with serving(peer, "m0", 1, work) as server:
        before = server.pss()
        big = Question(server.question.port, server.question.path, b"[" + b"1.5," * 50_000_000 + b"1]")
        statuses: list[int] = []
        highest = _watched(server, lambda: statuses.append(Connection(big.port, 60).ask(big.bytes)))
        return [("body", (highest - before) / 1e6, "MB"), ("body-status", statuses[0], "")]


_ONCE = frozenset({"health", "kill", "update", "term", "burst", "leak", "idle", "body"})
_MEASURES: dict[str, Callable[[str, float, Path], Found]] = {
    "m0": _closed("m0", "m0", 1, 64, True),
    "m1": _closed("m1", "m1", 1, 64, False),
    "m1b": _closed("m1b", "m1b", 1, 64, False),
    "m1-turn": _closed("m1-turn", "m1", 1, 1, False),
    "m2": _closed("m2", "m2", 2, 64, True),
    "rate": _rate,
    "start": _start,
    "memory": _memory,
    "health": _health,
    "kill": serve_faults.kill,
    "update": serve_faults.update,
    "term": _term,
    "burst": _burst,
    "leak": _leak,
    "idle": serve_faults.idle,
    "body": _body,
}

if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("error: wrk is not installed (apt-get install wrk)")
    sys.exit(main())
