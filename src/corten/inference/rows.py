"""Files of requests and of results: JSON lines and CSV, read and written row by row."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from corten.errors import UsageError
from corten.inference.operations import Operation, typed

FORMATS = (".jsonl", ".ndjson", ".csv")
_MOST_EARLY = 4 << 20
"""Characters of failed rows that wait in memory for the first row with a result; more wait in a file."""
_LONGEST = 64 << 20
"""Bytes of one row, as many as a server takes."""


def format_of(path: Path) -> str:
    """`jsonl` or `csv`, by the name of the file. Raises UsageError."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"'{path}' is neither JSON lines nor CSV by its name", hint="call it .jsonl or .csv")
    return "csv" if suffix == ".csv" else "jsonl"


def read_rows(path: Path, operation: Operation) -> Iterator[Any]:
    """The request of each row, in order. A row of CSV has its fields by the names of the first line, each read as its type asks
    for; an empty cell is a field that is left out. Raises UsageError with the number of a line that cannot be read."""
    csv.field_size_limit(_LONGEST)
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            if format_of(path) == "csv":
                yield from _csv_rows(path, file, operation)
            else:
                yield from _json_rows(path, file)
        except UnicodeDecodeError as error:
            raise UsageError(f"'{path}' is not UTF-8", hint="convert it with iconv") from error


def count_rows(path: Path) -> int:
    """How many rows the file has: for progress, so a quoted line break of CSV counts as one more. Raises OSError."""
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            lines += piece.count(b"\n")
            last = piece[-1:]
    return max(0, lines + (last != b"\n") - (format_of(path) == "csv"))


def _json_rows(path: Path, file: TextIO) -> Iterator[Any]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"line {number} of '{path}' is not JSON: {str(error)[:80]}") from error


def _csv_rows(path: Path, file: TextIO, operation: Operation) -> Iterator[Any]:
    reader = csv.reader(file, strict=True)
    fields = operation.fields
    try:
        names = next(reader, [])
        if len(set(names)) != len(names):
            raise UsageError(f"'{path}' has two columns of one name")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise UsageError(
                    f"line {reader.line_num} of '{path}' has {len(cells)} cells, and the first line {len(names)}"
                )
            yield {
                name: typed(cell, fields.get(name, {}), operation)
                for name, cell in zip(names, cells, strict=True)
                if cell
            }
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num} of '{path}' is not CSV: {error}") from error


class Writer:
    """Results as lines of one format. CSV has the request's columns first, then those of the result: its fields where it is an
    object, else `prediction`; and `error`. Which those are is known with the first row that has a result: rows before it wait."""

    def __init__(self, kind: str) -> None:
        self._csv = kind == "csv"
        self._columns: list[str] | None = None
        self._early: Any = None
        self._names: dict[str, None] = {}

    def header(self, columns: Sequence[str]) -> None:
        """The columns that a file which is gone on with has already."""
        self._columns = list(columns)

    def lines(self, request: Any, result: Any, error: str | None) -> Iterator[str]:
        """What the file gets for one row: nothing, a line, or all that waited. Exactly one of `result` and `error` counts."""
        if not self._csv:
            document = {"error": error} if error is not None else result
            yield json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
            return
        given = request if isinstance(request, dict) else {"request": request}
        if error is not None and self._columns is None:
            self._wait(given, error)
            return
        made = result if isinstance(result, dict) else {"prediction": result}
        yield from self._begun(given, made)
        yield self._row(given, made if error is None else {}, error)

    def finish(self) -> Iterator[str]:
        """What the file gets after the last row."""
        if self._early is not None:
            yield from self._begun({}, {"prediction": None})

    def _wait(self, given: dict[str, Any], error: str) -> None:
        """Keep a row that failed before any had a result: many of them in a file, which has no name."""
        if self._early is None:
            self._early = tempfile.SpooledTemporaryFile(_MOST_EARLY, "w+", encoding="utf-8", newline="")  # noqa: SIM115
        self._early.write(json.dumps([given, error]) + "\n")
        self._names.update(dict.fromkeys(given))

    def _begun(self, given: dict[str, Any], made: dict[str, Any]) -> Iterator[str]:
        if self._columns is not None:
            return
        known = list(dict.fromkeys([*self._names, *given]))
        own = [f"predicted_{name}" if name in known else name for name in made]
        self._columns = [*known, *own, "error"]
        yield _csv_line(self._columns)
        if self._early is not None:
            with self._early as early:
                self._early = None
                early.seek(0)
                for line in early:
                    row, error = json.loads(line)
                    yield self._row(row, {}, error)

    def _row(self, given: dict[str, Any], made: dict[str, Any], error: str | None) -> str:
        columns = self._columns or []
        cells = dict(given)
        for name, value in made.items():
            cells[f"predicted_{name}" if f"predicted_{name}" in columns else name] = value
        cells["error"] = error or ""
        return _csv_line([_cell(cells.get(name)) for name in columns])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _csv_line(cells: Sequence[str]) -> str:
    quoted = (
        f'"{cell.replace(chr(34), chr(34) * 2)}"' if any(mark in cell for mark in ',"\r\n') else cell
        for cell in cells
    )
    return ",".join(quoted) + "\n"
