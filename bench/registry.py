"""Measure moving images with Corten beside docker, podman and skopeo, in one run: `make bench-registry`.

Everybody moves the same image to and from Debian's docker-registry on loopback, and takes turns; `docker+uv` moves an image
of a Dockerfile with the same packages, as its users have it. Tools that are not installed are left out with a note.

    bench/registry.py --only S --rows push-zstd,code-line --runs 1     a quick look
    bench/registry.py --only L --peers skopeo --rows copy              one comparison
    bench/registry.py --rows memory --large 10                         memory, and a file of 10 GB
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

import machine
import projects
import registry_results
import report
from measure import Failed
from peers import Corten
from registry_docker import DockerfileMover, DockerMover
from registry_peers import CortenMover, Mover, PodmanMover, SkopeoMover
from registry_rows import Rows
from registry_servers import Server
from results import Results

from build import _list, _remove

PEERS = ("docker", "podman", "skopeo", "docker+uv")


def main() -> int:
    """Parse, measure, report. 0 unless nothing could be measured."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # daemons are ended then, too
    reason = Server.missing()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    work = Path(tempfile.mkdtemp(prefix="corten-bench-", dir=arguments.work)).resolve()
    results = Results(machine.describe(work), registry_results.targets, registry_results.HEAVY)
    rows: Rows | None = None
    try:
        corten = Corten(work, list(arguments.only), results.notes)
        corten.prepare()
        rows = Rows(corten, _movers(arguments.peers, work, corten, results), results)
        for size in corten.sizes:
            rows.prepare(size)
            _measure(rows, size, arguments)
        if arguments.large:
            rows.large(arguments.large)
    except KeyboardInterrupt:
        results.note("interrupted: what follows is not all")
    except Failed as error:
        results.note(f"ended early: {error}")
    finally:
        if rows is not None:
            rows.close()
        if arguments.keep:
            print(f"kept: {work}", file=sys.stderr)
        else:
            _remove(work)
    print(report.summary(results, registry_results.TITLES, markdown=arguments.markdown))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results.document(), indent=2, ensure_ascii=False) + "\n")
    return 0 if results.figures else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = registry_results.ROWS
    sets = "; ".join(f"{size}: {title}" for size, title in projects.SETS.items())
    parser.add_argument(
        "--only", type=_list(projects.SETS), default=list(projects.SETS), help=f"sets, by commas. {sets}"
    )
    parser.add_argument(
        "--rows", type=_list(rows), default=list(rows), help=f"what to measure, by commas: {', '.join(rows)}"
    )
    parser.add_argument(
        "--peers",
        type=_list(PEERS),
        default=list(PEERS),
        help=f"beside whom, by commas: {', '.join(PEERS)} (default: all); '' for Corten alone",
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of every row; of docker's, two at most (3)")
    parser.add_argument(
        "--large", type=float, default=0, metavar="GB", help="also an image with one file of this size (off)"
    )
    parser.add_argument("--work", type=Path, help="a folder to work in, on the disk to be measured")
    parser.add_argument("--keep", action="store_true", help="do not delete what was made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything down")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def _movers(names: list[str], work: Path, corten: Corten, results: Results) -> list[Mover]:
    """Corten and those of `names` that can take part."""
    docker = DockerMover(work, corten)
    others: dict[str, Mover] = {
        "docker": docker,
        "podman": PodmanMover(work, corten),
        "skopeo": SkopeoMover(work, corten),
        "docker+uv": DockerfileMover(docker),
    }
    movers: list[Mover] = [CortenMover(corten)]
    for name in names:
        reason = others[name].missing()
        if reason is None:
            movers.append(others[name])
        else:
            results.note(f"{name} is left out: {reason}")
    return movers


def _measure(rows: Rows, size: str, arguments: argparse.Namespace) -> None:
    """One set, row by row; memory of the largest set alone."""
    wanted, runs = arguments.rows, arguments.runs
    for compression in ("gzip", "zstd"):
        if f"push-{compression}" in wanted:
            rows.push(size, compression, runs)
    for row in ("dependency", "code-line"):
        if row in wanted:
            rows.change(row, size, runs)
    for compression in ("gzip", "zstd"):
        if f"pull-{compression}" in wanted:
            rows.pull(size, compression, runs)
    if "copy" in wanted:
        rows.copy(size, runs)
    if "clean" in wanted:
        rows.clean(size, runs)
    if "memory" in wanted and size == arguments.only[-1]:
        rows.memory(size)


if __name__ == "__main__":
    sys.exit(main())
