"""`corten logs`: what a detached container printed."""

from __future__ import annotations

import argparse
import sys
import time

from corten.cli.context import Context

EXAMPLES = """\
examples:
  corten logs iris
  corten logs -f iris                     and what it prints from now on
  corten logs --since 10m --tail 50 -t iris   the last lines of ten minutes, with their times"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("container", help="its name, as 'corten ps' shows it")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends")
    parser.add_argument("--since", metavar="TIME", help="from then on: 10m, 2h, or 2026-01-31T10:00:00")
    parser.add_argument("-n", "--tail", type=_count, metavar="N", help="only the last lines")
    parser.add_argument("-t", "--timestamps", action="store_true", help="with the time of each line")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Copy the log to standard output, and what was printed on standard error to standard error."""
    from corten.runtime.inventory import find, is_locked, look
    from corten.runtime.logs import entries, follow, parse_since
    from corten.supervise import services

    service = services.directory_of(context.store) / arguments.container
    own = (service / services.LOG).exists()
    directory = service if own else find(context.store, arguments.container)
    since = parse_since(arguments.since, time.time()) if arguments.since else None
    log = directory / "output.log"

    def goes_on() -> bool:
        if own:
            return is_locked(services.lock_path(service))
        listed = look(directory)
        return listed is not None and (listed.running or listed.status == "restarting")

    found = (
        follow(log, goes_on, since=since, tail=arguments.tail)
        if arguments.follow
        else entries(log, since=since, tail=arguments.tail)
    )
    begins = True
    for entry in found:
        stream = sys.stderr.buffer if entry.stream == "stderr" else sys.stdout.buffer
        if arguments.timestamps and begins and entry.at:
            stream.write(f"{entry.at} ".encode())
        stream.write(entry.text)
        begins = entry.text.endswith(b"\n")
        if arguments.follow or stream is sys.stderr.buffer:
            stream.flush()
    return 0


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number of lines")
    return int(text[:9])
