"""Reading what a detached container printed.

conmon writes lines as `TIME STREAM TAG TEXT`: TIME is RFC 3339 with nanoseconds, STREAM `stdout` or `stderr`, TAG `F` for a
whole line and `P` for the beginning of one (the Kubernetes log format of the Container Runtime Interface). Without conmon a log is what was printed, as it
was, with no times. A log that grew too long begins anew under the same name.
"""

from __future__ import annotations

import datetime
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from corten.errors import RuntimeFailure, UsageError
from corten.values import dataclass

_PAUSE = 0.05
_LINE = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?: |$)"
)
_LONGEST = 1 << 20
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Entry:
    """A piece of output. `at` as it was written (empty without conmon), `seconds` since the epoch; `text` with its newline
    where the line ended."""

    at: str
    seconds: float
    stream: str
    text: bytes


def entries(
    path: Path, *, since: float | None = None, tail: int | None = None, until: float | None = None
) -> Iterator[Entry]:
    """What the log at `path` holds now, and what was moved aside when it grew too long: from `since` to `until`, of that the
    last `tail` lines. Raises RuntimeFailure where there is none."""
    with _open(path) as file:
        found = _all(file, path)
        yield from _selected(found if until is None else _before(found, until), since, tail)


def follow(
    path: Path,
    alive: Callable[[], bool],
    *,
    since: float | None,
    tail: int | None,
    until: float | None = None,
) -> Iterator[Entry]:
    """What it holds and what is added, until `alive()` is false and all has been read, or until the time `until`."""
    found = _follow(path, alive, since=since, tail=tail, until=until)
    yield from found if until is None else _before(found, until)


def _before(found: Iterator[Entry], until: float) -> Iterator[Entry]:
    return (entry for entry in found if entry.seconds <= until)


def _follow(
    path: Path,
    alive: Callable[[], bool],
    *,
    since: float | None,
    tail: int | None,
    until: float | None,
) -> Iterator[Entry]:
    file = _open(path)
    try:
        yield from _selected(_all(file, path), since, tail)
        while True:
            going = alive() and (until is None or time.time() <= until)
            yield from _read(file)
            if _is_replaced(file, path):
                file.close()
                file = _open(path)
                continue
            if not going:
                return
            time.sleep(_PAUSE)
    finally:
        file.close()


def parse_since(text: str, now: float) -> float:
    """Seconds since the epoch of `10m` ago, of a date such as 2026-01-31T10:00:00, or of seconds since the epoch. Raises
    UsageError."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match:
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else _moment(text)
    except ValueError:
        raise UsageError(
            f"'{text[:40]}' is not a time", hint="write it as 10m, 2h, or 2026-01-31T10:00:00"
        ) from None


def _moment(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def _open(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise RuntimeFailure(
            f"'{path.parent.name}' keeps no log: it runs in the foreground, or with --log-driver none",
            hint="its terminal, or 'corten attach', shows what it prints",
        ) from None


def _all(file: BinaryIO, path: Path) -> Iterator[Entry]:
    try:
        with open(f"{path}.1", "rb") as older:
            yield from _read(older)
    except FileNotFoundError:
        pass
    yield from _read(file)


def _is_replaced(file: BinaryIO, path: Path) -> bool:
    """Whether the log began anew, in another file or in the same one."""
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return False
    return not os.path.samestat(os.fstat(file.fileno()), now) or now.st_size < file.tell()


def _selected(found: Iterator[Entry], since: float | None, tail: int | None) -> Iterator[Entry]:
    chosen = (entry for entry in found if since is None or entry.seconds >= since)
    if tail is None:
        yield from chosen
        return
    # Whole lines are counted: a long one may be in several pieces.
    lines: deque[list[Entry]] = deque(maxlen=max(tail, 1))
    ended = True
    for entry in chosen:
        if ended:
            lines.append([])
        lines[-1].append(entry)
        ended = entry.text.endswith(b"\n")
    if tail > 0:
        for line in lines:
            yield from line


def _read(file: BinaryIO) -> Iterator[Entry]:
    """Entries up to the end; a line that is still being written is left for the next time."""
    while True:
        start = file.tell()
        line = file.readline(_LONGEST)
        if not line:
            return
        match = _LINE.match(line)
        if match is None:
            yield Entry("", 0.0, "stdout", line)
            continue
        if not line.endswith(b"\n") and len(line) < _LONGEST:
            file.seek(start)
            return
        text = line[match.end() :]
        day, fraction, zone = (part.decode() if part else "" for part in match.groups()[:3])
        seconds = _moment(day + zone.replace("Z", "+00:00")) + float(fraction or 0)
        stream = match[4].decode()
        yield Entry(
            day + fraction + zone, seconds, stream, text if match[5] == b"F" else text.removesuffix(b"\n")
        )
