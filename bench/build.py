"""Measure building and starting images with Corten beside docker and buildah, in one run: `make bench`.

Everybody starts from the same base with the same wheels already fetched, compiles bytecode, and takes turns. Tools that are
not installed are left out with a note. Exit code: 1 when images that must be equal were not, else 0.

    bench/build.py --only S --rows all-new,unchanged --runs 1      a quick look
    bench/build.py --json figures.json --markdown                  everything, as for the README
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import digests
import machine
import projects
import report
import starts
from dockerfiles import Buildah, Docker, DockerfilePeer
from measure import Failed, TreeMemory, run, settle
from peers import LIGHT_ROWS, ROWS, Corten, Peer
from results import Results

OTHER_ROWS = ("size", "memory", "run", "up", "digest")
PEERS = ("docker+uv", "docker+pip", "buildah+uv", "buildah+pip")
_MB = 1_000_000


def main() -> int:
    """Parse, measure, report."""
    arguments = _arguments()
    work = Path(tempfile.mkdtemp(prefix="corten-bench-", dir=arguments.work)).resolve()
    results = Results(machine.describe(work))
    peers: list[Peer] = []
    try:
        corten = Corten(work, list(arguments.only), results.notes)
        peers = [corten, *_others(arguments.peers, work, corten)]
        peers = _prepared(peers, results)
        _builds(peers, corten, arguments, results)
        _others_rows(peers, corten, arguments, results)
    except KeyboardInterrupt:
        results.note("interrupted: what follows is not all")
    finally:
        for peer in peers:
            peer.close()
        if arguments.keep:
            print(f"kept: {work}", file=sys.stderr)
        else:
            _remove(work)
    print(report.summary(results, markdown=arguments.markdown))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results.document(), indent=2, ensure_ascii=False) + "\n")
    return 0 if all(digest["equal"] for digest in results.digests) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = [*ROWS, *OTHER_ROWS]
    sets = "; ".join(f"{size}: {title}" for size, title in projects.SETS.items())
    parser.add_argument(
        "--only", type=_list(projects.SETS), default=list(projects.SETS), help=f"sets, by commas. {sets}"
    )
    parser.add_argument(
        "--rows", type=_list(rows), default=rows, help=f"what to measure, by commas: {', '.join(rows)}"
    )
    parser.add_argument(
        "--peers",
        type=_list(PEERS),
        default=list(PEERS[:3]),
        help=f"beside whom, by commas: {', '.join(PEERS)} (default: the first three); '' for Corten alone",
    )
    parser.add_argument(
        "--runs",
        type=int,
        default=3,
        help="runs of the rows that take long; of docker+uv for the first of them, of the others one (3)",
    )
    parser.add_argument("--light-runs", type=int, default=15, help="runs of what takes a moment (15)")
    parser.add_argument("--work", type=Path, help="a folder to work in, on the disk to be measured")
    parser.add_argument("--keep", action="store_true", help="do not delete what was made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything down")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def _list(allowed: object):
    known = list(allowed)  # type: ignore[call-overload]

    def parse(text: str) -> list[str]:
        items = [item for item in text.split(",") if item]
        for item in items:
            if item not in known:
                raise argparse.ArgumentTypeError(f"'{item}' is none of {', '.join(known)}")
        return items

    return parse


def _others(names: list[str], work: Path, corten: Corten) -> list[Peer]:
    engines = {"docker": Docker(work, corten), "buildah": Buildah(work, corten)}
    pairs = [name.split("+") for name in names]
    return [DockerfilePeer(engines[engine], installer) for engine, installer in pairs]


def _prepared(peers: list[Peer], results: Results) -> list[Peer]:
    """Those who can take part. Corten comes first: its base and files are everybody's."""
    ready = []
    for peer in peers:
        reason = peer.missing()
        if reason is None:
            _say(f"preparing {peer.name}")
            try:
                peer.prepare()
                ready.append(peer)
                continue
            except Failed as error:
                if isinstance(peer, Corten):
                    raise SystemExit(f"error: {error}") from error
                reason = str(error)
        results.note(f"{peer.name} is left out: {reason}")
    return ready


def _builds(peers: list[Peer], corten: Corten, arguments: argparse.Namespace, results: Results) -> None:
    """Every row that is a build; peers take turns within a row."""
    broken: set[tuple[str, str]] = set()
    for size in corten.sizes:
        for peer in peers:
            _say(f"{size}: first build with {peer.name}, which warms up")
            try:
                peer.build_once(size)
            except Failed as error:
                broken.add((peer.name, size))
                results.note(f"{peer.name} cannot build {size}: {error}")
        for row in [row for row in ROWS if row in arguments.rows]:
            turns = {peer: _turns(peer, row, arguments) for peer in peers if (peer.name, size) not in broken}
            for number in range(max(turns.values(), default=0)):
                for peer in [peer for peer, runs in turns.items() if number < runs]:
                    _measure(peer, row, size, corten, results)


def _turns(peer: Peer, row: str, arguments: argparse.Namespace) -> int:
    """How often a tool runs a row. Where it would install everything anew, once is enough, but for the comparison that
    Corten has a figure to reach in."""
    if row in LIGHT_ROWS:
        return int(arguments.light_runs)
    if peer.name == "docker+uv" and row == "all-new":
        return int(arguments.runs)
    return int(arguments.runs) if isinstance(peer, Corten) and row != "base-new" else 1


def _measure(peer: Peer, row: str, size: str, corten: Corten, results: Results) -> None:
    try:
        job = peer.job(row, size)
        if job is None:
            return
        settle(corten.work)
        sample = run(job, corten.new("logs"))
    except Failed as error:
        results.note(f"{peer.name}, {ROWS[row]}, {size}: {error}")
        return
    results.figure(row, size, peer.name).add(sample, own_cpu=not peer.name.startswith("docker"))
    _say(f"{size}: {ROWS[row]}: {peer.name} {sample.wall:.2f} s")


def _others_rows(peers: list[Peer], corten: Corten, arguments: argparse.Namespace, results: Results) -> None:
    """What is not a build on the clock."""
    sizes, rows = corten.sizes, arguments.rows
    steps = []
    if "size" in rows and "S" in sizes:
        steps.append(("sizes", lambda: _sizes(peers, corten, results)))
    if "memory" in rows and sizes:
        steps.append(("memory", lambda: _memory(corten, sizes[-1], results)))
    if "run" in rows and sizes:
        steps.append(
            ("run", lambda: starts.measure_run(corten, peers, sizes[0], arguments.light_runs, results))
        )
    if "up" in rows:
        steps.append(("up", lambda: starts.measure_up(corten, arguments.runs, results)))
    if "digest" in rows:
        for size in sizes:
            steps.append(  # noqa: PERF401
                (
                    f"digests of {size}",
                    lambda size=size: results.digests.append(digests.compare(corten, size, results.notes)),
                )
            )
    for name, step in steps:
        _say(f"measuring {name}")
        try:
            step()
        except Failed as error:
            results.note(f"{name}: {error}")


def _sizes(peers: list[Peer], corten: Corten, results: Results) -> None:
    """The bytes of the files in S's image, as applied; with the model server in a project that has a predictor."""
    home, project = corten.home("S"), corten.project("S")
    results.figure("size", "S", "corten", "MB").values.append(_bytes(corten, home, project) / _MB)
    predictor = projects.write_project(
        corten.new("projects") / "predictor", projects.requirements("S"), predictor=True
    )
    home = corten.copy(home)
    results.figure("size-server", "S", "corten", "MB").values.append(_bytes(corten, home, predictor) / _MB)
    for peer in peers:
        if isinstance(peer, DockerfilePeer) and isinstance(peer.engine, Docker):
            size = peer.engine.image_size(peer.tag("S")) / _MB
            results.figure("size", "S", peer.name, "MB").values.append(size)


def _bytes(corten: Corten, home: Path, project: Path) -> int:
    document = corten.document(home, project)
    total = 0
    for layer in document["layers"]:
        tree = home / "layers" / layer["digest"].split(":")[1] / "fs"
        files = (path.lstat() for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
        total += sum({found.st_ino: found.st_size for found in files}.values())
    return total


def _memory(corten: Corten, size: str, results: Results) -> None:
    """Of everything at once: the lock, the base, all layers. Only the files are there. Watched in a build of its own,
    because watching costs time."""
    home = corten.new("homes")
    home.mkdir()
    subprocess.run(["cp", "-al", corten.seed / "files", home], check=True)
    project = projects.write_project(corten.new("projects"), projects.requirements(size))
    job = corten.build(home, project)
    tree = TreeMemory()
    sample = run(job, corten.new("logs"), tree)
    # A peak between two looks at the tree is in the kernel's account of the process that had it.
    tree.pss = max(tree.pss, sample.max_rss)
    results.figure("memory", size, "corten", "MB").values.append(sample.max_rss / _MB)
    results.figure("memory-tree", size, "corten", "MB").values.append(tree.pss / _MB)
    each = ", ".join(f"{name} {peak / _MB:.0f} MB" for name, peak in sorted(tree.by_process.items()))
    results.memory = {
        "set": size,
        "largest_process": sample.max_rss,
        "tree_pss": tree.pss,
        "tree_rss": tree.rss,
        "processes": tree.processes,
        "by_process": tree.by_process,
        "text": f"lock included, largest process {sample.max_rss / _MB:.0f} MB; at the worst moment {tree.processes} processes with "
        f"{tree.pss / _MB:.0f} MB together, shared pages once ({tree.rss / _MB:.0f} MB with them); peaks: {each}",
    }


def _remove(work: Path) -> None:
    """Delete everything, but nothing that is still mounted there."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((place for place in mounts if place.startswith(f"{work}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    subprocess.run(
        ["chmod", "-R", "u+w", work], stderr=subprocess.DEVNULL, check=False
    )  # layers are read-only
    shutil.rmtree(work, ignore_errors=True)
    if work.exists():
        print(f"warning: '{work}' could not be deleted completely", file=sys.stderr)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
