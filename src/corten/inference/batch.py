"""A file of requests answered by a model server: several at once, results in the order of the rows, gone on with where an
earlier run ended.

Results are written to `OUT.part`, which becomes OUT when all are there. `OUT.part.json` says of what they are the results.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from corten.errors import FetchError, UsageError
from corten.inference.client import Client
from corten.inference.operations import Operation
from corten.inference.rows import Writer, format_of, read_rows
from corten.values import dataclass

_TRIES = 8
_LOST = 2
"""How often a row is sent again whose answer was lost with its connection."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did. `resumed` rows had their results already."""

    rows: int
    failed: int
    resumed: int


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done. `of` says what answers, so that a run is gone on with only by the same."""

    source: Path
    target: Path
    operation: Operation
    of: str
    together: int

    @property
    def part(self) -> Path:
        """The results so far."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        """What they are the results of."""
        return self.target.with_name(self.target.name + ".part.json")


def prepare(job: Job) -> int:
    """How many rows have their results already. Raises UsageError where there is a result, or part of another one."""
    format_of(job.source)
    format_of(job.target)
    if job.target.exists():
        raise UsageError(f"'{job.target}' exists", hint="delete it, or give another --out")
    for path in (job.part, job.note):
        if path.is_symlink():  # nobody named it: it came with the folder, and would be written through
            raise UsageError(f"'{path}' is a link", hint="delete it, or give another --out")
    identity = _identity(job)
    if not job.part.exists():
        job.note.write_text(json.dumps(identity), encoding="utf-8")
        return 0
    try:
        known = json.loads(job.note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if known != identity:
        raise UsageError(f"'{job.part}' has results of another run", hint="delete it, or give another --out")
    return _complete_rows(job)


def run(
    job: Job,
    client: Callable[[], Client],
    advance: Callable[[int], None],
    stopped: threading.Event | None = None,
) -> Done:
    """Answer all rows that have no result yet. A row that fails has its error for its result, and the others go on; a server that
    is full is asked again later. Raises FetchError when the server is gone, UsageError for a row that cannot be read; what was
    answered until then is kept."""
    resumed = prepare(job)
    if resumed:
        advance(resumed)
    rows = failed = 0
    writer = Writer(format_of(job.target))
    if resumed and format_of(job.target) == "csv":
        writer.header(_columns(job.part))
    clients: queue.SimpleQueue[Client] = queue.SimpleQueue()
    for _ in range(job.together):
        clients.put(client())
    # The line of a row reaches the file as soon as those before it are there; a crash loses what is under way, no more.
    with (
        open(job.part, "a", 1, encoding="utf-8", newline="") as file,
        ThreadPoolExecutor(job.together) as pool,
    ):
        waiting: list[tuple[Any, Future[tuple[Any, str | None]]]] = []
        try:
            for request in _from(read_rows(job.source, job.operation), resumed):
                if stopped is not None and stopped.is_set():
                    break
                waiting.append((request, pool.submit(_answer, job, clients, request)))
                while len(waiting) >= 2 * job.together or (waiting and waiting[0][1].done()):
                    failed += _write(file.write, writer, waiting.pop(0))
                    rows += 1
                    advance(1)
            while waiting and not (stopped is not None and stopped.is_set()):
                failed += _write(file.write, writer, waiting.pop(0))
                rows += 1
                advance(1)
            if not waiting and not (stopped is not None and stopped.is_set()):
                file.writelines(writer.finish())
        finally:
            for _, future in waiting:
                future.cancel()
            file.flush()
            os.fsync(file.fileno())
    if stopped is None or not stopped.is_set():
        os.replace(job.part, job.target)
        job.note.unlink(missing_ok=True)
    return Done(rows, failed, resumed)


def _write(
    write: Callable[[str], object], writer: Writer, item: tuple[Any, Future[tuple[Any, str | None]]]
) -> int:
    request, future = item
    result, error = future.result()
    for line in writer.lines(request, result, error):
        write(line)
    return int(error is not None)


def _answer(job: Job, clients: queue.SimpleQueue[Client], request: Any) -> tuple[Any, str | None]:
    body = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
    client = clients.get()
    lost = 0
    try:
        for attempt in range(_TRIES):
            try:
                answer = client.predict(job.operation.path, body)
            except FetchError:
                lost += 1
                if lost > _LOST:
                    raise
                time.sleep(0.2 * 2**lost)
                continue
            if answer.status == 503 and attempt < _TRIES - 1:
                time.sleep(min(answer.after or 1.0, 10.0))
                continue
            if answer.status != 200:
                return None, answer.message
            if answer.kind not in ("application/json", "application/x-ndjson"):
                return None, f"the answer is '{answer.kind}', which has no place in a line"
            try:
                if answer.kind == "application/x-ndjson":
                    return [json.loads(line) for line in answer.body.splitlines() if line.strip()], None
                return json.loads(answer.body), None
            except (ValueError, RecursionError):
                return None, f"the answer says that it is '{answer.kind}', and is not"
        return None, "the server is full"
    finally:
        clients.put(client)


def _from(rows: Iterator[Any], number: int) -> Iterator[Any]:
    for index, row in enumerate(rows):
        if index >= number:
            yield row


def _identity(job: Job) -> dict[str, Any]:
    state = job.source.stat()
    return {
        "input": [str(job.source.resolve()), state.st_size, state.st_mtime_ns],
        "path": job.operation.path,
        "of": job.of,
    }


def _complete_rows(job: Job) -> int:
    """The rows with whole lines in the part; a torn last line is cut off."""
    end = lines = 0
    quoted = False
    csv = format_of(job.target) == "csv"
    with open(job.part, "r+b") as file:
        position = 0
        for line in file:
            position += len(line)
            if csv and line.count(b'"') % 2:
                quoted = not quoted
            if line.endswith(b"\n") and not quoted:
                lines += 1
                end = position
        file.truncate(end)
    return max(0, lines - csv)


def _columns(part: Path) -> list[str]:
    import csv

    with part.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])
