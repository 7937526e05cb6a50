"""`corten stats`: what containers use."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import TYPE_CHECKING, Any

from corten.cli.context import Context
from corten.cli.terminal import size_text, table

if TYPE_CHECKING:
    from corten.runtime.statistics import Usage

EXAMPLES = """\
examples:
  corten stats                     all that run, every two seconds until Ctrl-C
  corten stats --no-stream iris    once
  corten stats --no-stream --json

CPU is in per cent of one processor. Memory is what the kernel cannot drop."""

_SAMPLE = 0.3
_PERIOD = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("containers", nargs="*", metavar="container", help="names (default: all that run)")
    parser.add_argument("--no-stream", action="store_true", help="once")
    parser.add_argument("--json", action="store_true", help="JSON: one document, or one line every time")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Show the containers' use of the machine."""
    from corten.runtime.inventory import find

    names = [find(context.store, name).name for name in arguments.containers]
    before = _usages(names, context)
    time.sleep(_SAMPLE)
    while True:
        after = _usages(names, context)
        rows = [_row(name, before.get(name, now), now) for name, now in after.items()]
        if arguments.json:
            context.terminal.print(json.dumps(rows, indent=2 if arguments.no_stream else None))
        elif not rows and arguments.no_stream:
            context.terminal.say("no containers are running")
        else:
            context.terminal.print(_table(rows), clear=not arguments.no_stream and os.isatty(1))
        if arguments.no_stream:
            return 0
        before = after
        time.sleep(_PERIOD)


def _usages(names: list[str], context: Context) -> dict[str, Usage]:
    from corten.runtime.inventory import directories
    from corten.runtime.statistics import usage

    wanted = [path for path in sorted(directories(context.store)) if not names or path.name in names]
    return {path.name: found for path in wanted if (found := usage(path)) is not None}


def _row(name: str, before: Usage, after: Usage) -> dict[str, Any]:
    from corten.runtime.statistics import processors

    return {
        "name": name,
        "cpu_percent": round(processors(before, after) * 100, 1),
        "cpu_seconds": round(after.cpu, 3),
        "memory": after.memory,
        "memory_limit": after.memory_limit,
        "read": after.read,
        "written": after.written,
        "pids": after.pids,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [
        [
            row["name"],
            f"{row['cpu_percent']:.1f} %",
            size_text(row["memory"])
            + (f" / {size_text(row['memory_limit'])}" if row["memory_limit"] else ""),
            f"{size_text(row['read'])} / {size_text(row['written'])}",
            str(row["pids"]),
        ]
        for row in rows
    ]
    return table(cells, ["NAME", "CPU", "MEMORY", "READ / WRITTEN", "PROCESSES"])
