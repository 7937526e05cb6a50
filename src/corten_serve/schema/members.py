"""The fields of classes: dataclasses, typed dictionaries, attrs classes and named tuples, generic or not."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from corten_serve.errors import PredictorError
from corten_serve.schema.newer_typing import get_type_hints

MISSING = dataclasses.MISSING


class Member(NamedTuple):
    """One field: its name in JSON, its hint, whether it has to be there, and its default (MISSING where there is none)."""

    name: str
    hint: Any
    required: bool
    default: Any


class Members(NamedTuple):
    """The fields of one class, and what makes a value of a dictionary of them (None: the dictionary is the value)."""

    fields: list[Member]
    build: Callable[..., Any] | None


def members(hint: Any) -> Members | None:
    """The fields of a dataclass, a typed dictionary or an attrs class, also of a generic one with its arguments
    (`Box[int]`); None for others. Raises PredictorError."""
    cls = typing.get_origin(hint) or hint
    if not isinstance(cls, type):
        return None
    args = typing.get_args(hint)
    if dataclasses.is_dataclass(cls):
        return Members(_dataclass(cls, args), cls)
    if hasattr(cls, "__attrs_attrs__"):
        return Members(_attrs(cls, args), cls)
    if issubclass(cls, dict) and hasattr(cls, "__total__"):
        return Members(_typed_dict(cls, args), None)
    return None


def is_named_tuple(cls: Any) -> bool:
    """Whether `cls` is a class of named tuples."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def resolved(subject: Any) -> dict[str, Any]:
    """The type hints of a function or class, with string annotations evaluated. Raises PredictorError."""
    try:
        return get_type_hints(subject)
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


def hints_of(cls: type, args: Sequence[Any] = ()) -> dict[str, Any]:
    """The hints of a class's fields, with type variables replaced by the arguments that the class, or a class that it
    inherits from, was given for them."""
    hints = resolved(cls)
    owners = _arguments(cls, args)
    if not any(owners.values()):
        return hints
    everywhere = {variable: value for each in reversed(owners.values()) for variable, value in each.items()}
    for name, hint in hints.items():
        owner = next((base for base in cls.__mro__ if name in _own_annotations(base)), cls)
        # A typed dictionary does not say which of its bases a field comes from.
        hints[name] = substituted(hint, everywhere if issubclass(cls, dict) else owners.get(owner, {}))
    return hints


def substituted(hint: Any, known: dict[Any, Any]) -> Any:
    """`hint` with the type variables in `known` replaced."""
    if isinstance(hint, typing.TypeVar):
        return known.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or typing.get_origin(hint) is None:
        return hint
    return hint[tuple(known.get(each, each) for each in parameters)]


def _arguments(cls: type, args: Sequence[Any]) -> dict[type, dict[Any, Any]]:
    """Each generic class among the bases of `cls` → what stands for its type variables."""
    found: dict[type, dict[Any, Any]] = {}

    def visit(origin: Any, given: Sequence[Any]) -> None:
        known = dict(zip(getattr(origin, "__parameters__", ()), given))  # noqa: B905 (no `strict` in Python 3.9)
        found.setdefault(origin, known)
        generic = vars(origin).get("__orig_bases__", ())
        for base in generic:
            inner = typing.get_origin(base)
            if isinstance(inner, type) and inner is not typing.Generic:
                visit(inner, [substituted(each, known) for each in typing.get_args(base)])
        for base in () if generic else origin.__bases__:
            if base is not object:
                visit(base, ())

    visit(cls, args)
    return found


def _own_annotations(cls: type) -> Any:
    own = vars(cls).get("__annotations__")
    if own is None and hasattr(inspect, "get_annotations"):
        try:
            return inspect.get_annotations(cls)
        except NameError:
            return ()
    return own or ()


def _dataclass(cls: Any, args: Sequence[Any]) -> list[Member]:
    hints = hints_of(cls, args)
    result = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory() if field.default_factory in (list, dict, set, tuple) else None
            result.append(
                Member(field.name, hints[field.name], False, MISSING if default is None else default)
            )
        else:
            result.append(Member(field.name, hints[field.name], default is MISSING, default))
    return result


def _attrs(cls: Any, args: Sequence[Any]) -> list[Member]:
    """The arguments of an attrs class. A private field goes by the name that its `__init__` takes; a converter reads what its
    own hint says, or anything."""
    hints = hints_of(cls, args)
    result = []
    for attribute in cls.__attrs_attrs__:
        if not attribute.init:
            continue
        name = getattr(attribute, "alias", None) or attribute.name.lstrip("_")
        hint = hints.get(attribute.name, Any)
        if attribute.converter is not None:
            hint = _taken(attribute.converter)
        default = attribute.default
        required = type(default).__name__ == "_Nothing" or getattr(default, "name", "") == "NOTHING"
        if required or hasattr(default, "factory"):
            factory = getattr(default, "factory", None)
            default = factory() if factory in (list, dict, set, tuple) else MISSING
        result.append(Member(name, hint, required, default))
    return result


def _taken(converter: Any) -> Any:
    """The hint of what a converter takes; Any where it has none that can be told."""
    try:
        parameters = list(inspect.signature(converter).parameters.values())
        hint = typing.get_type_hints(converter).get(parameters[0].name, Any) if parameters else Any
    except (TypeError, ValueError, NameError):
        return Any
    return Any if isinstance(hint, typing.TypeVar) else hint


def _typed_dict(cls: Any, args: Sequence[Any]) -> list[Member]:
    required = getattr(cls, "__required_keys__", frozenset(cls.__annotations__ if cls.__total__ else ()))
    result = []
    for name, hint in hints_of(cls, args).items():
        # `__required_keys__` misses the markers where annotations are strings; the resolved hint has them.
        marker = str(typing.get_origin(hint))
        needed = (name in required and not marker.endswith(".NotRequired")) or marker.endswith(".Required")
        result.append(Member(name, hint, needed, MISSING))
    return result
