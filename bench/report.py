"""Results as a table, for a terminal or for a README."""

from __future__ import annotations

import math

from peers import ROWS
from results import Figure, Results

TITLES = {
    **{row: f"{title}, s" for row, title in ROWS.items()},
    "size": "unpacked image, MB",
    "size-server": "the same with the model server, MB",
    "memory": "peak memory of the largest process, MB",
    "memory-tree": "peak memory of the process tree, MB",
    "run": "start to end of `python3 -c 'print(1)'`, ms",
    "up": "ready to predict after `up`, s",
}
STARTS = frozenset({"run", "up"})
"""Rows of containers that start; the others are about images."""


def tables(results: Results, titles: dict[str, str], *, markdown: bool) -> str:
    """Builds, then starts: one row and set a line, one tool a column. Rows come in the order of `titles`."""
    figures = [figure for figure in results.figures if figure.values]
    parts = (
        [figure for figure in figures if figure.row not in STARTS],
        [figure for figure in figures if figure.row in STARTS],
    )
    return "\n\n".join(_table(part, results, titles, markdown=markdown) for part in parts if part)


def _table(figures: list[Figure], results: Results, titles: dict[str, str], *, markdown: bool) -> str:
    peers = list(dict.fromkeys(figure.peer for figure in figures))
    wanted: dict[tuple[str, str], list[str]] = {}
    for row, size, text, reached in results.judge(results):
        wanted.setdefault((row, size), []).append(f"{text} {'✓' if reached else '✗'}")
    order = {row: number for number, row in enumerate(titles)}
    keys = sorted(
        {(figure.row, figure.size) for figure in figures}, key=lambda key: (order[key[0]], key[1] != "S")
    )
    lines = [["", "set", *peers, "target"]]
    for row, size in keys:
        cells = [_cell(figures, row, size, peer) for peer in peers]
        lines.append([titles[row], size, *cells, "; ".join(wanted.get((row, size), []))])
    if markdown:
        lines = [line[:-1] for line in lines]
        rows = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([rows[0], "| --- " * len(lines[0]) + "|", *rows[1:]])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(figures: list[Figure], row: str, size: str, peer: str) -> str:
    for figure in figures:
        if (figure.row, figure.size, figure.peer) == (row, size, peer):
            return figure.text
    return "—"


def summary(results: Results, titles: dict[str, str] = TITLES, *, markdown: bool) -> str:
    """The table with what belongs to it."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in dict(machine["versions"]).items())  # type: ignore[call-overload]
    head = (
        f"{machine['date']}: {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Linux {machine['kernel']}, {machine['file_system']}, load {machine['load']}.\n"
        f"{versions}.\nMedians, with the range of the runs."
    )
    parts = [head, "", tables(results, titles, markdown=markdown)]
    cpu = [f for f in results.figures if f.row in results.heavy and f.user]
    if cpu:
        shown = (f"{f.peer} {f.row} {f.size} {_mean(f.user):.1f} + {_mean(f.system):.1f}" for f in cpu)
        parts += ["", f"CPU seconds, user + system: {'; '.join(shown)}."]
    if results.disturbance() > 0.15:
        parts += [
            "",
            f"The machine was busy: {results.disturbance():.1f} cores did something else. Measure again.",
        ]
    if results.memory:
        parts += ["", f"Memory of a build of {results.memory['set']}: {results.memory['text']}."]
    for digest in results.digests:
        verdict = "one digest" if digest["equal"] else "DIFFERENT DIGESTS"
        parts += ["", f"{digest['set']}: {verdict}, {digest['id']}; built: {'; '.join(digest['ways'])}."]
    if results.notes:
        parts += ["", *(f"note: {note}" for note in results.notes)]
    return "\n".join(parts)


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
