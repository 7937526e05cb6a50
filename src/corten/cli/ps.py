"""`corten ps`: the containers of this user on this machine."""

from __future__ import annotations

import argparse
import json
import shlex
import time
from typing import TYPE_CHECKING, Any

from corten.cli.context import Context
from corten.cli.terminal import table
from corten.errors import UsageError

if TYPE_CHECKING:
    from corten.runtime.inventory import Listed

EXAMPLES = """\
examples:
  corten ps
  corten ps --all --json                    also those that have ended
  corten ps -q --filter label=team=vision   names alone
  corten ps --all --filter status=exited --filter name=train"""

_SERVER = "/opt/corten/bin/python"
"""What starts an image with a predictor: nobody wrote it, so it is not shown as if somebody had."""
_FILTERS = ("label", "name", "status", "health")
_VALUES = {
    "status": ("created", "running", "restarting", "exited"),
    "health": ("healthy", "unhealthy", "starting"),
}
"""The values of filters that have few: another one would fit nothing, ever."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="also detached ones that have ended")
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="label=K[=V], status=created|running|restarting|exited, name=PART, health=healthy|unhealthy|starting",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """List containers, newest first; with -q their names alone."""
    from corten.runtime.inventory import list_containers

    filters = [_filter(text) for text in arguments.filter]
    everything = arguments.all or any(key == "status" for key, _ in filters)
    listed = [
        item
        for item in list_containers(context.store)
        if (everything or item.running or item.status == "restarting") and _fits(item, filters)
    ]
    if arguments.json:
        context.terminal.print(json.dumps([document(item) for item in listed], indent=2))
    elif arguments.quiet:
        for item in listed:
            context.terminal.print(item.name)
    elif listed:
        cells = [
            [item.name, item.record.image, _state(item), _reached(item), _short(item.record.command)]
            for item in listed
        ]
        context.terminal.print(table(cells, ["NAME", "IMAGE", "STATE", "URL, PORTS", "COMMAND"]))
    else:
        context.terminal.say(
            "no containers are running"
            if not everything
            else "there are no such containers"
            if filters
            else "there are no containers"
        )
    return 0


def document(item: Listed) -> dict[str, Any]:
    """A container as JSON shows it."""
    record, ending = item.record, item.ending
    return {
        "name": item.name,
        "image": record.image,
        "image_id": record.id,
        "status": item.status,
        "running": item.running,
        "created": record.created,
        "started": record.started,
        "finished": ending.at if ending else None,
        "command": list(record.command),
        "url": record.url,
        "ports": list(record.ports),
        "exit_code": ending.code if ending else None,
        "out_of_memory": ending.out_of_memory if ending else False,
        "reason": ending.reason if ending else None,
        "health": item.health,
        "restarts": record.restarts,
        "labels": dict(record.labels),
    }


def _filter(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if key not in _FILTERS or not equals or not value:
        raise UsageError(
            f"'{text[:80]}' is not a filter", hint=f"write KEY=VALUE; keys: {', '.join(_FILTERS)}"
        )
    if value not in _VALUES.get(key, (value,)):
        raise UsageError(f"no container has the {key} '{value[:80]}'", hint=f"use {', '.join(_VALUES[key])}")
    return key, value


def _fits(item: Listed, filters: list[tuple[str, str]]) -> bool:
    """Whether a container has all the labels, and for each other key one of the values."""
    labels = dict(item.record.labels)
    for _, value in (one for one in filters if one[0] == "label"):
        name, equals, wanted = value.partition("=")
        if name not in labels or (equals and labels[name] != wanted):
            return False
    for key, own in (("status", item.status), ("health", item.health)):
        values = [value for name, value in filters if name == key]
        if values and own not in values:
            return False
    parts = [value for name, value in filters if name == "name"]
    return not parts or any(part in item.name for part in parts)


def _state(item: Listed) -> str:
    ending = item.ending
    if item.status == "restarting":
        return f"restarting ({ending.code if ending and ending.code is not None else '?'})"
    if ending is not None:
        words = [str(ending.code)] if ending.code is not None else []
        words += [ending.reason] if ending.reason else []
        return f"{item.status} ({', '.join(words)})" if words else item.status
    if item.status == "created":
        return "starting"
    seconds = int(time.time() - item.record.started)
    health = f" ({item.health})" if item.health else ""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"up {seconds // size} {unit}{health}"
    return f"up {seconds} s{health}"


def _reached(item: Listed) -> str:
    ports = item.record.ports
    more = f" and {len(ports) - 3} more" if len(ports) > 3 else ""
    return item.record.url or ", ".join(ports[:3]) + more


def _short(command: tuple[str, ...]) -> str:
    if command[:1] == (_SERVER,):
        return "(model server)"
    text = shlex.join(command).replace("\n", " ")
    return text if len(text) <= 40 else text[:39] + "…"
