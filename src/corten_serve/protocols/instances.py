"""Several requests in one: the instances of KServe, Vertex and TensorFlow Serving, rows of CSV, lines of JSON.

An instance is an object of the parameters, or the value of the only parameter that has to be there, or an array of the
parameters' values in their order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import islice
from typing import Any

from corten_serve.protocols.bodies import Arguments, text_value
from corten_serve.protocols.codec import bind, encode, load
from corten_serve.protocols.interface import MOST_ITEMS, BadRequest, Problem, ResultError, check_count
from corten_serve.protocols.openapi import ref
from corten_serve.protocols.shapes import Shapes
from corten_serve.schema.kinds import MOST_PROBLEMS, Schema, form_of
from corten_serve.schema.records import Field
from corten_serve.schema.signature import Signature

_KNOWN = ("instances", "parameters", "signature_name")


class Instances:
    """Reads instances for one signature."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._fields = {field.name: field for field in signature.request.fields}
        required = [field for field in self._fields.values() if field.required]
        candidates = required or list(self._fields.values())
        self.single: Field | None = candidates[0] if len(candidates) == 1 else None

    def document(self, value: Any) -> list[Arguments]:
        """The items of `{"instances": […], "parameters": {…}}`; a parameter counts for every instance that does not
        name it. Raises BadRequest."""
        if not isinstance(value, dict) or "instances" not in value:
            raise BadRequest([("instances", "missing; expected an array of requests")])
        unknown = [name for name in value if name not in _KNOWN]
        if unknown:
            raise BadRequest(
                [(name[:100], f"unknown field; expected {', '.join(_KNOWN)}") for name in unknown[:5]]
            )
        instances, parameters = value["instances"], value.get("parameters")
        if not isinstance(instances, list) or not instances:
            raise BadRequest([("instances", "expected an array of at least one request")])
        if parameters is not None and not isinstance(parameters, dict):
            raise BadRequest([("parameters", "expected an object or null")])
        surplus = [name for name in parameters or () if name not in self._fields]
        if surplus:
            expected = ", ".join(list(self._fields)[:12])
            raise BadRequest([("parameters", f"unknown field '{surplus[0][:60]}'; expected {expected}")])
        return self.all(instances, "instances", parameters or {})

    def all(
        self, instances: Sequence[Any], place: str, parameters: dict[str, Any] | None = None
    ) -> list[Arguments]:
        """Each instance as arguments. Raises BadRequest with the problems of all of them, each with its place."""
        check_count(len(instances), place)
        items: list[Arguments] = []
        problems: list[Problem] = []
        for index, instance in enumerate(instances):
            try:
                items.append(bind(self._signature, {**(parameters or {}), **self.named(instance)}))
            except BadRequest as error:
                problems += [(_joined(f"{place}[{index}]", field), text) for field, text in error.problems]
                if len(problems) > MOST_PROBLEMS:
                    break
        if problems:
            raise BadRequest(problems)
        return items

    def named(self, instance: Any) -> dict[str, Any]:
        """An instance as an object of the parameters. Raises BadRequest."""
        single = self.single
        if isinstance(instance, dict):
            if single is None or set(instance) & set(self._fields):
                return instance
            if set(instance) == {"b64"} and "string" in single.kind.forms:
                return {single.name: instance["b64"]}
            return {single.name: instance} if "object" in single.kind.forms else instance
        if single is not None and (not isinstance(instance, list) or form_of(instance) in single.kind.forms):
            return {single.name: instance}
        if not isinstance(instance, list):
            raise BadRequest([("", f"expected an object of {self._names()}, or an array of their values")])
        if len(instance) > len(self._fields):
            raise BadRequest(
                [("", f"expected {len(self._fields)} values ({self._names()}), got {len(instance)}")]
            )
        return dict(zip(self._fields, instance))  # noqa: B905 (Python 3.9 has no `strict`)

    def rows(self, body: Any) -> list[Arguments]:
        """The items of a CSV without a header, or with one that names parameters only. A cell is a text or, where the
        parameter is none, JSON; an empty cell of a parameter with a default is left out. Raises BadRequest."""
        try:
            reader = csv.reader(io.StringIO(str(body, "utf-8-sig"), newline=""), strict=True)
            # One more for a header, and one by which it is known that there are too many.
            rows = list(islice(filter(None, reader), MOST_ITEMS + 2))
        except UnicodeDecodeError as error:
            raise BadRequest([("", f"not CSV: byte {error.start} is not UTF-8")]) from error
        except csv.Error as error:
            raise BadRequest([("", f"not CSV: {error}")]) from error
        names = list(self._fields)
        if rows and set(rows[0]) <= set(names):
            names, rows = rows[0], rows[1:]
        if not rows:
            raise BadRequest([("", "not CSV: there is no row")])
        check_count(len(rows), "rows")
        single = self.single
        if single is not None and single.kind.forms == {"array"}:
            item = single.kind.item
            return self.all(
                [
                    {single.name: [_cell(cell) if item is None else text_value(item, cell) for cell in row]}
                    for row in rows
                ],
                "rows",
            )
        return self.all([self._row(row, names) for row in rows], "rows")

    def lines(self, body: Any) -> list[Arguments]:
        """The items of JSON lines. Raises BadRequest."""
        # What is split no further is the rest, and not read.
        lines = [line for line in bytes(body).split(b"\n", 2 * MOST_ITEMS) if line.strip()]
        if not lines:
            raise BadRequest([("", "there is no line of JSON")])
        check_count(len(lines), "lines")
        return self.all([load(line, f"lines[{index}]") for index, line in enumerate(lines)], "lines")

    def schemas(self, shapes: Shapes) -> dict[str, Schema]:
        """The shared schemas of a request with instances and of its answer."""
        forms: list[Schema] = [ref(shapes.request), {"type": "array"}]
        if self.single is not None:
            forms.append(shapes.field(self.single.name))
        instances = {"type": "array", "minItems": 1, "items": {"anyOf": forms}}
        predictions = {"type": "array", "items": shapes.result}
        return {
            "V1Instances": {
                "type": "object",
                "properties": {
                    "instances": instances,
                    "parameters": {"type": ["object", "null"], "description": "count for every instance"},
                    "signature_name": {"type": "string", "description": "has no effect"},
                },
                "required": ["instances"],
                "additionalProperties": False,
            },
            "V1Predictions": {
                "type": "object",
                "properties": {"predictions": predictions},
                "required": ["predictions"],
            },
        }

    def _row(self, row: list[str], names: list[str]) -> Any:
        if len(row) > len(names):
            return row  # Too long: it is refused as an array of values that is too long.
        values: dict[str, Any] = {}
        for name, cell in zip(names, row):  # noqa: B905
            field = self._fields[name]
            if cell or field.required:
                values[name] = text_value(field.kind, cell)
        return values

    def _names(self) -> str:
        names = list(self._fields)
        return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def csv_rows(results: Sequence[Any]) -> bytes:
    """Results as CSV without a header: a row for each, its cells the items of an array or the values of an object. What is
    no plain value becomes JSON. Raises ResultError."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    for result in results:
        value = load(encode(result))
        cells = (
            list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
        )
        try:
            writer.writerow([_written(cell) for cell in cells])
        except csv.Error as error:
            raise ResultError(f"the result cannot be written as CSV: {error}") from error
    return file.getvalue().encode(errors="replace")


def _cell(text: str) -> Any:
    try:
        return load(text)
    except BadRequest:
        return text


def _written(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    return "" if cell is None else encode(cell).decode()


def _joined(place: str, field: str) -> str:
    return place + (f".{field}" if field and not field.startswith("[") else field)
