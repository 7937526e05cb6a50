"""`corten status`: what `corten up` keeps running, and how it does."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import TYPE_CHECKING, Any

from corten.cli.context import Context
from corten.cli.terminal import size_text, table

if TYPE_CHECKING:
    from corten.supervise.asking import Load
    from corten.supervise.services import Service

EXAMPLES = """\
examples:
  corten status
  corten status iris --json
  corten status --watch       again every second, until Ctrl-C

LATENCY is what half and 99 of 100 recent requests took. A service without a supervisor serves on, but is not started
again: 'corten up' or 'corten down' mends that."""

_PERIOD = 1.0
_HEADER = ["NAME", "STATE", "URL", "IMAGE", "RESTARTS", "WORKERS", "QUEUE", "LATENCY", "MEMORY"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("service", nargs="?", help="its name (default: all)")
    parser.add_argument("-w", "--watch", action="store_true", help="again every second, until Ctrl-C")
    parser.add_argument(
        "--json", action="store_true", help="JSON: one document, or with --watch a line every time"
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Show the services."""
    from corten.supervise import services

    while True:
        name = arguments.service
        found = [services.find(context.store, name)] if name else services.services(context.store)
        documents = [document(item) for item in found]
        if arguments.json:
            context.terminal.print(json.dumps(documents, indent=None if arguments.watch else 2))
        else:
            clear = arguments.watch and os.isatty(1)
            if documents:
                context.terminal.print(table([_row(item) for item in documents], _HEADER), clear=clear)
            elif clear:
                context.terminal.print("no services are running", clear=True)
            else:
                context.terminal.say("no services are running")
        if not arguments.watch:
            return 0
        time.sleep(_PERIOD)


def document(service: Service) -> dict[str, Any]:
    """A service as JSON shows it. Times are seconds since the epoch, latencies milliseconds, memory bytes."""
    state = service.state
    plan = state.plan if state else None
    load = _load(service)
    return {
        "name": service.name,
        "state": service.status,
        "supervised": service.supervised,
        "url": state.url or None if state else None,
        "image": plan.image if plan else None,
        "image_id": plan.image_id if plan else None,
        "path": plan.path if plan else None,
        "containers": [item.name for item in service.containers],
        "restarts": state.restarts if state else 0,
        "updates": state.updates if state else 0,
        "reason": _reason(service),
        "started": state.started if state else None,
        "since": state.since if state else None,
        "next_start": state.due if state and state.phase == "restarting" else None,
        "detached": state.detached if state else None,
        "idle_after": plan.idle if plan else None,
        "workers": load.workers if load else None,
        "queue": {"waiting": load.waiting, "bound": load.bound} if load else None,
        "latency": {"p50": load.p50, "p99": load.p99, "count": load.count} if load else None,
        "memory": _memory(service),
    }


def _reason(service: Service) -> str | None:
    from corten.supervise.services import is_of_this_boot

    if service.state is None or service.supervised:
        return service.state.reason if service.state else None
    return "its supervisor was killed" if is_of_this_boot(service.state) else "the machine was restarted"


def _load(service: Service) -> Load | None:
    """What the server says; nobody is woken for that."""
    if (
        service.state is None
        or not service.containers
        or service.status not in ("ready", "unsupervised", "updating")
    ):
        return None
    if service.state.plan.forward is not None:
        return None
    from corten.supervise.asking import load

    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(service.state.plan.host, service.state.plan.host)  # noqa: S104
    return load((host, service.state.plan.port))


def _memory(service: Service) -> int | None:
    from corten.runtime.statistics import usage

    parent = service.directory.parent.parent / "containers"
    found = [used.memory for item in service.containers if (used := usage(parent / item.name)) is not None]
    return sum(found) if found else None


def _row(found: dict[str, Any]) -> list[str]:
    latency, queue = found["latency"], found["queue"]
    spans = [f"{latency[name]:.1f}" for name in ("p50", "p99") if latency and latency["count"]]
    return [
        found["name"],
        _state(found),
        found["url"] or "",
        found["image"] or "",
        str(found["restarts"]),
        "" if found["workers"] is None else str(found["workers"]),
        f"{queue['waiting']}/{queue['bound']}" if queue else "",
        f"{' / '.join(spans)} ms" if spans else "",
        "" if found["memory"] is None else size_text(found["memory"]),
    ]


def _state(found: dict[str, Any]) -> str:
    text: str = found["state"]
    if found["next_start"] is not None and found["next_start"] > time.time():
        return f"{text} in {found['next_start'] - time.time():.0f} s"
    if text == "ended" and found["reason"]:
        return f"{text} ({found['reason']})"
    if found["since"] is None or text not in ("ready", "idle"):
        return text
    seconds = int(time.time() - found["since"])
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{text} {seconds // size} {unit}"
    return f"{text} {seconds} s"
