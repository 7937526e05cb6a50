"""What was measured, as values: for the table, for JSON, and against the figures to reach."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from measure import Sample


@dataclass
class Figure:
    """One cell: what one tool needed in one row for one set. `unit` is s, ms, MB or kB; `best` figures are small."""

    row: str
    size: str
    peer: str
    unit: str
    values: list[float] = field(default_factory=list)
    user: list[float] = field(default_factory=list)
    system: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)
    """Cores that were busy with something else meanwhile."""

    def add(self, sample: Sample, *, own_cpu: bool) -> None:
        """Take a run in; `own_cpu`: the CPU time is the command's own and not a daemon's."""
        self.values.append(sample.wall * (1000 if self.unit == "ms" else 1))
        if own_cpu:
            self.user.append(sample.user)
            self.system.append(sample.system)
            self.foreign.append(max(sample.busy - sample.user - sample.system, 0) / sample.wall)

    @property
    def median(self) -> float:
        """Of the values."""
        return statistics.median(self.values)

    @property
    def text(self) -> str:
        """The median, with the range where there were several runs."""
        digits = 0 if self.unit in {"ms", "MB", "kB"} else 1 if self.median >= 5 else 2
        shown = f"{self.median:.{digits}f}"
        if len(self.values) > 1:
            shown += f" ({min(self.values):.{digits}f}–{max(self.values):.{digits}f})"
        return shown

    def document(self) -> dict[str, Any]:
        """For JSON."""
        document: dict[str, Any] = {
            "row": self.row,
            "set": self.size,
            "peer": self.peer,
            "unit": self.unit,
            "median": round(self.median, 4),
            "values": [round(value, 4) for value in self.values],
        }
        for name, values in (("user", self.user), ("system", self.system), ("foreign", self.foreign)):
            if values:
                document[name] = [round(value, 4) for value in values]
        return document


@dataclass
class Results:
    """All figures of a run, with what was left out and what was found to be equal. `judge` gives the figures to reach, as
    `targets` does for builds; `heavy` are the rows that tell whether the machine was busy."""

    machine: dict[str, object]
    judge: Callable[[Results], list[tuple[str, str, str, bool]]] = field(
        default_factory=lambda: targets, repr=False
    )
    heavy: frozenset[str] = frozenset({"base-new", "all-new"})
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digests: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)

    def figure(self, row: str, size: str, peer: str, unit: str = "s") -> Figure:
        """The cell, made when it is new."""
        for figure in self.figures:
            if (figure.row, figure.size, figure.peer) == (row, size, peer):
                return figure
        self.figures.append(Figure(row, size, peer, unit))
        return self.figures[-1]

    def median(self, row: str, size: str, peer: str) -> float | None:
        """The cell's median, where there is one."""
        for figure in self.figures:
            if (figure.row, figure.size, figure.peer) == (row, size, peer) and figure.values:
                return figure.median
        return None

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)

    def disturbance(self) -> float:
        """How many cores, on average over Corten's heavy runs, did something else than what was measured."""
        runs = [item for f in self.figures if f.row in self.heavy for item in f.foreign]
        return statistics.mean(runs) if runs else 0.0

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "machine": self.machine,
            "disturbance": round(self.disturbance(), 3),
            "figures": [figure.document() for figure in self.figures if figure.values],
            "targets": [
                {"row": row, "set": size, "target": text, "reached": reached}
                for row, size, text, reached in self.judge(self)
            ],
            "memory": self.memory,
            "digests": self.digests,
            "notes": self.notes,
        }


_LIMITS = {
    ("all-new", "S"): 12,
    ("all-new", "L"): 28,
    ("other-project", "S"): 0.4,
    ("other-project", "L"): 0.4,
    ("unchanged", "S"): 0.2,
    ("unchanged", "L"): 0.2,
    ("code-line", "S"): 0.25,
    ("code-line", "L"): 0.25,
    ("dependency", "S"): 2,
    ("dependency", "L"): 2,
    ("size-server", "S"): 503,  # 80 % of 629
    ("memory", "L"): 300,
    ("run", "S"): 120,
    ("up", "iris"): 2,
}
_RATIO = 0.85


def targets(results: Results) -> list[tuple[str, str, str, bool]]:
    """The figures that Corten has to reach and that were measured: row, set, target, whether it was reached."""
    found = []
    for (row, size), limit in _LIMITS.items():
        median = results.median(row, size, "corten")
        if median is None:
            continue
        unit = next(f.unit for f in results.figures if (f.row, f.size, f.peer) == (row, size, "corten"))
        found.append((row, size, f"≤ {limit} {unit}", median <= limit))
        peer = results.median(row, size, "docker+uv")
        if row == "all-new" and peer is not None:
            found.append(
                (row, size, f"≤ {_RATIO} × docker+uv (is {median / peer:.2f})", median <= _RATIO * peer)
            )
    return found
