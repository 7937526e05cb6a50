"""JSON in, JSON out: a request's bytes to checked arguments, a result to bytes.

Requests are strict JSON (RFC 8259): no NaN, no infinities. Results are too: where a result holds NaN or an infinity, the
JSON says null, as JavaScript's and pandas' writers do, because JSON has no word for them.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections.abc import Sequence
from typing import Any, NoReturn

from corten_serve.protocols.interface import BadRequest, Problem, ResultError
from corten_serve.schema import arrays, dataframes, images, structs, validated
from corten_serve.schema.hints import enum_value
from corten_serve.schema.kinds import MOST_PROBLEMS
from corten_serve.schema.signature import Signature
from corten_serve.schema.texts import duration_text


def load(body: Any, field: str = "", status: int = 422) -> Any:
    """`body`, text or bytes in UTF-8, as strict JSON. Raises BadRequest for `field`, and nothing else."""
    try:
        if not isinstance(body, (bytes, str)):
            body = bytes(body)
        return _READ(
            body if isinstance(body, str) else body.decode(json.detect_encoding(body), "surrogatepass")
        )
    except json.JSONDecodeError as error:
        problem = f"{error.msg.lower()} at line {error.lineno}, column {error.colno}"
        raise BadRequest([(field, f"not JSON: {problem}")], status) from error
    except UnicodeDecodeError as error:
        raise BadRequest([(field, f"not JSON: byte {error.start} is not UTF-8")], status) from error
    except RecursionError as error:
        raise BadRequest([(field, "nested too deeply")], status) from error
    except ValueError as error:
        raise BadRequest([(field, f"not JSON: {error}")], status) from error


def decode(signature: Signature, body: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that a JSON object asks for. An empty body is an empty object. Raises BadRequest."""
    value = load(body) if body and (body[0] == 123 or bytes(body).strip()) else {}
    return bind(signature, value)


def bind(
    signature: Signature, value: Any, given: dict[str, Any] | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments in parsed JSON, beside those that are `given`. Raises BadRequest for what does not fit the types; what
    a validator of the project's own raises beside its validation errors passes through."""
    try:
        arguments, keywords, problems = signature.bind(value, given)
    except RecursionError as error:
        raise BadRequest([("", "nested too deeply")]) from error
    if problems.found:
        raise BadRequest(problems.found)
    return arguments, keywords


def encode(result: Any) -> bytes:
    """`result` as JSON in UTF-8. Raises ResultError for what has no form in JSON."""
    try:
        text = _FAST(result)
    except (ValueError, TypeError):
        # NaN, keys that are not strings, or something that has no form: go through it piece by piece.
        try:
            text = _FAST(_plain(result, "the result"))
        except RecursionError as error:
            raise ResultError("the result contains itself") from error
    except RecursionError as error:
        raise ResultError("the result is nested too deeply") from error
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text)).encode()


def problems_text(problems: Sequence[Problem]) -> str:
    """The problems as one sentence for people."""
    shown = problems[:MOST_PROBLEMS]
    lines = [f"{field}: {message}" if field else message for field, message in shown]
    return "; ".join(lines[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")


def error_body(message: str, problems: Sequence[Problem] = ()) -> bytes:
    """The body of an error: one sentence for people in `error` (made of the problems where `message` is empty), every
    problem apart in `problems`."""
    document: dict[str, Any] = {"error": message or problems_text(problems)}
    if problems:
        shown = problems[:MOST_PROBLEMS]
        document["problems"] = [{"field": field, "message": text} for field, text in shown]
    if len(problems) > MOST_PROBLEMS:
        document["truncated"] = True
    return json.dumps(document).encode()


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _simple(value: Any) -> Any:
    """One step towards JSON for a value that the encoder does not know. Raises TypeError."""
    if isinstance(value, enum.Enum):
        return enum_value(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    fields = class_fields(value)
    if fields is not None:
        return fields
    image = images.data_url(value)
    if image is not None:
        return image
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, pandas series, tensors
        if dataframes.is_column(type(value)):
            return dataframes.labelled(value, _key)
        return arrays.plain(value) if hasattr(getattr(value, "dtype", None), "names") else value.tolist()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if dataframes.is_missing(value):
        return None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return duration_text(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if (
        isinstance(value, (uuid.UUID, decimal.Decimal, pathlib.PurePath))
        or type(value).__module__ == "ipaddress"
    ):
        return str(value)
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # pandas data frames
        return dataframes.records(value)
    if hasattr(value, "keys") and hasattr(value, "__getitem__"):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118 (a mapping need not be iterable)
    if hasattr(value, "__iter__") and hasattr(value, "__len__"):
        return list(value)
    raise TypeError(type(value).__name__)


def class_fields(value: Any) -> Any:
    """The fields of a value of a pydantic model, an attrs class or a msgspec struct; None for any other value."""
    if hasattr(value, "__attrs_attrs__") and not isinstance(value, type):
        names = ((each.name, getattr(each, "alias", None) or each.name) for each in value.__attrs_attrs__)
        return {alias: getattr(value, name) for name, alias in names}
    found = validated.dumped(value)
    return structs.written(value, _simple) if found is None else found


def _plain(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return enum_value(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item, place) for item in value]
    if isinstance(value, dict):
        return {_key(key): _plain(item, f"'{_key(key)}' in {place}"[:200]) for key, item in value.items()}
    try:
        return _plain(_simple(value), place)
    except TypeError as error:
        kind = type(value)
        raise ResultError(
            f"{place} is of the type '{kind.__module__}.{kind.__qualname__}', which JSON cannot express"
        ) from error


def _key(key: Any) -> str:
    if isinstance(key, str) and not isinstance(key, enum.Enum):
        return key
    if isinstance(key, tuple):
        return ",".join(_key(part) for part in key)
    try:
        key = enum_value(key) if isinstance(key, enum.Enum) else key
        key = key.item() if hasattr(key, "item") else key
        return key if isinstance(key, str) else json.dumps(key, default=_simple).strip('"')
    except TypeError as error:
        raise ResultError(f"a key of the type '{type(key).__qualname__}' cannot be a JSON key") from error


_READ = json.JSONDecoder(parse_constant=_constant).decode
"""`json.loads` makes a decoder for each call that has a `parse_constant`."""
_FAST = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_simple).encode
