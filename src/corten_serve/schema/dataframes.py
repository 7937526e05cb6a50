"""pandas frames and columns, where the project has pandas. It is imported only when a type hint already has done so."""

from __future__ import annotations

import datetime
import io
import re
import sys
from typing import Any

from corten_serve.schema.kinds import Kind, Path, Problems, Quantity, Schema, Text
from corten_serve.schema.texts import PLAIN

_CELLS = {bool, int, float, str, type(None)}
_CELL: Schema = {"type": ["null", "boolean", "number", "string"]}
_ROWS: Schema = {"type": "array", "items": {"type": "object", "additionalProperties": _CELL}}
_COLUMNS: Schema = {"type": "object", "additionalProperties": {"type": "array", "items": _CELL}}
_ITEMS: Schema = {"type": "array", "items": _CELL}
_PAIR: Schema = {
    "type": "object",
    "properties": {"index": _ITEMS, "data": _ITEMS},
    "required": ["index", "data"],
    "additionalProperties": False,
}
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_SPLIT: Schema = {
    "type": "object",
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "data": {"type": "array", "items": {"type": "array", "items": _CELL}},
        "index": {"type": "array", "items": _CELL},
    },
    "required": ["columns", "data"],
    "additionalProperties": False,
}


def _pandas() -> Any:
    return sys.modules.get("pandas")


def is_frame(hint: Any) -> bool:
    """Whether `hint` is `pandas.DataFrame`."""
    return hint is getattr(_pandas(), "DataFrame", is_frame)


def is_column(hint: Any) -> bool:
    """Whether `hint` is `pandas.Series`."""
    return hint is getattr(_pandas(), "Series", is_column)


def moment(hint: Any) -> Kind | None:
    """The kind of `pandas.Timestamp` or `pandas.Timedelta`; None for anything else."""
    pandas = _pandas()
    if hint is getattr(pandas, "Timestamp", moment):
        return Text("a date and time such as '2026-01-31T12:00:00Z'", {"format": "date-time"}, _timestamp)
    if hint is getattr(pandas, "Timedelta", moment):
        span: Any = PLAIN[datetime.timedelta]

        def read(value: Any) -> Any:
            problems = Problems()
            result = span.read(value, None, problems)
            if problems.found:
                raise ValueError(value)
            return pandas.Timedelta(result)

        return Quantity(span.words, {"format": "duration"}, read, read)
    return None


def _timestamp(text: str) -> Any:
    # pandas itself reads far more ("now", "5"), and words that mean no time at all.
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError(text)
    return _pandas().Timestamp(text)


def records(frame: Any) -> Any:
    """A frame as an array of objects. Labels of rows are columns too, unless they are numbers that nobody named: those of the
    rows of any table."""
    index = frame.index
    if any(name is not None for name in index.names) or index.nlevels > 1 or index.dtype.kind not in "iu":
        known = [
            level for level, name in enumerate(index.names) if name is not None and name in frame.columns
        ]
        kept = len(known) < index.nlevels
        frame = frame.reset_index(level=known, drop=True) if known else frame
        frame = frame.reset_index() if kept else frame
    return frame.to_dict(orient="records")


def labelled(column: Any, text: Any) -> Any:
    """A column as a result: an array where its labels are 0, 1, …, else an object by labels, which `text` makes strings of;
    where two labels are equal, `{"index": […], "data": […]}`."""
    values, index = column.tolist(), column.index
    if index.nlevels == 1 and index.dtype.kind in "iu" and index.tolist() == list(range(len(index))):
        return values
    labels = index.tolist()
    keys = [text(label) for label in labels]
    if len(set(keys)) == len(keys):
        return dict(zip(keys, values))  # noqa: B905 (no `strict` in Python 3.9)
    return {"index": labels, "data": values}


def is_missing(value: Any) -> bool:
    """Whether `value` is one of pandas' own words for a cell that holds nothing: `NaT` or `NA`."""
    pandas = _pandas()
    return pandas is not None and (value is pandas.NaT or value is pandas.NA)


class Frame(Kind):
    """A frame, in any of the forms that `DataFrame.to_json` writes as "records", "list" of columns, and "split". Cells are
    plain values. An upload is CSV with a header. A result is written as records."""

    words = "a table: an array of objects, or an object of columns"
    forms = frozenset({"array", "object"})
    media = ("text/csv",)

    def schema(self) -> Schema:
        return {"anyOf": [_ROWS, _COLUMNS, _SPLIT], "format": "dataframe"}

    def written(self) -> Schema:
        return _ROWS

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        if type(value) is list:
            self._rows(value, path, problems)
            options: dict[str, Any] = {}
        elif type(value) is not dict:
            problems.expected(path, self.words, value)
            return None
        elif _is_split(value):
            self._split(value, path, problems)
            options = {"columns": value["columns"], "index": value.get("index")}
            value = value["data"]
        else:
            self._columns(value, path, problems)
            options = {}
        if len(problems.found) > before:
            return None
        try:
            return _pandas().DataFrame(value, **options)
        except (ValueError, TypeError, OverflowError) as error:
            problems.add(path, f"no table can be made of it: {error}")
            return None

    def _rows(self, rows: list[Any], path: Path, problems: Problems) -> None:
        for index, row in enumerate(rows):
            if type(row) is not dict:
                problems.expected((path, index), "an object", row)
            elif not set(map(type, row.values())) <= _CELLS:
                for name, cell in row.items():
                    _check(cell, ((path, index), name), problems)

    def _columns(self, columns: dict[str, Any], path: Path, problems: Problems) -> None:
        height: int | None = None
        for name, column in columns.items():
            if type(column) is not list:
                problems.expected((path, name), "an array", column)
                continue
            _check_all(column, (path, name), problems)
            height = len(column) if height is None else height
            if len(column) != height:
                problems.add(
                    (path, name), f"expected {height} items like the first column, got {len(column)}"
                )

    def _split(self, table: dict[str, Any], path: Path, problems: Problems) -> None:
        columns, rows, labels = table["columns"], table["data"], table.get("index")
        for index, name in enumerate(columns):
            if type(name) is not str:
                problems.expected(((path, "columns"), index), "a string", name)
        for index, row in enumerate(rows):
            place = ((path, "data"), index)
            if len(row) != len(columns):
                problems.add(place, f"expected {len(columns)} items, one for each column, got {len(row)}")
            else:
                _check_all(row, place, problems)
        if labels is not None:
            if type(labels) is not list or len(labels) != len(rows):
                problems.expected((path, "index"), f"an array of {len(rows)} items, one for each row", labels)
            else:
                _check_all(labels, (path, "index"), problems)

    def read_bytes(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        try:
            return _pandas().read_csv(io.BytesIO(data))
        except (ValueError, OverflowError, EOFError) as error:  # pandas' parser errors are ValueErrors
            problems.add(path, f"not a table in CSV: {str(error).strip()[:200]}")
            return None


class Column(Kind):
    """A column: an array of plain values, an object whose keys label them, or `{"index": […], "data": […]}`. A result is an
    array where the labels are 0, 1, …"""

    words = "a column: an array of plain values"
    forms = frozenset({"array", "object"})

    def schema(self) -> Schema:
        return {
            "anyOf": [_ITEMS, {"type": "object", "additionalProperties": _CELL}, _PAIR],
            "format": "series",
        }

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        labels = None
        if type(value) is dict and set(value) == {"index", "data"} and type(value["data"]) is list:
            labels, value = value["index"], value["data"]
            if type(labels) is not list or len(labels) != len(value):
                problems.expected((path, "index"), f"an array of {len(value)} items", labels)
            else:
                _check_all(labels, (path, "index"), problems)
            path = (path, "data")
        if type(value) is list:
            _check_all(value, path, problems)
        elif type(value) is dict:
            for name, cell in value.items():
                _check(cell, (path, name), problems)
        else:
            problems.expected(path, self.words, value)
        if len(problems.found) > before:
            return None
        try:
            return _pandas().Series(value, index=labels)
        except (ValueError, TypeError, OverflowError) as error:
            problems.add(path, f"no column can be made of it: {error}")
            return None


def _is_split(table: dict[str, Any]) -> bool:
    """Whether an object is the form of `to_json(orient="split")`, and not columns that happen to have these names."""
    if not {"columns", "data"} <= set(table) <= {"columns", "data", "index"}:
        return False
    columns, rows = table["columns"], table["data"]
    return isinstance(columns, list) and isinstance(rows, list) and all(isinstance(row, list) for row in rows)


def _check_all(cells: list[Any], path: Path, problems: Problems) -> None:
    if not set(map(type, cells)) <= _CELLS:
        for index, cell in enumerate(cells):
            _check(cell, (path, index), problems)


def _check(cell: Any, path: Path, problems: Problems) -> None:
    if type(cell) not in _CELLS:
        problems.expected(path, "a plain value", cell)
