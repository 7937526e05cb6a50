"""Type hints → kinds. What has no form in JSON is an error at start, before any request, that names the parameter."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import typing
from typing import Any

from corten_serve.errors import PredictorError
from corten_serve.schema import arrays, dataframes, images, validated
from corten_serve.schema.compounds import Either, Fixed, Several, Table
from corten_serve.schema.constraints import BadRule, annotated
from corten_serve.schema.kinds import Anything, Choice, Kind, Schema, Text
from corten_serve.schema.records import Field, Record
from corten_serve.schema.texts import PLAIN, whole

_MISSING = dataclasses.MISSING
_ARRAYS: dict[Any, Any] = {
    list: None,
    collections.abc.Sequence: None,
    collections.abc.Iterable: None,
    collections.abc.Collection: None,
    collections.abc.MutableSequence: None,
    set: set,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_OBJECTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping, collections.OrderedDict)


class UnknownHint(PredictorError):
    """A type hint has no form in JSON."""


class Hints:
    """Reads type hints, and collects the named definitions (dataclasses, typed dictionaries, models) on the way."""

    def __init__(self) -> None:
        self._kinds: dict[Any, Kind] = {}
        self._named: dict[str, Any] = {}

    def definitions(self) -> dict[str, Schema]:
        """The schemas that references point at, by name."""
        result: dict[str, Schema] = {}
        for name, kind in self._named.items():
            if isinstance(kind, validated.Model):
                result.update(kind.definitions())
            else:
                result[name] = kind.definition()
        return result

    def kind(self, hint: Any) -> Kind:
        """The kind that `hint` stands for. Raises UnknownHint."""
        scalar = PLAIN.get(hint) if _hashable(hint) else None
        if scalar is not None:
            return scalar
        hint = _unwrap(hint)
        origin = typing.get_origin(hint)
        if origin is not None:
            return self._generic(hint, origin, typing.get_args(hint))
        scalar = PLAIN.get(hint) if _hashable(hint) else None
        if scalar is not None:
            return scalar
        if hint in _ARRAYS:
            return Several(Anything(), _ARRAYS[hint])
        if hint is tuple:
            return Several(Anything(), tuple)
        if hint in _OBJECTS:
            return Table(Anything())
        if isinstance(hint, type):
            return self._class(hint)
        raise UnknownHint(f"the type '{name_of(hint)}' cannot be read from JSON")

    def _generic(self, hint: Any, origin: Any, args: tuple[Any, ...]) -> Kind:
        if origin is typing.Annotated:
            return annotated(self.kind(args[0]), args[1:])
        if origin is typing.Literal:
            return Choice([(value, value) for value in _literals(args)])
        if origin is typing.Union or getattr(origin, "__name__", "") == "UnionType":
            return Either([self.kind(arg) for arg in args])
        if arrays.is_array(origin):
            return arrays.Array(args)
        if origin is tuple:
            if len(args) == 2 and args[1] is Ellipsis:
                return Several(self.kind(args[0]), tuple)
            return Fixed([] if args == ((),) else [self.kind(arg) for arg in args])
        if origin in _ARRAYS:
            return Several(self.kind(args[0]), _ARRAYS[origin])
        if origin in _OBJECTS:
            return Table(self.kind(args[1]), self._key(args[0]))
        if isinstance(origin, type) and validated.is_model(hint):
            return self._class(hint)
        raise UnknownHint(f"the type '{name_of(hint)}' cannot be read from JSON")

    def _key(self, hint: Any) -> Kind | None:
        if hint in (str, Any):
            return None
        if hint is int:
            return Text("a whole number in a string", {"pattern": "^-?[0-9]{1,18}$"}, whole)
        kind = self.kind(hint)
        if not kind.forms <= {"string"} or kind.media:
            raise UnknownHint(f"an object's keys cannot be of the type '{name_of(hint)}'")
        return kind

    def _class(self, cls: Any) -> Kind:
        known = self._kinds.get(cls)
        if known is not None:
            return known
        if arrays.is_array(cls):
            return arrays.Array(())
        if arrays.is_scalar(cls):
            return arrays.Scalar(cls)
        if images.is_image(cls):
            return images.Image()
        if dataframes.is_frame(cls):
            return dataframes.Frame()
        if dataframes.is_column(cls):
            return dataframes.Column()
        if validated.is_model(cls):
            model = validated.Model(cls)
            self._kinds[cls] = self._named[cls.__name__] = model
            return model
        if issubclass(cls, enum.Enum):
            return Choice([(enum_value(member), member) for member in cls], title=cls.__name__)
        if dataclasses.is_dataclass(cls):
            return self._record(cls, _dataclass_fields(cls), cls)
        if issubclass(cls, dict) and hasattr(cls, "__total__"):
            return self._record(cls, _typed_dict_fields(cls), None)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            hints = resolved(cls)
            kinds = [self.kind(hints.get(name, Any)) for name in cls._fields]
            return Fixed(kinds, lambda values: cls(*values), cls._fields, title=cls.__name__)
        raise UnknownHint(f"the type '{name_of(cls)}' cannot be read from JSON")

    def _record(self, cls: Any, fields: list[tuple[str, Any, bool, Any]], build: Any) -> Kind:
        document = (cls.__doc__ or "").strip()
        generated = document.startswith(f"{cls.__name__}(") or (
            build is None and document.startswith("dict()")
        )
        record = Record(build, title=cls.__name__, description=None if generated else document or None)
        self._kinds[cls] = record
        name, number = cls.__name__, 2
        while name in self._named or name in RESERVED:
            name, number = f"{cls.__name__}{number}", number + 1
        self._named[name] = record
        record.reference = name
        # A class can refer to itself, so it is known by now; its fields follow.
        record.fields = [
            self.field(name, hint, required, default, f"of field '{name}' of '{cls.__name__}'")
            for name, hint, required, default in fields
        ]
        return record

    def field(self, name: str, hint: Any, required: bool, default: Any, where: str) -> Field:
        """A field of a record. `default` is `dataclasses.MISSING` where there is none; `where` is for the message."""
        try:
            kind = self.kind(hint)
        except (UnknownHint, BadRule) as error:
            raise UnknownHint(
                f"{error.message} ({where})",
                hint=error.hint or "use a constraint that fits the type"
                if isinstance(error, BadRule)
                else "use numbers, strings, bool, bytes, datetime, lists, dicts, Literal, Enum, dataclasses, "
                "TypedDict, files, images, NumPy arrays, pandas frames or pydantic models",
            ) from error
        if default is not _MISSING:
            plain = _as_default(default)
            if plain is not _MISSING:
                return Field(name, kind, required, plain, has_default=True)
        return Field(name, kind, required)


RESERVED = {"PredictRequest", "Error"}
"""Names of the shared schemas that the server itself defines."""


def members(hint: Any) -> list[tuple[str, Any, bool, Any]] | None:
    """The fields of a dataclass or typed dictionary as (name, hint, whether required, default or MISSING); None for others."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass_fields(hint)
    if isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__total__"):
        return _typed_dict_fields(hint)
    return None


def resolved(subject: Any) -> dict[str, Any]:
    """The type hints of a function or class, with string annotations evaluated. Raises PredictorError."""
    try:
        return typing.get_type_hints(subject, include_extras=True)
    except NameError as error:
        raise PredictorError(
            f"a type hint of '{getattr(subject, '__qualname__', subject)}' cannot be resolved: {error}",
            hint="define or import the name at the top of the module, not only for type checkers",
        ) from error
    except TypeError as error:
        raise PredictorError(
            f"a type hint of '{getattr(subject, '__qualname__', subject)}' cannot be evaluated: {error}",
            hint="'X | Y' needs Python 3.10; write 'Optional[X]' or 'Union[X, Y]' for older versions",
        ) from error


def name_of(hint: Any) -> str:
    """A type hint as people write it."""
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        module = hint.__module__
        return hint.__qualname__ if module in ("builtins", "__main__") else f"{module}.{hint.__qualname__}"
    return str(hint).replace("typing.", "")


def enum_value(member: enum.Enum) -> Any:
    """How an enum's member is written in JSON: its value, or its name where the value has no form of its own."""
    value = member.value
    if isinstance(value, (str, int, bool)) and not isinstance(value, enum.Enum):
        return value
    return value if type(value) is float and value == value and abs(value) < float("inf") else member.name


def _unwrap(hint: Any) -> Any:
    while True:
        if hasattr(hint, "__supertype__"):  # NewType
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # `type X = …`
            hint = hint.__value__
        elif str(typing.get_origin(hint)).endswith(
            ("typing.Required", "typing.NotRequired", "typing.ReadOnly")
        ):
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, typing.TypeVar):
            hint = hint.__bound__ or Any
        else:
            return hint


def _literals(args: tuple[Any, ...]) -> list[Any]:
    for value in args:
        if isinstance(value, (bytes, enum.Enum)):
            raise UnknownHint(f"the literal {value!r} cannot be read from JSON")
    return list(args)


def _dataclass_fields(cls: Any) -> list[tuple[str, Any, bool, Any]]:
    hints = resolved(cls)
    result = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default = field.default
        if default is _MISSING and field.default_factory is not _MISSING:
            default = field.default_factory() if field.default_factory in (list, dict, set, tuple) else None
            result.append((field.name, hints[field.name], False, _MISSING if default is None else default))
        else:
            result.append((field.name, hints[field.name], default is _MISSING, default))
    return result


def _typed_dict_fields(cls: Any) -> list[tuple[str, Any, bool, Any]]:
    required = getattr(cls, "__required_keys__", frozenset(cls.__annotations__ if cls.__total__ else ()))
    result = []
    for name, hint in resolved(cls).items():
        # `__required_keys__` misses the markers where annotations are strings; the resolved hint has them.
        marker = str(typing.get_origin(hint))
        needed = (name in required and not marker.endswith(".NotRequired")) or marker.endswith(".Required")
        result.append((name, hint, needed, _MISSING))
    return result


def _as_default(value: Any) -> Any:
    """`value` as JSON, or MISSING where it has no plain form that is worth showing."""
    if isinstance(value, enum.Enum):
        return enum_value(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) < float("inf") else _MISSING
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_as_default(item) for item in value]
        return _MISSING if any(item is _MISSING for item in items) else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        table = {key: _as_default(item) for key, item in value.items()}
        return _MISSING if any(item is _MISSING for item in table.values()) else table
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return _MISSING


def _hashable(hint: Any) -> bool:
    try:
        hash(hint)
    except TypeError:
        return False
    return True
