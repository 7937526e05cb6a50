"""`corten ps`: the containers of this user on this machine."""

from __future__ import annotations

import argparse
import json
import shlex
import time

from corten.cli.context import Context
from corten.cli.terminal import table

EXAMPLES = """\
examples:
  corten ps
  corten ps --all --json   also those that have ended"""

_SERVER = "/opt/corten/bin/python"
"""What starts an image with a predictor: nobody wrote it, so it is not shown as if somebody had."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="also detached ones that have ended")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """List containers, newest first."""
    from corten.runtime.inventory import list_containers

    listed = [item for item in list_containers(context.store) if item.running or arguments.all]
    if arguments.json:
        rows = [
            {
                "name": item.name,
                "image": item.image,
                "running": item.running,
                "started": item.started,
                "command": list(item.command),
                "url": item.url,
                "exit_code": item.exit_code,
            }
            for item in listed
        ]
        context.terminal.print(json.dumps(rows, indent=2))
    elif listed:
        cells = [
            [
                item.name,
                item.image,
                _state(item.running, item.started, item.exit_code),
                item.url or "",
                _short(item.command),
            ]
            for item in listed
        ]
        context.terminal.print(table(cells, ["NAME", "IMAGE", "STATE", "URL", "COMMAND"]))
    else:
        context.terminal.say("no containers are running")
    return 0


def _state(running: bool, started: float, code: int | None) -> str:
    if not running:
        return f"exited ({code})" if code is not None else "exited"
    seconds = int(time.time() - started)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"up {seconds // size} {unit}"
    return f"up {seconds} s"


def _short(command: tuple[str, ...]) -> str:
    if command[:1] == (_SERVER,):
        return "(model server)"
    text = shlex.join(command).replace("\n", " ")
    return text if len(text) <= 40 else text[:39] + "…"
