"""Tensors of the Open Inference Protocol → arguments.

A parameter that is one value takes a tensor of shape [n] or [n, 1], and n rows are n requests; in `BYTES` an element is its
text, or its bytes where the parameter is a file (base64 in JSON), or JSON where it is an object. A parameter that is an
array of values takes a tensor as a whole, and the request is one; but where the array has a fixed number of dimensions and
the tensor has one more, each row is a request. NaN is null for a parameter that may be null. One tensor that no parameter is
named for belongs to the only parameter that has to be there, or is a table whose columns are the parameters in their order.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from corten_serve.protocols.bodies import Arguments, array_value, text_value
from corten_serve.protocols.codec import bind
from corten_serve.protocols.interface import BadRequest, Problem, check_count
from corten_serve.protocols.tensors import BYTES, CODES, Tensor, check_shape
from corten_serve.schema.kinds import MOST_PROBLEMS, Kind, Problems, Schema, preview
from corten_serve.schema.signature import Signature

_DTYPES = {
    "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "uint8": "UINT8",
    "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
_LARGEST = {"FP16": 65504.0, "FP32": 3.4028234663852886e38, "FP64": sys.float_info.max}
_DEEPEST = 32


class Form(NamedTuple):
    """How values of a schema travel in tensors: the datatype, the number of dimensions of an array (0 for one value, -1 for
    any number), and whether an element is JSON."""

    datatype: str
    dimensions: int = 0
    json: bool = False

    @property
    def shape(self) -> list[int]:
        """The shape for metadata: -1 stands for any size."""
        return [-1] * max(1, self.dimensions)


_JSON = Form(BYTES, json=True)


def form_of_schema(schema: Schema, definitions: Mapping[str, Schema], depth: int = 0) -> Form:
    """The form of a kind with this schema."""
    if depth > _DEEPEST:
        return _JSON
    if "$ref" in schema:
        target = definitions.get(schema["$ref"].rpartition("/")[2], {})
        return form_of_schema(target, definitions, depth + 1)
    if "anyOf" in schema:
        options = [each for each in schema["anyOf"] if each.get("type") != "null"]
        forms = {form_of_schema(each, definitions, depth + 1) for each in options}
        return forms.pop() if len(forms) == 1 else _JSON
    if "enum" in schema:
        types = {type(value) for value in schema["enum"] if value is not None}
        names: dict[Any, str] = {bool: "BOOL", int: "INT64", float: "FP64", str: BYTES}
        return Form(names[types.pop()]) if len(types) == 1 else _JSON
    kind = schema.get("type")
    if kind == "array" and "prefixItems" not in schema:
        dtype = str(schema.get("format", ""))
        if dtype.startswith("ndarray-"):
            return Form(_DTYPES.get(dtype[8:], BYTES), -1)
        inner = form_of_schema(schema.get("items", {}), definitions, depth + 1)
        if not inner.json and inner.dimensions >= 0:
            return Form(inner.datatype, inner.dimensions + 1)
        return _JSON
    plain = {"boolean": "BOOL", "integer": "INT64", "number": "FP64", "string": BYTES}
    return Form(plain[kind]) if isinstance(kind, str) and kind in plain else _JSON


class Inputs:
    """Reads the tensors of requests for one signature."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._fields = {field.name: field for field in signature.request.fields}
        definitions = signature.definitions()
        self.forms = {
            name: form_of_schema(each.kind.schema(), definitions) for name, each in self._fields.items()
        }

    def read(self, tensors: dict[str, Tensor], parameters: Mapping[str, Any]) -> tuple[list[Arguments], bool]:
        """An item for each row, and whether the tensors were taken as a whole instead. `parameters` fill in for parameters
        that no tensor is named for; others among them are passed over. Raises BadRequest."""
        tensors = self._named(tensors)
        problems = Problems()
        given: dict[str, Any] = {}
        rows: dict[str, list[Any]] = {}
        for name, tensor in tensors.items():
            if 0 < self.forms[name].dimensions == len(tensor.shape) - 1 and tensor.shape[0]:
                check_count(tensor.shape[0], name)
                rows[name] = tensor.rows()
            elif self.forms[name].dimensions:
                given[name] = _whole(self._fields[name].kind, tensor, name, problems)
            else:
                rows[name] = _rows(tensor, name, problems)
        counts = {name: len(values) for name, values in rows.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"'{name}' {count}" for name, count in list(counts.items())[:12])
            problems.add(None, f"the tensors have different numbers of rows: {listed}")
        count = max(counts.values(), default=1)
        if given and count > 1:
            problems.add(None, f"expected one row beside a parameter that is an array, got {count}")
        if problems.found:
            raise BadRequest(problems.found)
        free = {
            name: value for name, value in parameters.items() if name in self._fields and name not in tensors
        }
        return self._items(rows, given, free, count), bool(given)

    def _items(
        self, rows: dict[str, list[Any]], given: dict[str, Any], free: dict[str, Any], count: int
    ) -> list[Arguments]:
        items: list[Arguments] = []
        problems: list[Problem] = []
        for index in range(count):
            try:
                values, ready = dict(free), dict(given)
                for name, column in rows.items():
                    self._element(name, column[index], values, ready)
                items.append(bind(self._signature, values, ready))
            except BadRequest as error:
                row = f"row {index}: " if count > 1 else ""
                problems += [(field, row + text) for field, text in error.problems]
                if len(problems) > MOST_PROBLEMS:
                    break
        if problems:
            raise BadRequest(problems)
        return items

    def _element(self, name: str, value: Any, values: dict[str, Any], ready: dict[str, Any]) -> None:
        """One element of a tensor as JSON in `values`, or as a Python value in `ready` where it came as bytes."""
        kind = self._fields[name].kind
        if isinstance(value, Tensor):
            problems = Problems()
            ready[name] = _whole(kind, value, name, problems)
            if problems.found:
                raise BadRequest(problems.found)
        elif not isinstance(value, (bytes, str)):
            if isinstance(value, float) and not math.isfinite(value):
                if value == value or "null" not in kind.forms:
                    raise BadRequest([(name, f"expected {kind.words}, got {value}")])
                value = None
            values[name] = value
        elif self.forms[name].json:
            values[name] = text_value(kind, _text(value, name))
        elif kind.media and isinstance(value, bytes):
            problems = Problems()
            ready[name] = kind.read_bytes(value, "", (None, name), problems)
            if problems.found:
                raise BadRequest(problems.found)
        else:
            values[name] = _text(value, name)

    def _named(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors under the names of parameters."""
        unknown = [name for name in tensors if name not in self._fields]
        if not unknown:
            return tensors
        tensor = next(iter(tensors.values()))
        required = [name for name, field in self._fields.items() if field.required]
        alone = required or list(self._fields)
        if len(tensors) == 1 and len(alone) == 1:
            wide = len(tensor.shape) == 2 and tensor.shape[1] != 1
            if self.forms[alone[0]].dimensions or not wide:
                return {alone[0]: tensor}
        if len(tensors) == 1 and len(tensor.shape) == 2 and self._is_table(tensor.shape[1]):
            width, flat = tensor.shape[1], tensor.flat()
            return {
                each: Tensor(tensor.datatype, (tensor.shape[0],), flat[index::width])
                for index, each in enumerate(list(self._fields)[:width])
            }
        expected = ", ".join(list(self._fields)[:12]) or "no input at all"
        raise BadRequest([(unknown[0][:100], f"there is no such input; expected {expected}")])

    def _is_table(self, width: int) -> bool:
        fields = list(self._fields.values())
        plain = all(not self.forms[field.name].dimensions for field in fields[:width])
        return 0 < width <= len(fields) and plain and not any(field.required for field in fields[width:])


def read_tensor(document: Any, place: str, blob: Any = None) -> Tensor:
    """A tensor from its JSON, its data from `blob` where that is not None. Raises BadRequest."""
    try:
        shape, datatype = document.get("shape"), document.get("datatype")
        if not isinstance(shape, list):
            raise ValueError("'shape' is not an array of numbers")
        checked = check_shape(shape)
        if not isinstance(datatype, str) or (datatype not in CODES and datatype != BYTES):
            raise ValueError(f"'datatype' is not one of {', '.join([*CODES, BYTES])}")
        if blob is not None:
            return Tensor.from_bytes(datatype, checked, blob)
        values = _flat(document.get("data"))
        if len(values) != math.prod(checked):
            raise ValueError(
                f"expected {math.prod(checked)} elements for the shape {shape[:8]}, got {len(values)}"
            )
        return Tensor(datatype, checked, [_plain(value, datatype) for value in values])
    except ValueError as error:
        raise BadRequest([(place, str(error)[:400])]) from error


def _flat(nested: Any) -> list[Any]:
    if not isinstance(nested, list):
        raise ValueError("'data' is not an array")
    data: list[Any] = nested
    for _ in range(_DEEPEST):
        if not any(isinstance(item, list) for item in data):
            return data
        if not all(isinstance(item, list) for item in data):
            raise ValueError("'data' has arrays beside values")
        data = [item for row in data for item in row]
    raise ValueError("'data' is nested too deeply")


def _plain(value: Any, datatype: str) -> Any:
    """An element of JSON data as one of `datatype`. Raises ValueError."""
    kind = type(value)
    if datatype == "BOOL":
        if kind is bool:
            return value
    elif datatype == BYTES:
        if kind is str:
            return value
    elif datatype.startswith("FP"):
        if (kind is float or kind is int) and abs(value) <= _LARGEST[datatype] and math.isfinite(value):
            number = float(value)
            if kind is float or int(number) == value:
                return number
    elif kind is int or (kind is float and value.is_integer()):
        bits = int(datatype.lstrip("UINT"))
        low, high = (0, (1 << bits) - 1) if datatype[0] == "U" else (-(1 << bits - 1), (1 << bits - 1) - 1)
        if low <= value <= high:
            return int(value)
    raise ValueError(f"expected elements of {datatype}, got {preview(value)}")


def _whole(kind: Kind, tensor: Tensor, name: str, problems: Problems) -> Any:
    path = (None, name)
    if tensor.datatype != BYTES:
        return array_value(kind, tensor, path, problems)
    item = kind.item
    if item is not None and item.media and all(isinstance(value, bytes) for value in tensor.values):
        return [
            item.read_bytes(value, "", (path, index), problems) for index, value in enumerate(tensor.values)
        ]
    if tensor.is_too_nested():
        problems.add(path, f"an array of {len(tensor.shape)} dimensions takes too much memory as lists")
        return None
    texts = Tensor(BYTES, tensor.shape, [_text(value, name) for value in tensor.values])
    return kind.read(texts.nested(), path, problems)


def _rows(tensor: Tensor, name: str, problems: Problems) -> list[Any]:
    shape = tensor.shape
    if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1) or 0 in shape:
        problems.add(
            (None, name), f"expected the shape [n] or [n, 1] for one value per row, got {list(shape)}"
        )
        return [None]
    check_count(math.prod(shape), name)
    return tensor.flat()


def _text(value: bytes | str, name: str) -> str:
    try:
        return value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError as error:
        raise BadRequest([(name, f"byte {error.start} of an element is not UTF-8")]) from error
