"""The callables of a predictor: `predict`, `predict_batch`, and its further endpoints. Everything about their form that can
be wrong is an error at start."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from corten_serve.errors import PredictorError

F = TypeVar("F", bound="Callable[..., Any]")
_MARK = "__corten_endpoint__"
_PATH = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}")
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
RESERVED = frozenset(
    [
        "/predict",
        "/livez",
        "/readyz",
        "/openapi.json",
        "/metrics",
        "/status",
        "/ping",
        "/invocations",
        "/health",
    ]
)
"""Paths that the server or a protocol has a use for; so has everything below `/v1` and `/v2`."""


def endpoint(path: Any = "") -> Any:
    """Make a method a further endpoint: `@endpoint` serves it at `/NAME`, `@endpoint("/rank")` at a path of its own.
    Requests are POSTs, and are read by its type hints as those of `predict` are by its own."""
    if callable(path):
        return _marked(path, "")
    if not isinstance(path, str) or (path and not _PATH.fullmatch(path)):
        raise PredictorError(
            f"the path '{path}' of an endpoint is not one", hint="begin with a slash: '@endpoint(\"/rank\")'"
        )
    return lambda function: _marked(function, path)


def _marked(function: F, path: str) -> F:
    setattr(function, _MARK, path)
    return function


@dataclasses.dataclass(frozen=True)
class Handler:
    """One endpoint as the project wrote it. `call` predicts one item, `batch` a list of them; at least one is there.

    `path` is below the model's prefix. `asynchronous` is set if either is a coroutine function or an async generator."""

    name: str
    path: str
    call: Callable[..., Any] | None
    batch: Callable[..., Any] | None = None

    @property
    def asynchronous(self) -> bool:
        """Whether a call gives an awaitable or an async generator."""
        return any(is_async(function) for function in (self.call, self.batch) if function is not None)

    @property
    def described(self) -> Callable[..., Any]:
        """The callable whose hints and docstring describe the endpoint."""
        call = self.call or self.batch
        assert call is not None
        return call


def handlers_of(subject: Any, target: str) -> tuple[Handler, ...]:
    """The endpoints of `subject` (an object, or a function), `predict` first. Raises PredictorError."""
    predict, batch = getattr(subject, "predict", None), getattr(subject, "predict_batch", None)
    if predict is None and batch is None:
        if not callable(subject):
            raise PredictorError(
                f"'{target}' is {_a(type(subject).__name__)}, not a class or a function",
                hint="name a function, or a class with a method 'predict'",
            )
        predict = subject
    for name, value in (("predict", predict), ("predict_batch", batch)):
        if value is not None and not callable(value):
            raise PredictorError(
                f"'{name}' of '{target}' is {_a(type(value).__name__)} and cannot be called",
                hint=f"define it as a method: 'def {name}(self, …)'",
            )
    if batch is not None:
        _check_batch(batch, target)
    found = [Handler("predict", "/predict", predict, batch)]
    if subject is not predict:
        found += _further(subject, target)
    _check_paths(found, target)
    return tuple(found)


def is_async(call: Any) -> bool:
    """Whether calling `call` gives a coroutine or an async generator."""
    function = plain(call)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def is_generator(call: Any) -> bool:
    """Whether calling `call` gives a generator, sync or async."""
    function = plain(call)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def plain(call: Any) -> Any:
    """The function behind a partial, a decorator that says what it wraps, or an object that can be called."""
    call = inspect.unwrap(call)
    while hasattr(call, "func") and hasattr(call, "keywords"):
        call = inspect.unwrap(call.func)
    if not inspect.isroutine(call) and not inspect.isclass(call):
        return type(call).__call__
    return call


def _check_batch(batch: Any, target: str) -> None:
    where = f"'predict_batch' of '{target}'"
    hint = "write it as 'def predict_batch(self, items: list[…]) -> list[…]'"
    if is_generator(batch):
        raise PredictorError(f"{where} is a generator, and a batch has to be answered as one list", hint=hint)
    try:
        parameters = list(inspect.signature(batch).parameters.values())
    except (ValueError, TypeError) as error:
        raise PredictorError(f"the parameters of {where} cannot be found out", hint=hint) from error
    first = parameters[0] if parameters else None
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        raise PredictorError(f"{where} takes no list of items", hint=hint)
    for parameter in parameters[1:]:
        if parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        ):
            raise PredictorError(f"{where} takes '{parameter.name}' beside the list of items", hint=hint)
    function = plain(batch)
    try:
        hints = typing.get_type_hints(getattr(function, "__func__", function))
    except (NameError, TypeError):
        return
    annotation = hints.get(first.name, Any)
    if annotation is not Any and (typing.get_origin(annotation) or annotation) not in _LISTS:
        raise PredictorError(
            f"{where} takes '{first.name}', which its type hint says is no list of items", hint=hint
        )


def _further(subject: Any, target: str) -> list[Handler]:
    """Endpoints named by `endpoints = (…)` and those that `@endpoint` marks, in the order of their names there."""
    paths: dict[str, str] = {}
    named = getattr(subject, "endpoints", ())
    if (
        isinstance(named, str)
        or not isinstance(named, (list, tuple))
        or not all(isinstance(n, str) for n in named)
    ):
        if not inspect.isclass(subject) and "endpoints" in dir(type(subject)):
            raise PredictorError(
                f"'endpoints' of '{target}' is not a list of names",
                hint='write it as \'endpoints = ("embed", "rank")\'',
            )
        named = ()
    for name in named:
        paths[name] = ""
    for cls in reversed(type(subject).__mro__):
        for name, value in vars(cls).items():
            function = getattr(value, "__func__", value)  # also of static and class methods
            mark = getattr(function, _MARK, None) if inspect.isroutine(function) else None
            if isinstance(mark, str):
                paths[name] = mark
    result = []
    for name, path in paths.items():
        call = getattr(subject, name, None)
        if not callable(call):
            raise PredictorError(
                f"'{target}' has no method '{name}' for its endpoint '{name}'",
                hint=f"define 'def {name}(self, …)', or take '{name}' out of 'endpoints'",
            )
        if name.startswith("_") or name in (
            "setup",
            "teardown",
            "healthy",
            "warmup",
            "predict",
            "predict_batch",
        ):
            raise PredictorError(f"'{name}' of '{target}' cannot be an endpoint of its own", hint="rename it")
        result.append(Handler(name, path or f"/{name}", call))
    return result


def _check_paths(found: list[Handler], target: str) -> None:
    seen: dict[str, str] = {}
    for handler in found:
        path = handler.path
        reserved = path in RESERVED or path.startswith(("/v1/", "/v2/")) or path in ("/v1", "/v2")
        if reserved and handler.name != "predict":
            raise PredictorError(
                f"the endpoint '{handler.name}' of '{target}' cannot be at '{path}', which the server needs itself",
                hint=f"give it another path: '@endpoint(\"/my-{path[1:].replace('/', '-')}\")'",
            )
        if path in seen:
            raise PredictorError(
                f"the endpoints '{seen[path]}' and '{handler.name}' of '{target}' are both at '{path}'",
                hint="give one of them another path",
            )
        seen[path] = handler.name


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"
