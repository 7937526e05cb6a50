"""`corten logs`: what a detached container printed."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from corten.cli.context import Context
from corten.errors import CortenError

if TYPE_CHECKING:
    from corten.runtime.logs import Entry

EXAMPLES = """\
examples:
  corten logs iris
  corten logs -f iris                     and what it prints from now on
  corten logs web worker                  of both, each line with the name
  corten logs --since 10m --tail 50 -t iris   the last lines of ten minutes, with their times"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "containers",
        nargs="+",
        metavar="container",
        help="its name, as 'corten ps' shows it; of several, each line has it",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends")
    parser.add_argument("--since", metavar="TIME", help="from then on: 10m, 2h, or 2026-01-31T10:00:00")
    parser.add_argument("--until", metavar="TIME", help="up to then")
    parser.add_argument("-n", "--tail", type=_count, metavar="N|all", help="only the last lines")
    parser.add_argument("-t", "--timestamps", action="store_true", help="with the time of each line")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Copy the log to standard output, and what was printed on standard error to standard error."""
    from corten.runtime.inventory import find
    from corten.runtime.logs import entries, follow, parse_since
    from corten.supervise import services

    now = time.time()
    since = parse_since(arguments.since, now) if arguments.since else None
    until = parse_since(arguments.until, now) if arguments.until else None
    found: list[Iterator[Entry]] = []
    for name in arguments.containers:
        service = services.directory_of(context.store) / name
        own = (service / services.LOG).exists()
        directory = service if own else find(context.store, name)
        log = directory / "output.log"
        found.append(
            follow(log, partial(_goes_on, directory, own), since=since, tail=arguments.tail, until=until)
            if arguments.follow
            else entries(log, since=since, tail=arguments.tail, until=until)
        )
    if len(found) == 1:
        _show(found[0], arguments)
    elif not arguments.follow:
        for name, items in zip(arguments.containers, found, strict=True):
            _show(items, arguments, name)
    else:
        _show_together(found, arguments)
    return 0


def _show_together(found: list[Iterator[Entry]], arguments: argparse.Namespace) -> None:
    """Show all as they come: each waits for its own container. Raises what the first of them raised."""
    failed: list[Exception] = []

    def act(items: Iterator[Entry], name: str) -> None:
        try:
            _show(items, arguments, name)
        except (CortenError, OSError) as error:
            failed.append(error)

    threads = [
        threading.Thread(target=act, args=pair, daemon=True)
        for pair in zip(found, arguments.containers, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _goes_on(directory: Path, own: bool) -> bool:
    from corten.runtime.inventory import is_locked, look
    from corten.supervise import services

    if own:
        return is_locked(services.lock_path(directory))
    listed = look(directory)
    return listed is not None and (listed.running or listed.status == "restarting")


def _show(found: Iterator[Entry], arguments: argparse.Namespace, name: str | None = None) -> None:
    """Copy what is found, each line with the container's name before it where there are several."""
    begins = True
    for entry in found:
        stream = sys.stderr.buffer if entry.stream == "stderr" else sys.stdout.buffer
        before = f"{name} | " if name is not None and begins else ""
        if arguments.timestamps and begins and entry.at:
            before += f"{entry.at} "
        stream.write(before.encode() + entry.text)
        begins = entry.text.endswith(b"\n")
        if arguments.follow or name is not None or stream is sys.stderr.buffer:
            stream.flush()


def _count(text: str) -> int | None:
    if text in ("all", "-1"):
        return None
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number of lines")
    return int(text[:9])
