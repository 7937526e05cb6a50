"""Measure another checkout's Corten beside this one, in turn, in one run: what a change made faster or slower.

    bench/beside.py ../old/.venv/bin/corten                      everything
    bench/beside.py ../old/.venv/bin/corten --only S --runs 3    a quick look

Both build the same sets from the same files, each in stores of its own, because their layers may differ. Exit code: 1 when a
median of this checkout is more than `--tolerance` per cent above the other's, else 0.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
import projects
from measure import Failed, run, settle
from peers import LIGHT_ROWS, ROWS, Corten
from results import Results
from starts import IRIS, predict_once

_SLACK = {"s": 0.02, "ms": 4.0}
"""Differences below this are noise, whatever the percentage."""


class Checkout(Corten):
    """The Corten of one checkout."""

    def __init__(self, name: str, command: Path, work: Path, sizes: list[str], notes: list[str]) -> None:
        super().__init__(work, sizes, notes)
        self.name = name
        self.command = str(command)


def main() -> int:
    """Parse, measure, report."""
    arguments = _arguments()
    work = Path(tempfile.mkdtemp(prefix="corten-beside-", dir=arguments.work)).resolve()
    results = Results(machine.describe(work))
    try:
        here = Path(sys.executable).with_name("corten")
        pair = [
            Checkout("old", arguments.other.absolute(), work / "old", list(arguments.only), results.notes),
            Checkout("new", here, work / "new", list(arguments.only), results.notes),
        ]
        for checkout in pair:
            _say(f"preparing {checkout.name}")
            checkout.prepare()
        for size in arguments.only:
            for checkout in pair:
                checkout.build_once(size)
            for row in [row for row in ROWS if row in arguments.rows]:
                _builds(pair, row, size, arguments, results)
        if "run" in arguments.rows:
            _runs(pair, arguments.only[0], arguments.light_runs, results)
        if "up" in arguments.rows:
            _ups(pair, arguments.runs, results)
    finally:
        subprocess.run(
            ["chmod", "-R", "u+w", work], stderr=subprocess.DEVNULL, check=False
        )  # layers are read-only
        shutil.rmtree(work, ignore_errors=True)
    return _report(results, arguments.tolerance)


def _builds(
    pair: list[Checkout], row: str, size: str, arguments: argparse.Namespace, results: Results
) -> None:
    for _ in range(arguments.light_runs if row in LIGHT_ROWS else arguments.runs):
        for checkout in pair:
            job = checkout.job(row, size)
            if job is not None:
                settle(checkout.work)
                results.figure(row, size, checkout.name).add(run(job, checkout.new("logs")), own_cpu=True)
    _say(f"{size}: {ROWS[row]}")


def _runs(pair: list[Checkout], size: str, count: int, results: Results) -> None:
    """`print(1)` in the image of a set."""
    for number in range(count + 1):
        for checkout in pair:
            words = ("run", "--rm", size.lower(), "--", "python3", "-c", "print(1)")
            job = checkout.invoke(checkout.home(size), *words)
            sample = run(job, checkout.new("logs"))
            if number:  # the first is a warm-up
                results.figure("run", size, checkout.name, "ms").add(sample, own_cpu=False)
    _say("run")


def _ups(pair: list[Checkout], count: int, results: Results) -> None:
    """The iris example, trained and built beforehand: from typing `up` to the first right answer."""
    homes, places = {}, {}
    for checkout in pair:
        places[checkout.name] = project = checkout.new("projects") / "iris"
        shutil.copytree(IRIS, project)
        homes[checkout.name] = home = checkout.copy(checkout.base)
        checkout.call(home, "run", "-v", f"{project}:/app", str(project), "--", "python", "train.py")
        checkout.call(home, "build", str(project))
    for number in range(count + 1):
        for checkout in pair:
            settle(checkout.work)
            seconds = predict_once(checkout, homes[checkout.name], places[checkout.name])
            if number:
                results.figure("up", "iris", checkout.name).values.append(seconds)
    _say("up")


def _report(results: Results, tolerance: float) -> int:
    print(f"{'':44} {'old':>24} {'new':>24}  new/old")
    worse = 0
    for figure in [figure for figure in results.figures if figure.peer == "new" and figure.values]:
        old = next(f for f in results.figures if (f.row, f.size, f.peer) == (figure.row, figure.size, "old"))
        ratio = figure.median / old.median
        slower = ratio > 1 + tolerance / 100 and figure.median - old.median > _SLACK[figure.unit]
        worse += slower
        title = f"{figure.size}: {ROWS.get(figure.row, figure.row)}, {figure.unit}"
        mark = "  slower" if slower else ""
        print(f"{title:44} {old.text:>24} {figure.text:>24}  {ratio:.2f}{mark}")
    foreign = [value for figure in results.figures for value in figure.foreign]
    if foreign:
        print(f"\nmedians (range); other work took {statistics.mean(foreign):.1f} cores meanwhile")
    for note in results.notes:
        print(f"note: {note}")
    return 1 if worse else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="the `corten` command of the other checkout")
    rows = [*ROWS, "run", "up"]
    parser.add_argument(
        "--only", type=_list(list(projects.SETS)), default=list(projects.SETS), help="sets, by commas"
    )
    parser.add_argument("--rows", type=_list(rows), default=rows, help=f"rows, by commas: {', '.join(rows)}")
    parser.add_argument("--runs", type=int, default=7, help="runs of the rows that take long (7)")
    parser.add_argument("--light-runs", type=int, default=15, help="runs of what takes a moment (15)")
    parser.add_argument("--tolerance", type=float, default=5.0, help="per cent that may be slower (5)")
    parser.add_argument("--work", type=Path, help="a folder to work in, on the disk to be measured")
    return parser.parse_args()


def _list(known: list[str]):
    def parse(text: str) -> list[str]:
        items = [item for item in text.split(",") if item]
        if wrong := [item for item in items if item not in known]:
            raise argparse.ArgumentTypeError(f"'{wrong[0]}' is not one of {', '.join(known)}")
        return items

    return parse


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
