"""One endpoint at work: items of arguments in, results out, alone or together through `predict_batch`.

`steps` decides what is called in which order and never calls anything itself: a sync worker and an async one drive the same
generator, each in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

from corten_serve.errors import Cancelled
from corten_serve.protocols.interface import ResultError
from corten_serve.schema.signature import Signature
from corten_serve.worker.handlers import Handler
from corten_serve.worker.loop import Loop

if TYPE_CHECKING:
    from typing import TypeAlias

Arguments: TypeAlias = "tuple[list[Any], dict[str, Any]]"
"""Positional and keyword arguments of one item."""
RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""What project code raises that fails a request. Anything else ends more than the request: a cancel, the loop."""
PLAIN = frozenset([dict, list, tuple, str, int, float, bool, bytes, type(None)])
"""Types of results that are nothing else: they need not be asked whether they can be awaited or iterated."""


class Stray(Exception):
    """Stands for something of the project's that is no error, and says nothing of the request's being given up: a
    `CancelledError` of a task of its own, or any other `BaseException`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def caught(error: BaseException) -> Exception | SystemExit | KeyboardInterrupt:
    """What fails a request for `error`, which is no cancel of ours."""
    return error if isinstance(error, RAISED) else Stray(error)


class Failed:
    """Stands in a list of results for an item that has none. `error` is what was raised for it, or returned."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Step(NamedTuple):
    """One call that is to be made: `function(*arguments, **keywords)`, awaited if need be."""

    function: Callable[..., Any]
    arguments: Sequence[Any]
    keywords: dict[str, Any]


class Operation:
    """An endpoint with its signature. `call` predicts one item; it is None where there is only `predict_batch`."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.name = handler.name
        self.call = handler.call
        self.batch = handler.batch
        if handler.batch is not None:
            self.signature = Signature.from_batch(handler.batch, handler.call)
            self._arrays = _arrays(self.signature)
        else:
            self.signature = Signature(handler.described)
            self._arrays = ()
        self.streams = self.signature.streams

    def steps(self, items: Sequence[Arguments], together: bool) -> Generator[Step, Any, list[Any]]:
        """The calls that predict `items`, and their results in the same order, Failed where there is none.

        Yields each call and is sent what it gives, or has thrown in what it raises. With `together` items go to
        `predict_batch`: those whose arrays differ in shape apart from each other, and each alone, once, if the batch that
        they were in raised."""
        if self.call is not None and not (together and self.batch is not None):
            return (yield from self._each(items))
        return (yield from self._groups(items))

    def _each(self, items: Sequence[Arguments]) -> Generator[Step, Any, list[Any]]:
        assert self.call is not None
        results: list[Any] = []
        for arguments, keywords in items:
            try:
                results.append((yield Step(self.call, arguments, keywords)))
            except RAISED as error:
                results.append(Failed(error))
        return results

    def _groups(self, items: Sequence[Arguments]) -> Generator[Step, Any, list[Any]]:
        results: list[Any] = [None] * len(items)
        groups: dict[Any, tuple[list[int], list[Any]]] = {}
        for place, (arguments, keywords) in enumerate(items):
            try:
                key = self._form(arguments, keywords) if self._arrays else None
                packed = self.signature.item(arguments, keywords)
            except Exception as error:
                results[place] = Failed(error)
                continue
            places, together = groups.setdefault(key, ([], []))
            places.append(place)
            together.append(packed)
        for places, together in groups.values():
            answers = yield from self._together(together)
            for place, answer in zip(places, answers):  # noqa: B905 (no `strict` in Python 3.9)
                results[place] = Failed(answer) if isinstance(answer, RAISED) else answer
        return results

    def _together(self, items: list[Any]) -> Generator[Step, Any, list[Any]]:
        """As many results as `items`; exceptions where there are none."""
        assert self.batch is not None
        try:
            return _counted((yield Step(self.batch, (list(items),), {})), len(items))
        except RAISED as error:
            if len(items) == 1 or isinstance(error, ResultError):
                return [error] * len(items)
        # One bad item must not fail its neighbours, and nobody but `predict_batch` knows which one it is.
        answers: list[Any] = []
        for item in items:
            answers += yield from self._together([item])
        return answers

    def _form(self, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Equal for items whose arrays can be stacked."""
        return (
            len(arguments),
            *(_shape(keywords.get(name)) for name in self._arrays),
            *map(_shape, arguments),
        )


def drive(steps: Generator[Step, Any, list[Any]], loop: Loop) -> list[Any]:
    """Make the calls that `Operation.steps` asks for, one after the other; awaitables run to their end on `loop`."""
    try:
        step = next(steps)
        while True:
            try:
                result = loop.settle(step.function(*step.arguments, **step.keywords))
                if is_stream(result):
                    result = loop.collect(result)
            except Cancelled:
                raise
            except BaseException as error:
                step = steps.throw(caught(error))
            else:
                step = steps.send(result)
    except StopIteration as stop:
        results: list[Any] = stop.value
        return results


def is_stream(result: Any) -> bool:
    """Whether `result` is a generator, sync or async."""
    kind = result.__class__
    return kind is GeneratorType or kind is AsyncGeneratorType


def _arrays(signature: Signature) -> tuple[str, ...]:
    """The parameters that are arrays of numbers, however deep, which only stack where their shapes are equal."""
    properties = signature.request.definition().get("properties", {})
    return tuple(name for name, schema in properties.items() if _numeric(schema))


def _numeric(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if any(_numeric(option) for option in schema.get("anyOf", ())):
        return True
    if str(schema.get("format", "")).startswith("ndarray"):
        return True
    items = schema.get("items")
    if schema.get("type") != "array" or not isinstance(items, dict):
        return False
    return items.get("type") in ("integer", "number", "boolean") or _numeric(items)


def _shape(value: Any) -> Any:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return (tuple(shape), str(getattr(value, "dtype", "")))
    lengths = []
    while isinstance(value, (list, tuple)):
        lengths.append(len(value))
        value = value[0] if value else None
    return tuple(lengths)


def _counted(answers: Any, wanted: int) -> list[Any]:
    """`answers` as a list of the right length. Raises ResultError for anything else."""
    if (
        isinstance(answers, (str, bytes, dict))
        or not hasattr(answers, "__len__")
        or not hasattr(answers, "__iter__")
    ):
        raise ResultError(
            f"'predict_batch' returned {type(answers).__name__!r}, and a list of {wanted} was expected"
        )
    if len(answers) != wanted:
        raise ResultError(f"'predict_batch' returned {len(answers)} results for {wanted} items")
    return list(answers)
