"""Type hints → kinds. What has no form in JSON is an error at start, before any request, that names the parameter."""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import enum
import re
import sys
import typing
from typing import Any

from corten_serve.schema import arrays, dataframes, images, structs, time_arrays, validated
from corten_serve.schema.compounds import Either, Fixed, Several, Table
from corten_serve.schema.constraints import BadRule, Said, annotated
from corten_serve.schema.kinds import Alias, Anything, Choice, Kind, Schema, Text, UnknownHint
from corten_serve.schema.members import MISSING, Members, hints_of, is_named_tuple, members, substituted
from corten_serve.schema.newer_typing import Annotated, get_args, get_origin, get_type_hints
from corten_serve.schema.records import Field, Record
from corten_serve.schema.texts import PLAIN, address, duration_text, whole

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


class Hints:
    """Reads type hints, and collects the named definitions (dataclasses, typed dictionaries, models) on the way."""

    def __init__(self) -> None:
        self._kinds: dict[Any, Kind] = {}
        self._named: dict[str, Any] = {}
        self._scope: dict[str, Any] = {}

    def definitions(self) -> dict[str, Schema]:
        """The schemas that references point at, by name."""
        result: dict[str, Schema] = {}
        for name, kind in list(self._named.items()):
            if isinstance(kind, (validated.Model, structs.Struct)):
                result.update(kind.definitions())
            else:
                result[name] = kind.definition()
        return result

    def within(self, subject: Any) -> None:
        """Hints that hold names in strings are read in the module of `subject` from here on."""
        module = sys.modules.get(getattr(subject, "__module__", "") or "")
        self._scope = getattr(subject, "__globals__", None) or vars(module or typing)

    def kind(self, hint: Any) -> Kind:
        """The kind that `hint` stands for. Raises UnknownHint."""
        scalar = PLAIN.get(hint) if _hashable(hint) else None
        if scalar is not None:
            return scalar
        if isinstance(hint, (str, typing.ForwardRef)):
            name = hint if isinstance(hint, str) else hint.__forward_arg__
            return self._aliased(("name", id(self._scope), name), name, self._evaluated(name))
        alias = _alias(hint)
        if alias is not None:
            return self._aliased(hint, *alias)
        unwrapped = _unwrap(hint)
        if unwrapped is not hint:
            return self.kind(unwrapped)
        origin = get_origin(hint)
        if origin is not None:
            return self._generic(hint, origin, get_args(hint))
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
        if origin is Annotated:
            return annotated(self.kind(args[0]), args[1:])
        if origin is typing.Literal:
            return Choice([(value, value) for value in _literals(args)])
        if origin is typing.Union or getattr(origin, "__name__", "") == "UnionType":
            return Either([self.kind(arg) for arg in args])
        if arrays.is_array(origin):
            return time_arrays.array(args) or arrays.Array(args)
        if origin is tuple:
            if len(args) == 2 and args[1] is Ellipsis:
                return Several(self.kind(args[0]), tuple)
            return Fixed([] if args == ((),) else [self.kind(arg) for arg in args])
        if origin in _ARRAYS:
            return Several(self.kind(args[0]), _ARRAYS[origin])
        if origin in _OBJECTS:
            return Table(self.kind(args[1]), self._key(args[0]))
        if isinstance(origin, type):
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

    def _evaluated(self, name: str) -> Any:
        """What a name in a hint stands for, in the module that the hint is in."""

        def named() -> None: ...

        named.__annotations__ = {"x": name}
        try:
            return get_type_hints(named, globalns=self._scope)["x"]
        except Exception as error:
            raise UnknownHint(f"the name '{name}' in a type hint cannot be resolved: {error}") from error

    def _aliased(self, key: Any, name: str, value: Any) -> Kind:
        """The kind of a named type. It is an Alias only where the type holds itself."""
        known = self._kinds.get(key)
        if isinstance(known, Alias) and known.reference is None:
            known.reference = self._free_name(name)
            self._named[known.reference] = known
        if known is not None:
            return known
        alias = self._kinds[key] = Alias(name)
        inner = self.kind(value)
        if alias.reference is None:
            self._kinds[key] = inner
            return inner
        if _is_bare(inner, alias):
            raise UnknownHint(f"the type '{name}' is made of nothing but itself")
        alias.close(inner)
        return alias

    def _class(self, hint: Any) -> Kind:
        known = self._kinds.get(hint)
        if known is not None:
            return known
        cls: Any = get_origin(hint) or hint
        special = _special(cls)
        if special is not None:
            return special
        if validated.is_model(hint):
            return self._model(hint)
        if structs.is_struct(cls):
            struct = structs.Struct(hint, self.kind)
            self._kinds[hint] = self._named[name_of(hint)] = struct
            return struct
        if issubclass(cls, enum.Enum):
            return Choice([(enum_value(member), member) for member in cls], title=cls.__name__)
        fields = members(hint)
        if fields is not None:
            return self._record(hint, cls, fields)
        if is_named_tuple(cls):
            hints = hints_of(cls, get_args(hint))
            kinds = [self.kind(hints.get(name, Any)) for name in cls._fields]
            spare = len(getattr(cls, "_field_defaults", ()))
            return Fixed(kinds, lambda values: cls(*values), cls._fields, cls.__name__, spare)
        raise UnknownHint(f"the type '{name_of(hint)}' cannot be read from JSON")

    def _model(self, cls: Any) -> Kind:
        model = validated.Model(cls)
        self._kinds[cls] = self._named[model.reference] = model
        scope = self._scope
        self.within(cls)
        for name, hint in validated.foreign(cls, _is_foreign).items():
            model.readers[name] = self.kind(hint)
        self._scope = scope
        return model

    def _free_name(self, wanted: str) -> str:
        """`wanted` as a name among the shared schemas that nothing else has."""
        wanted = re.sub(r"[^\w.-]", "_", wanted, flags=re.ASCII)
        name, number = wanted, 2
        while name in self._named or name in RESERVED:
            name, number = f"{wanted}{number}", number + 1
        return name

    def _record(self, hint: Any, cls: Any, found: Members) -> Kind:
        document = (cls.__doc__ or "").strip()
        generated = (
            document.startswith((f"{cls.__name__}(", "Method generated by attrs"))
            or (found.build is None and document.startswith("dict()"))
            or (get_origin(hint) is not None and document == typing.Generic.__doc__)
        )
        title = cls.__name__
        if get_origin(hint) is not None:
            title += f"[{', '.join(map(_short_name, get_args(hint)))}]"
        record = Record(found.build, title=title, description=None if generated else document or None)
        self._kinds[hint] = record
        name = self._free_name(title)
        self._named[name] = record
        record.reference = name
        scope = self._scope
        self.within(cls)
        # A class can refer to itself, so it is known by now; its fields follow.
        record.fields = [
            self.field(name, each, required, default, f"of field '{name}' of '{cls.__name__}'")
            for name, each, required, default in found.fields
        ]
        self._scope = scope
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
                "TypedDict, attrs, msgspec, files, images, NumPy arrays, pandas frames or pydantic models",
            ) from error
        if default is not MISSING:
            plain = _as_default(default)
            if plain is not MISSING:
                return Field(name, kind, required, plain, has_default=True)
        return Field(name, kind, required)


RESERVED = {"PredictRequest", "Error"}
"""Names of the shared schemas that the server itself defines."""


def name_of(hint: Any) -> str:
    """A type hint as people write it."""
    if isinstance(hint, type) and get_origin(hint) is None:
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
        elif str(get_origin(hint)).endswith(("typing.Required", "typing.NotRequired", "typing.ReadOnly")):
            hint = get_args(hint)[0]
        elif isinstance(hint, typing.TypeVar):
            options = hint.__constraints__
            hint = hint.__bound__ or (typing.Union[options] if options else Any)  # noqa: UP007 (Python 3.9)
        else:
            return hint


def _alias(hint: Any) -> tuple[str, Any] | None:
    """Name and value of `type X = …` (also from typing_extensions), with its arguments put in; None for other hints."""
    origin = get_origin(hint)
    named = hint if type(hint).__name__ == "TypeAliasType" else origin
    if type(named).__name__ != "TypeAliasType":
        return None
    value = named.__value__
    args = get_args(hint) if named is origin else ()
    if args:
        value = substituted(value, dict(zip(named.__type_params__, args)))  # noqa: B905 (no `strict` in Python 3.9)
    return named.__name__ + "".join(f"_{_short_name(each)}" for each in args), value


def _is_bare(kind: Any, alias: Alias) -> bool:
    """Whether `kind` is `alias` with nothing in between that a value would be nested in."""
    if isinstance(kind, Either):
        return any(_is_bare(option, alias) for option in kind.options)
    return kind is alias or (isinstance(kind, Said) and _is_bare(kind.inner, alias))


def _special(cls: Any) -> Kind | None:
    """The kind of a class of the standard library's or of a library for data; None for any other."""
    if arrays.is_array(cls):
        return arrays.Array(())
    if arrays.is_scalar(cls):
        return time_arrays.scalar(cls) or arrays.scalar(cls)
    if images.is_image(cls):
        return images.Image()
    if dataframes.is_frame(cls):
        return dataframes.Frame()
    if dataframes.is_column(cls):
        return dataframes.Column()
    if getattr(cls, "__module__", "")[:3] == "cog":
        from corten_serve.schema import cog_types

        found = cog_types.kind_of(cls)
        if found is not None:
            return found
    return dataframes.moment(cls) or address(cls)


def _is_foreign(cls: Any) -> bool:
    """Whether pydantic takes only objects of this class, and no JSON that stands for one."""
    if not isinstance(cls, type) or hasattr(cls, "__get_pydantic_core_schema__"):
        return False
    return _special(cls) is not None and address(cls) is None


def _short_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else name_of(hint)


def _literals(args: tuple[Any, ...]) -> list[Any]:
    for value in args:
        if isinstance(value, (bytes, enum.Enum)):
            raise UnknownHint(f"the literal {value!r} cannot be read from JSON")
    return list(args)


def _as_default(value: Any) -> Any:
    """`value` as JSON, or MISSING where it has no plain form that is worth showing."""
    if isinstance(value, enum.Enum):
        return enum_value(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) < float("inf") else MISSING
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_as_default(item) for item in value]
        return MISSING if any(item is MISSING for item in items) else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        table = {key: _as_default(item) for key, item in value.items()}
        return MISSING if any(item is MISSING for item in table.values()) else table
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return duration_text(value)
    if isinstance(value, decimal.Decimal) or type(value).__module__ == "ipaddress":
        return str(value)
    return MISSING


def _hashable(hint: Any) -> bool:
    try:
        hash(hint)
    except TypeError:
        return False
    return True
