"""The parameters and the result of a predictor, from its signature."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corten_serve.errors import PredictorError
from corten_serve.schema.hints import Hints, name_of
from corten_serve.schema.kinds import Anything, Kind, Problems, Schema
from corten_serve.schema.members import members, resolved
from corten_serve.schema.records import Field, Record

_AWAITABLES = (collections.abc.Awaitable, collections.abc.Coroutine)
_STREAMS = (
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
)
_ITERABLES = (collections.abc.Iterable, collections.abc.AsyncIterable)
_NO_DEFAULT = dataclasses.MISSING
_LEFT_OUT = object()
"""The default of a field that may be left out and has none; no schema can show it."""


class Signature:
    """What `call` takes and returns. Making one reads the hints once; reading requests is then plain function calls."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._hints = Hints()
        self.batch = False
        """Whether several requests may be answered at once; `item` is then defined."""
        self._item: Callable[[list[Any], dict[str, Any]], Any] | None = None
        self._whole = False
        """Whether a request becomes one argument, made of all its fields."""
        self._positional: list[tuple[str, Any]] = []
        fields: list[Field] = []
        extra: Kind | None = None
        parameters, returned = _parameters(call)
        self._hints.within(_hinted(call._function if isinstance(call, Described) else call))
        for name, hint, default, kind in parameters:
            field = self._hints.field(name, hint, default is _NO_DEFAULT, default, f"of parameter '{name}'")
            if kind is inspect.Parameter.VAR_KEYWORD:
                extra = field.kind
                continue
            if kind is inspect.Parameter.POSITIONAL_ONLY:
                self._positional.append((name, default))
            fields.append(field)
        self.request = Record(fields=fields, extra=extra)
        self._describe(call, returned)

    def _describe(self, call: Any, hint: Any) -> None:
        """What is known from the hint of the result, for a function that may yield its result in pieces."""
        streams, hint = _streamed(call, hint)
        self.streams = streams
        """Whether the result comes in pieces, one after the other. `returns` and `result` are then those of one piece."""
        self.returns = _returned(self._hints, hint)
        """The kind of the result; its `encode` makes bytes of results that are not JSON."""
        self.result = self.returns.written()
        """The schema of the result."""
        self._definitions = self._hints.definitions()

    @classmethod
    def from_batch(cls, batch: Callable[..., Any], predict: Callable[..., Any] | None = None) -> Signature:
        """The signature of one request where `batch`, a function of one list, answers several at once.

        With `predict`, its parameters are those of a request. Without, `batch`'s hint `list[X]` says what one is: the fields of a
        dataclass or a typed dictionary, else one field that is named as the parameter is, in the singular (`texts` → `text`).
        `item` makes what `batch` gets a list of. Raises PredictorError."""
        name, item, returned = _batch_hints(batch)
        found = members(item)
        fields = None if found is None else found.fields
        if predict is not None:
            signature = cls(predict)
            names = [field.name for field in signature.request.fields]
            if fields is not None and len(names) != 1 and {field[0] for field in fields} != set(names):
                raise PredictorError(
                    f"the items of 'predict_batch' are of the type '{name_of(item)}', whose fields are not the "
                    f"parameters of 'predict'",
                    hint=f"name its fields {', '.join(names)}",
                )
            signature._item = _gathering(predict, (found and found.build) or dict)
        else:
            one = [(singular(name), item, True, _NO_DEFAULT)]
            signature = cls(Described(batch, one if fields is None else fields, returned))
            signature._item = _first
            if fields is not None:
                signature.request = Record(found and found.build, signature.request.fields)
                signature._whole = True
        signature.batch = True
        return signature

    def item(self, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """One item of a batch, from what `bind` gave for one request: the only parameter's value, or a value of the item's own
        type where that has fields, or a dictionary of all parameters with their defaults."""
        if self._item is None:
            raise TypeError("not made by from_batch")
        return self._item(arguments, keywords)

    def definitions(self) -> dict[str, Schema]:
        """The shared schemas of parameters and result, by name."""
        return self._definitions

    def bind(
        self, value: Any, given: Mapping[str, Any] | None = None
    ) -> tuple[list[Any], dict[str, Any], Problems]:
        """Positional and keyword arguments for a parsed request, or the problems with it. `given` are arguments that
        came as bytes and are Python values already."""
        problems = Problems()
        keywords = self.request.read_beside(value, given, None, problems)
        if problems.found or not self._positional:
            return ([keywords], {}, problems) if self._whole else ([], keywords, problems)
        return [keywords.pop(name, default) for name, default in self._positional], keywords, problems


class Described:
    """A function whose parameters are told and not declared: the inputs of a model, whose names need be no identifiers. It
    is called with keywords. `fields` are (name, hint, whether required, default)."""

    def __init__(
        self,
        function: Callable[..., Any],
        fields: Sequence[tuple[str, Any, bool, Any]],
        returned: Any,
        about: str = "",
    ) -> None:
        self._function = function
        self.fields = fields
        self.returned = returned
        self.__doc__ = about

    def __call__(self, **keywords: Any) -> Any:
        return self._function(**keywords)


def _parameters(call: Any) -> tuple[list[tuple[str, Any, Any, Any]], Any]:
    """Name, hint, default (MISSING for none) and kind of each parameter; and the hint of the result."""
    if isinstance(call, Described):
        told = [
            (name, hint, _NO_DEFAULT if needed else _LEFT_OUT if default is _NO_DEFAULT else default, None)
            for name, hint, needed, default in call.fields
        ]
        return told, call.returned
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (ValueError, TypeError) as error:
        raise PredictorError(
            f"the parameters of '{name_of(call)}' cannot be found out",
            hint="wrap it in a function of your own with type hints",
        ) from error
    hints = resolved(_hinted(call))
    found: list[tuple[str, Any, Any, Any]] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise PredictorError(
                f"'predict' takes '*{parameter.name}', which a JSON object has no names for",
                hint=f"take a list instead: '{parameter.name}: list[…]'",
            )
        default = _NO_DEFAULT if parameter.default is parameter.empty else parameter.default
        if type(default).__name__ in ("Field", "FieldInfo"):
            raise PredictorError(
                f"the default of parameter '{parameter.name}' is 'Field(…)', which is no value",
                hint=f"write '{parameter.name}: Annotated[…, Field(…)]', and the default after it",
            )
        found.append((parameter.name, hints.get(parameter.name, Any), default, parameter.kind))
    return found, hints.get("return", Any)


def _hinted(call: Any) -> Any:
    """What carries the annotations: the function behind a method, a partial, a decorator or a callable object."""
    call = inspect.unwrap(call)
    if hasattr(call, "func") and hasattr(call, "keywords"):
        return _hinted(call.func)
    if inspect.ismethod(call):
        return _hinted(call.__func__)
    if not inspect.isroutine(call) and not inspect.isclass(call):
        return type(call).__call__
    return call


def _returned(hints: Hints, hint: Any) -> Kind:
    """The kind of the answer. A result is documented, not enforced, so a hint without a kind is no error."""
    try:
        return hints.kind(hint)
    except PredictorError:
        return Anything()


def _streamed(call: Any, hint: Any) -> tuple[bool, Any]:
    """Whether `call` gives its result in pieces, and the hint of the result or of one piece."""
    hinted = _hinted(call)
    yields = inspect.isgeneratorfunction(hinted) or inspect.isasyncgenfunction(hinted)
    origin = typing.get_origin(hint) or hint
    args = typing.get_args(hint)
    if origin in _AWAITABLES:
        return _streamed(call, args[-1] if args else Any)
    if origin in _STREAMS or (yields and origin in _ITERABLES):
        return True, args[0] if args else Any
    return yields, Any if yields else hint


def singular(name: str) -> str:
    """A parameter's name for one of its items, as far as its ending tells: `texts` → `text`, `boxes` → `box`."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if name.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)] + instead
    return name[:-1] if name.endswith("s") and not name.endswith("ss") and len(name) > 1 else name


def _batch_hints(batch: Callable[..., Any]) -> tuple[str, Any, Any]:
    """The name of a batch function's parameter, and the hints of one item and of one result."""
    try:
        parameters = list(inspect.signature(batch).parameters.values())
    except (ValueError, TypeError):
        parameters = []
    if not parameters:
        raise PredictorError(
            f"'{name_of(batch)}' takes no list of items",
            hint="write it as 'def predict_batch(self, items: list[…]) -> list[…]'",
        )
    hints = resolved(_hinted(batch))
    name = parameters[0].name
    args = typing.get_args(hints.get(name))
    returned = hints.get("return")
    if typing.get_origin(returned) in _AWAITABLES:
        returned = typing.get_args(returned)[-1]
    results = typing.get_args(returned)
    return name, args[0] if len(args) == 1 else Any, results[0] if len(results) == 1 else Any


def _first(arguments: list[Any], keywords: dict[str, Any]) -> Any:
    return arguments[0] if arguments else next(iter(keywords.values()))


def _gathering(predict: Callable[..., Any], build: Any) -> Callable[[list[Any], dict[str, Any]], Any]:
    """What makes one item of the arguments of `predict`."""
    parameters, _ = _parameters(predict)
    defaults = {name: default for name, _, default, _ in parameters if default is not _NO_DEFAULT}
    names = [name for name, _, _, kind in parameters if kind is inspect.Parameter.POSITIONAL_ONLY]
    if len(parameters) == 1 and parameters[0][3] is not inspect.Parameter.VAR_KEYWORD:
        name = parameters[0][0]

        def only(arguments: list[Any], keywords: dict[str, Any]) -> Any:
            return arguments[0] if arguments else keywords[name] if keywords else defaults[name]

        return only

    def gather(arguments: list[Any], keywords: dict[str, Any]) -> Any:
        return build(**{**defaults, **dict(zip(names, arguments)), **keywords})  # noqa: B905 (no `strict` in Python 3.9)

    return gather
