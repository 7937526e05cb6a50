"""The user's side of a predictor: the base class, and how `module:Class` becomes something that can be called.

A predictor is a class with `predict` (and `setup`, which runs once before the first request), a function, or an object
that has a `predict`. No import of Corten is needed for any of them; `Predictor` is there for those who like to see it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from corten_serve.errors import PredictorError


class Predictor:
    """A base class for predictors. Define `predict` with type hints; define `setup` to load a model once."""

    predict: Callable[..., Any]

    def setup(self) -> None:
        """Runs once in the worker, before the first request."""


class Loaded:
    """A predictor that has been imported, and made if it is a class. `call` is what answers a request."""

    def __init__(self, target: str, subject: Any, call: Callable[..., Any]) -> None:
        self.target = target
        self.subject = subject
        self.call = call

    @property
    def description(self) -> str:
        """What the project says of its predictor: the first docstring found on the method, class or function."""
        for thing in (self.call, type(self.subject) if self.subject is not self.call else None):
            text = getattr(thing, "__doc__", None)
            if text and thing is not Predictor and text != Predictor.__doc__:
                return inspect.cleandoc(text)
        return ""

    def setup(self) -> None:
        """Run the project's own `setup`, if there is one. Whatever it raises passes through."""
        if self.subject is not self.call:
            method = getattr(self.subject, "setup", None)
            if callable(method):
                result = method()
                if inspect.iscoroutine(result):
                    import asyncio

                    asyncio.run(result)


def load(target: str) -> Loaded:
    """Import `module:name` (or `module:name.attribute`) and make it callable.

    What the project's own code raises while it is imported or constructed passes through; PredictorError says what is
    wrong with the target itself: its form, a module or name that does not exist, something that cannot be called, or
    a form of `predict` that is not supported."""
    module_name, colon, path = target.partition(":")
    if not colon or not module_name or not path or not all(part.isidentifier() for part in path.split(".")):
        raise PredictorError(
            f"'{target}' does not name a predictor", hint="write it as 'module:Class' or 'module:function'"
        )
    subject: Any = _import(module_name, target)
    for part in path.split("."):
        try:
            subject = getattr(subject, part)
        except AttributeError as error:
            names = sorted(
                name for name, value in vars(subject).items() if callable(value) and not name.startswith("_")
            )
            raise PredictorError(
                f"module '{module_name}' has no '{path}'",
                hint=f"it defines: {', '.join(names[:10])}"
                if names
                else f"define '{path}' in '{module_name}'",
            ) from error
    if inspect.isclass(subject):
        if not callable(getattr(subject, "predict", None)):
            raise PredictorError(
                f"class '{path}' in '{module_name}' has no method 'predict'",
                hint="define 'def predict(self, …)' with a type hint for every parameter",
            )
        subject = subject()
    call = getattr(subject, "predict", None) or subject
    if not callable(call):
        raise PredictorError(
            f"'{target}' is {_a(type(subject).__name__)}, not a class or a function",
            hint="name a function, or a class with a method 'predict'",
        )
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        raise PredictorError(
            f"'{target}' is a generator, and streaming results are not supported yet",
            hint="return a list instead of yielding its items",
        )
    return Loaded(target, subject, call)


def _import(name: str, target: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only the predictor's own module counts here: a missing import inside it is the project's traceback.
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise PredictorError(
            f"there is no module '{error.name}' for the predictor '{target}'",
            hint="the module's file has to be in the project's folder, or in 'src/' below it",
        ) from error


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"
