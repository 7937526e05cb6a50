"""Measure containers of Corten beside docker, podman, and runc and crun alone, in one run: `make bench-runtime`.

Everybody runs `print(1)` in the same image, in turn, the first time unmeasured. Then each starts many detached containers,
and lists them. Who is not installed, or does not work here, is left out with a note.

    bench/runtime.py --runs 3 --count 20          a quick look
    bench/runtime.py --peers podman --rows run    one comparison
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import machine
import report
import runtime_peers as peers
from measure import Failed, _fields, run
from results import Results

from build import _list, _remove

TITLES = {
    "run": "start to end of print(1) in a new container, ms",
    "exec": "print(1) in a container that runs, ms",
    "many": "start of all detached containers, s",
    "monitor": "memory of one monitor (PSS), kB",
    "ps": "list of them, ms",
}
ROWS = ("run", "exec", "many")
OTHERS = ("docker", "podman", "podman-rootless", "runc", "crun")
_LIMITS = {
    ("run", "root", "corten+runc"): (110, "ms"),
    ("run", "root", "corten+crun"): (80, "ms"),
    ("run", "rootless", "corten"): (140, "ms"),
    ("exec", "root", "corten"): (100, "ms"),
    ("many", "100", "corten"): (12, "s"),
    ("monitor", "100", "corten"): (3000, "kB"),
    ("ps", "100", "corten"): (150, "ms"),
}


def targets(results: Results) -> list[tuple[str, str, str, bool]]:
    """The figures to reach that were measured: row, where, target, whether it was reached."""
    found = []
    for (row, place, peer), (limit, unit) in _LIMITS.items():
        median = results.median(row, place, peer)
        if median is not None:
            found.append((row, place, f"{peer} ≤ {limit} {unit}", median <= limit))
    return found


def main() -> int:
    """Parse, measure, report. 0 unless nothing could be measured."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # daemons are ended then, too
    work = Path(tempfile.mkdtemp(prefix="corten-bench-", dir=arguments.work)).resolve()
    work.chmod(0o755)
    results = Results(machine.describe(work), targets, frozenset({"run"}))
    with ExitStack() as stack:
        stack.callback(_remove, work)
        try:
            home = work / "home"
            archive = peers.build(work, home)
            present = _present(arguments.peers, work, home, archive, stack, results)
            if "run" in arguments.rows:
                _turns("run", [(peer, peer.run) for peer in present], arguments.runs, work, results)
            detaching = [peer for peer in present if peer.detaches]
            if "exec" in arguments.rows:
                _entered(detaching, arguments.runs, work, results)
            if "many" in arguments.rows:
                for peer in detaching:
                    _many(peer, arguments.count, arguments.runs, work, results)
        except KeyboardInterrupt:
            results.note("interrupted: what follows is not all")
        except Failed as error:
            results.note(f"ended early: {error}")
    print(report.summary(results, TITLES, markdown=arguments.markdown))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results.document(), indent=2, ensure_ascii=False) + "\n")
    return 0 if results.figures else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=_list(ROWS), default=list(ROWS), help=f"by commas: {', '.join(ROWS)}")
    parser.add_argument(
        "--peers", type=_list(OTHERS), default=list(OTHERS), help=f"beside whom: {', '.join(OTHERS)} (all)"
    )
    parser.add_argument("--runs", type=int, default=10, help="runs of every row (10)")
    parser.add_argument("--count", type=int, default=100, help="how many detached containers (100)")
    parser.add_argument("--work", type=Path, help="a folder to work in, on the disk to be measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything down")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def _present(
    names: list[str], work: Path, home: Path, archive: Path, stack: ExitStack, results: Results
) -> list[peers.Peer]:
    """Corten and those of `names` that take part."""
    makers: dict[str, Callable[[], peers.Peer]] = {
        "docker": lambda: peers.docker(work, archive, stack),
        "podman": lambda: peers.podman(work, archive, stack),
        "podman-rootless": lambda: peers.rootless_podman(work, archive, stack),
        "runc": lambda: peers.bare("runc", work, home),
        "crun": lambda: peers.bare("crun", work, home),
    }
    found = [peers.corten(work, home)]
    for engine in ("runc", "crun"):
        if shutil.which(engine):
            found.append(peers.corten_with(engine, work, home))
            found[-1].detaches = False
    own: list[tuple[str, Callable[[], peers.Peer]]] = [
        ("corten as a plain user", lambda: peers.rootless_corten(work, home))
    ]
    for name, make in [*own, *((name, makers[name]) for name in names)]:
        if name in OTHERS and shutil.which(name.partition("-")[0]) is None:
            results.note(f"{name} is left out: it is not installed")
            continue
        try:
            found.append(make())
        except (Failed, AssertionError, OSError) as error:
            results.note(f"{name} is left out: {str(error)[:300]}")
    for peer in found:
        if peer.place == "rootless" and peer.directory.name.startswith("corten-bench-"):
            stack.callback(_remove, peer.directory)
    return found


def _turns(
    row: str, jobs: list[tuple[peers.Peer, Callable[[], object]]], runs: int, work: Path, results: Results
) -> None:
    """One run of everybody after the other; who fails is told of and left out."""
    left = list(jobs)
    for number in range(runs + 1):
        for peer, job in list(left):
            try:
                sample = run(job(), work / "logs" / f"{row}-{peer.name}-{peer.place}")  # type: ignore[arg-type]
            except Failed as error:
                left.remove((peer, job))
                results.note(f"{row} with {peer.name}, {peer.place}: {error}")
                continue
            if number:  # the first is a warm-up
                # A daemon's work is not in the client's account.
                own = peer.name != "docker"
                results.figure(row, peer.place, peer.name, "ms").add(sample, own_cpu=own)


def _entered(present: list[peers.Peer], runs: int, work: Path, results: Results) -> None:
    """`exec` in a container of everybody's."""
    jobs: list[tuple[peers.Peer, Callable[[], object]]] = []
    try:
        for peer in present:
            try:
                run(peer.begin("bench-entered"), work / "logs" / f"begin-{peer.name}")
                jobs.append((peer, lambda peer=peer: peer.enter("bench-entered")))  # type: ignore[misc]
            except Failed as error:
                results.note(f"exec with {peer.name}: {error}")
        _turns("exec", jobs, runs, work, results)
    finally:
        for peer, _ in jobs:
            run(peer.remove(["bench-entered"]), work / "logs" / f"remove-{peer.name}")


def _many(peer: peers.Peer, count: int, runs: int, work: Path, results: Results) -> None:
    """Many detached containers, one command after the other: all starts, their monitors' memory, and the list of them."""
    log, place = work / "logs" / f"many-{peer.name}", str(count)
    names = [f"bench-{number}" for number in range(count)]
    begun: list[str] = []
    try:
        started = time.perf_counter()
        for name in names:
            begun.append(name)
            run(peer.begin(name), log)
        results.figure("many", place, peer.name).values.append(time.perf_counter() - started)
        memory = [_fields(Path(f"/proc/{pid}/smaps_rollup"))["Pss"] for pid in peer.monitors()]
        if memory:
            results.figure("monitor", place, peer.name, "kB").values.append(statistics.mean(memory) / 1000)
        for number in range(runs + 1):
            sample = run(peer.ps(), log)
            if number:
                results.figure("ps", place, peer.name, "ms").add(sample, own_cpu=False)
    except Failed as error:
        results.note(f"many with {peer.name}: {error}")
    finally:
        try:
            run(peer.remove(begun), log)
        except Failed as error:
            results.note(f"removing those of {peer.name}: {error}")


if __name__ == "__main__":
    sys.exit(main())
