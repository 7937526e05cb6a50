"""Reading what a detached container printed.

conmon writes lines as `TIME STREAM TAG TEXT`: TIME is RFC 3339 with nanoseconds, STREAM `stdout` or `stderr`, TAG `F` for a
whole line and `P` for the beginning of one (the Kubernetes log format of the Container Runtime Interface). Without conmon a log is what was printed, as it
was, with no times. A log that grew too long begins anew under the same name, and the former one is kept, or several (`log_keeper.py`). Without conmon a line
may begin at the end of the former one (`attend.shorten_log`): its pieces follow each other.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from corten.errors import RuntimeFailure, UsageError
from corten.lazy import regex
from corten.runtime.log_keeper import BEGINS, CUT, FORMER, NEXT, NOW
from corten.values import dataclass

_PAUSE = 0.05
_LINE = regex(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?: |$)")
_LONGEST = 1 << 20
LOST = b"[corten: the log began anew faster than it was read; lines may be missing here]\n"
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
    files = _opened(path)
    try:
        found = _all(files)
        yield from _selected(found if until is None else _before(found, until), since, tail)
    finally:
        _close(files)


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
    opened = _opened(path)
    try:
        yield from _selected(_all(opened), since, tail)
        while True:
            file = opened[-1]
            going = alive() and (until is None or time.time() <= until)
            yield from _read(file)
            if not _is_replaced(file, path):
                if not going:
                    return
                time.sleep(_PAUSE)
                continue
            # What was written between the last look and the beginning of the next one.
            yield from _read(file)
            found = _opened(path)
            after, lost = _after(file, found, path)
            _close((*opened, *(each for each in found if each not in after)))
            opened = after
            if lost:
                yield Entry("", time.time(), "stderr", LOST)
            yield from _all(after[:-1])
    finally:
        _close(opened)


def _after(file: BinaryIO, found: list[BinaryIO], path: Path) -> tuple[list[BinaryIO], bool]:
    """Those of the files `found` that came after `file`, and whether there is something in between that nobody has read."""
    places = [place for place, each in enumerate(found) if _identity(each) == _identity(file)]
    if not places:
        # Where nobody keeps the former one, the next is taken for the one that is there.
        return found, len(found) > 1
    if places[0] + 1 < len(found):
        return found[places[0] + 1 :], False
    # A log without conmon: it was made shorter, and its head is copied.
    try:
        begins = int((path.parent / BEGINS).read_text(encoding="ascii"))
    except (OSError, ValueError):
        begins = file.tell() + 1
    if len(found) < 2 or file.tell() < begins:
        return found[-2:], True
    # Its end stayed in the log where the file system could cut the head off.
    copied = os.fstat(found[-2].fileno()).st_size
    found[-2].seek(min(file.tell() - begins, copied))
    found[-1].seek(max(file.tell() - begins - copied, 0))
    return found[-2:], False


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


def _opened(path: Path) -> list[BinaryIO]:
    """The files of a log, opened: those that it was before, oldest first, and what is written to now. Raises RuntimeFailure where
    there is none."""
    while True:
        places = [*_formers(path.parent), path.parent / NOW, path.parent / NEXT]
        files = [file for place in places if (file := _open_kept(place)) is not None]
        try:
            files.append(_open(path))
        except BaseException:
            _close(files)
            raise
        # The names may have moved on meanwhile.
        if not _is_replaced(files[-1], path) and _is_first(files[0], [*places, path]):
            break
        _close(files)
    if len(files) > 1 and (path.parent / CUT).exists():
        files[0].readline()
    by_identity = {_identity(file): file for file in files}
    found = [file for file in by_identity.values() if file is files[-1] or os.fstat(file.fileno()).st_size]
    _close(file for file in files if file not in found)
    return found


def _formers(folder: Path) -> list[Path]:
    """The former logs in a container's directory, oldest first."""
    numbers = (name.removeprefix(FORMER[:-1]) for name in os.listdir(folder) if name.startswith(FORMER[:-1]))
    found = sorted(
        (int(number) for number in numbers if number.isascii() and number.isdecimal()), reverse=True
    )
    return [folder / f"{FORMER[:-1]}{number}" for number in found]


def _open_kept(place: Path) -> BinaryIO | None:
    try:
        return open(place, "rb")
    except OSError:
        return None


def _close(files: Iterable[BinaryIO]) -> None:
    for file in files:
        file.close()


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _is_first(file: BinaryIO, places: list[Path]) -> bool:
    """Whether it is still what the first of the places that are there has."""
    for place in places:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.stat(place), os.fstat(file.fileno()))
    return True


def _all(files: list[BinaryIO]) -> Iterator[Entry]:
    for file in files:
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
