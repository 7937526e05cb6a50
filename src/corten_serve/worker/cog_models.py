"""Predictors that were written for Cog: `class Predictor(BasePredictor)` with `Input(…)` for defaults, or a function.

What their parameters say is translated into type hints as Corten reads them; `cog` itself is the project's own package, or Corten's
stand-in for it (`corten_serve/compat/cog`). A call of Cog's protocol is worked on within its prediction: what it prints, counts and
raises belongs to that.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import os
import sys
import time
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from corten_serve.errors import InvalidInput, PredictorError
from corten_serve.protocols import cog_scope
from corten_serve.protocols.cog import KEY, Facts, Outcome, moment
from corten_serve.protocols.cog_scope import Prediction
from corten_serve.schema.constraints import Field
from corten_serve.schema.members import resolved
from corten_serve.schema.newer_typing import Annotated, annotated_hint, get_origin
from corten_serve.schema.signature import Described
from corten_serve.worker.handlers import is_async
from corten_serve.worker.tracebacks import user_traceback

_RULES = ("ge", "gt", "le", "lt", "min_length", "max_length")
_UNSET = ("PydanticUndefinedType", "UndefinedType", "ellipsis")
_typing: Any = typing
_NONE = type(None)


def is_cog(subject: Any, environment: Mapping[str, str]) -> bool:
    """Whether a class or a function was written for Cog: its base or one of its defaults is Cog's, or the image says so."""
    if environment.get("CORTEN_COG"):
        return True
    if "cog" not in sys.modules:
        return False
    if inspect.isclass(subject):
        return any(base.__module__.partition(".")[0] == "cog" for base in subject.__mro__)
    try:
        parameters = inspect.signature(subject).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(type(each.default).__module__.partition(".")[0] == "cog" for each in parameters)


class CogModel:
    """A predictor for `handlers_of`: `predict`, `setup`, and `healthy` where the project has a `healthcheck`."""

    def __init__(self, subject: Any, target: str) -> None:
        self._subject = subject
        self._target = target
        method = _method(subject, target)
        self._call = method
        parameters = _parameters(method)
        self._defaults = {name: default for name, _, needed, default in parameters if not needed}
        hints = resolved(getattr(method, "__func__", method))
        returned, concatenates = _returned(hints.get("return", Any))
        about = inspect.getdoc(method) if method.__doc__ and not _is_ours(method) else None
        predict = Described(self._predict, parameters, returned, about or _about(subject))
        # What it is (a coroutine function, a generator) is asked of the project's own.
        predict.__wrapped__ = method  # type: ignore[attr-defined]
        self.predict = predict
        deprecated = tuple(name for name, said in _inputs(method) if getattr(said, "deprecated", None))
        self.cog = Facts(getattr(method, "__cog_streaming__", False), concatenates, deprecated)
        self.started = self.completed = time.time()
        self._log = Prediction("", {}, {})
        self.__doc__ = _about(subject)
        if callable(getattr(subject, "healthcheck", None)):
            self.healthy = subject.healthcheck
        _listen()

    @property
    def concurrency(self) -> int:
        """How many predictions run side by side where the project says so; one otherwise, as in Cog."""
        text = os.environ.get("COG_MAX_CONCURRENCY", "")
        if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 10_000:
            return int(text)
        most = getattr(self._call, "__cog_concurrent_max__", 1)
        return most if isinstance(most, int) else 1

    def facts(self) -> dict[str, Any]:
        """What `/health-check` tells of the start."""
        return {
            "started_at": moment(self.started),
            "completed_at": moment(self.completed),
            "status": "succeeded",
            "logs": self._log.logs[-65536:],
        }

    def setup(self) -> Any:
        """The project's own `setup`, with the weights that `COG_WEIGHTS` names where it takes them."""
        setup = getattr(self._subject, "setup", None)
        if not callable(setup) or _is_ours(setup):
            return None
        self.started = time.time()
        token = cog_scope.current.set(self._log)
        try:
            given: dict[str, Any] = {}
            weights = inspect.signature(setup).parameters.get("weights")
            if weights is not None and (
                os.environ.get("COG_WEIGHTS") or weights.default is inspect.Parameter.empty
            ):
                given["weights"] = os.environ.get("COG_WEIGHTS") or None
            result = setup(**given)
        finally:
            cog_scope.current.reset(token)
            self.completed = time.time()
        return self._awaited(result) if hasattr(result, "__await__") else None

    async def _awaited(self, result: Any) -> None:
        cog_scope.current.set(self._log)
        await result
        cog_scope.current.set(None)
        self.completed = time.time()

    def _predict(self, **given: Any) -> Any:
        prediction: Prediction | None = given.pop(KEY, None)
        arguments = {**self._defaults, **given}
        if prediction is None:
            return self._call(**arguments)
        prediction.begin()
        if prediction.streamed:
            return _events(self._call, arguments, prediction)
        return _within(self._call, arguments, prediction)


def _within(call: Callable[..., Any], arguments: dict[str, Any], prediction: Prediction) -> Any:
    """The outcome of one call, all pieces together; an awaitable of it where the call is async."""
    if is_async(call):
        return _within_async(call, arguments, prediction)
    token = cog_scope.current.set(prediction)
    try:
        result = call(**arguments)
        return Outcome(list(result) if _is_iterator(result) else result)
    except InvalidInput:
        raise
    except Exception as error:
        return _failed(error)
    finally:
        prediction.end()
        cog_scope.current.reset(token)


async def _within_async(call: Callable[..., Any], arguments: dict[str, Any], prediction: Prediction) -> Any:
    # The context is the task's own, which ends with the request.
    cog_scope.current.set(prediction)
    try:
        result = call(**arguments)
        if hasattr(result, "__await__"):
            result = await result
        if hasattr(result, "__anext__"):
            return Outcome([item async for item in result])
        return Outcome(list(result) if _is_iterator(result) else result)
    except InvalidInput:
        raise
    except Exception as error:
        return _failed(error)
    finally:
        prediction.end()
        cog_scope.current.set(None)


def _events(call: Callable[..., Any], arguments: dict[str, Any], prediction: Prediction) -> Any:
    """The pieces of one call as they come, and an outcome at the end of those that fail."""
    if is_async(call):
        return _events_async(call, arguments, prediction)
    return _events_sync(call, arguments, prediction)


def _events_sync(
    call: Callable[..., Any], arguments: dict[str, Any], prediction: Prediction
) -> Iterator[Any]:
    cog_scope.current.set(prediction)
    try:
        yield from call(**arguments)
    except Exception as error:
        yield _failed(error)
    finally:
        cog_scope.current.set(None)


async def _events_async(
    call: Callable[..., Any], arguments: dict[str, Any], prediction: Prediction
) -> AsyncIterator[Any]:
    cog_scope.current.set(prediction)
    try:
        async for item in call(**arguments):
            yield item
    except Exception as error:
        yield _failed(error)
    finally:
        cog_scope.current.set(None)


def _failed(error: Exception) -> Outcome:
    """What the client learns of an error, in Cog's protocol its text; the traceback goes to the log."""
    text = str(error)
    print(user_traceback(error), file=sys.stderr, end="", flush=True)
    return Outcome(None, text or type(error).__name__)


def _is_iterator(result: Any) -> bool:
    return hasattr(result, "__next__") and not isinstance(result, io.IOBase)


def _method(subject: Any, target: str) -> Any:
    """What predicts: the project's own `run` or `predict`, or the function itself."""
    named = any(callable(getattr(subject, name, None)) for name in ("predict", "run"))
    if callable(subject) and (inspect.isroutine(subject) or not named):
        return subject
    for name in ("predict", "run"):
        method = getattr(subject, name, None)
        if callable(method) and not _is_ours(method):
            return method
    raise PredictorError(
        f"'{target}' has neither 'predict' nor 'run'",
        hint="define 'def predict(self, …)' with a type hint for every parameter",
    )


def _is_ours(method: Any) -> bool:
    """Whether a method is that of Cog's own base class."""
    return str(getattr(method, "__module__", "")).partition(".")[0] == "cog"


def _about(subject: Any) -> str:
    cls = subject if inspect.isclass(subject) or inspect.isroutine(subject) else type(subject)
    text = cls.__dict__.get("__doc__") if inspect.isclass(cls) else cls.__doc__
    return inspect.cleandoc(text or "")


def _inputs(method: Any) -> list[tuple[str, Any]]:
    """The parameters whose default is an `Input(…)`."""
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError) as error:
        raise PredictorError("the parameters of 'predict' cannot be found out") from error
    return [(each.name, each.default) for each in parameters if type(each.default).__name__ == "FieldInfo"]


def _parameters(method: Any) -> list[tuple[str, Any, bool, Any]]:
    """Name, hint, whether it has to be there, and the default of each parameter."""
    hints = resolved(getattr(method, "__func__", method))
    said = dict(_inputs(method))
    found: list[tuple[str, Any, bool, Any]] = []
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        name, hint = parameter.name, hints.get(parameter.name, Any)
        if name in said:
            hint, needed, default = _input(hint, said[name])
        else:
            needed, default = parameter.default is parameter.empty, parameter.default
        if needed and _takes_none(hint):
            needed, default = False, None  # `Optional[str]` without a default is None, as in Cog.
        found.append((name, hint, needed, None if needed else default))
    return found


def _input(hint: Any, said: Any) -> tuple[Any, bool, Any]:
    """What an `Input(…)` makes of a parameter's hint, whether it has to be there, and its default."""
    marks = [said, *(getattr(said, "metadata", None) or ())]
    extra = getattr(said, "extra", None) or getattr(said, "json_schema_extra", None)
    rules: dict[str, Any] = {}
    for name in _RULES:
        value = next((v for v in (getattr(mark, name, None) for mark in marks) if v is not None), None)
        if value is not None:
            rules[name] = value
    pattern = next(
        (v for mark in marks for v in (getattr(mark, "regex", None), getattr(mark, "pattern", None)) if v),
        None,
    )
    if pattern:
        rules["pattern"] = pattern
    choices = getattr(said, "choices", None) or (extra.get("choices") if isinstance(extra, dict) else None)
    default = said.default
    needed = type(default).__name__ in _UNSET
    if default is None and dataclasses.is_dataclass(said) and not hasattr(said, "__tells_none__"):
        # Cog's newer versions have None both for no default and for None. They take it for none but where the hint admits it.
        needed = not _takes_none(hint) and hint is not Any and getattr(hint, "__name__", "") != "Secret"
    if choices:
        hint = _chosen(hint, tuple(choices))
        rules = {}
    description = getattr(said, "description", None)
    if default is None and not needed and not _takes_none(hint) and hint is not Any:
        hint = _typing.Optional[hint]
    if rules or description:
        hint = annotated_hint(hint, Field(**rules, description=description))
    return hint, needed, None if needed else default


def _chosen(hint: Any, choices: tuple[Any, ...]) -> Any:
    """`hint` with the values that it may have."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    literal = _typing.Literal[choices]
    if origin is list and args:
        return _typing.List[literal]
    return _typing.Optional[literal] if _takes_none(hint) else literal


def _takes_none(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _takes_none(typing.get_args(hint)[0])
    return _NONE in typing.get_args(hint)


def _returned(hint: Any) -> tuple[Any, bool]:
    """The hint of a result, with Cog's own iterators as Python's, and whether their pieces make one text."""
    origin = typing.get_origin(hint) or hint
    name = getattr(origin, "__name__", "")
    if getattr(origin, "__module__", "").partition(".")[0] == "cog" and name.endswith("ConcatenateIterator"):
        args = typing.get_args(hint) or (str,)
        kind = AsyncIterator if name.startswith("Async") else Iterator
        return kind[args[0]], True
    return hint, False


def _listen() -> None:
    """From here on, what a prediction prints also goes to that prediction."""
    streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        if getattr(stream, "__cog__", False):
            continue
        stream.write = _both(stream.write)
        stream.__cog__ = True


def _both(write: Callable[[str], int]) -> Callable[[str], int]:
    def both(text: str) -> int:
        prediction = cog_scope.current.get()
        if prediction is not None:
            prediction.log(text)
        return write(text)

    return both
