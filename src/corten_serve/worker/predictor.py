"""The user's side of a predictor: the base class, and how `module:Class` becomes something that can be called.

A predictor is a class with `predict`, a function, or an object that has a `predict`. No import of Corten is needed for any
of them; `Predictor` is there for those who like to see what there is.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from corten_serve.errors import PredictorError
from corten_serve.worker.handlers import Handler, handlers_of
from corten_serve.worker.loop import Loop
from corten_serve.worker.model_files import is_model_file, open_model

_EVENTS, _CONTEXTS = ("event", "_event"), ("context", "_context", "ctx", "_ctx")


class Predictor:
    """A base class for predictors. Any method may be async; `predict` may yield its results, which are then streamed.

    `predict(self, …)` has a type hint for every parameter. Beside it, or in its place, there may be
    `predict_batch(self, items: list[…]) -> list[…]`, which gets several requests at once: an item is the argument of
    `predict` where it has one, else a dict of its arguments, or the dataclass, typed dictionary or model that the hint of
    `items` names. It answers with as many results, in their order; one that is an exception fails its item alone.

    Methods that `@endpoint` marks, or that `endpoints = ("embed", …)` names, are served beside `predict`."""

    predict: Callable[..., Any]

    def setup(self) -> Any:
        """Runs once in the worker, before the first request."""

    def healthy(self) -> Any:
        """Asked from time to time while the worker is idle. False, or an exception, has the worker replaced."""

    def teardown(self) -> Any:
        """Runs once, when the worker ends by itself or is asked to. A worker that is killed has no time for it."""


class Loaded:
    """A predictor that has been imported, and made if it is a class. `handlers` are its endpoints, `predict` first."""

    def __init__(
        self, target: str, subject: Any, handlers: tuple[Handler, ...], loop: Loop | None = None
    ) -> None:
        self.target = target
        self.subject = subject
        self.handlers = handlers
        self.loop = loop or Loop()
        self._bare = any(subject is handler.call for handler in handlers)
        ours = type(subject).__module__.startswith("corten_serve.worker.")
        self.cog = getattr(subject, "cog", None) if ours else None
        self.protocol = getattr(subject, "protocol", None) if ours else None
        self.alone: bool = getattr(subject, "alone", False) if ours else False

    @property
    def asynchronous(self) -> bool:
        """Whether any endpoint is, so that requests run side by side on one event loop."""
        return any(handler.asynchronous for handler in self.handlers)

    @property
    def description(self) -> str:
        """What the project says of its predictor: the docstring of the class, else that of `predict` or the function."""
        return self._told(None if self._bare else type(self.subject), self.handlers[0].described)

    def _told(self, *things: Any) -> str:
        for thing in things:
            text = getattr(thing, "__doc__", None)
            if text and thing is not Predictor and text != Predictor.__doc__:
                return inspect.cleandoc(text)
        return ""

    def describe(self, handler: Handler) -> str:
        """What the project says of one endpoint."""
        if handler is self.handlers[0]:
            return self._told(handler.described, None if self._bare else type(self.subject))
        return inspect.cleandoc(getattr(handler.described, "__doc__", None) or "")

    def setup(self) -> None:
        """Run the project's own `setup`, if there is one. Whatever it raises passes through."""
        self._run("setup")

    def teardown(self) -> None:
        """Run the project's own `teardown`, if there is one, and close the loop. Whatever it raises passes through."""
        try:
            self._run("teardown")
        finally:
            self.loop.close()

    def health(self) -> Callable[[], Any] | None:
        """The project's own `healthy`, if there is one. It may give an awaitable; only False says that it is not."""
        method = None if self._bare else getattr(self.subject, "healthy", None)
        if not callable(method) or getattr(method, "__func__", None) is Predictor.healthy:
            return None
        found: Callable[[], Any] = method
        return found

    def warmups(self) -> list[dict[str, Any]]:
        """The arguments that `warmup` names, a list of dicts or a method that gives one (or warms up by itself and gives
        nothing). Raises PredictorError for anything else."""
        given = None if self._bare else getattr(self.subject, "warmup", None)
        if callable(given):
            given = self.loop.settle(given())
        if given is None:
            return []
        if isinstance(given, (str, bytes, dict)) or not hasattr(given, "__iter__"):
            given = [None]
        arguments = list(given)
        if not all(
            isinstance(item, dict) and all(isinstance(key, str) for key in item) for item in arguments
        ):
            raise PredictorError(
                f"'warmup' of '{self.target}' is not a list of dicts with arguments",
                hint='write it as \'warmup = [{"text": "hello"}]\'',
            )
        return arguments

    def _run(self, name: str) -> None:
        method = None if self._bare else getattr(self.subject, name, None)
        if callable(method):
            self.loop.settle(method())


def load(target: str) -> Loaded:
    """Import `module:name` (or `module:name.attribute`, or `folder/file.py:name`) and make it callable; or open the file of a model.

    What the project's own code raises while it is imported or constructed passes through; PredictorError says what is
    wrong with the target itself: its form, a module or name that does not exist, something that cannot be called, or
    an endpoint whose form is not one."""
    if is_model_file(target):
        model = open_model(target, os.environ.get("CORTEN_APP", "/app"))
        return Loaded(target, model, handlers_of(model, target))
    module_name, colon, path = target.partition(":")
    is_file = module_name.endswith(".py")
    if not colon or not module_name or not path or not all(part.isidentifier() for part in path.split(".")):
        raise PredictorError(
            f"'{target}' does not name a predictor", hint="write it as 'module:Class' or 'module:function'"
        )
    subject: Any = _import(module_name, target) if not is_file else _from_file(module_name, target)
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
    if os.environ.get("CORTEN_LAMBDA") or _is_handler(subject):
        from corten_serve.worker.lambda_handlers import LambdaHandler

        handler = LambdaHandler(subject, target)
        return Loaded(target, handler, handlers_of(handler, target))
    if _is_cog(subject):
        from corten_serve.worker.cog_models import CogModel

        model = CogModel(subject() if inspect.isclass(subject) else subject, target)
        return Loaded(target, model, handlers_of(model, target))
    if inspect.isclass(subject):
        if not any(callable(getattr(subject, name, None)) for name in ("predict", "predict_batch")):
            raise PredictorError(
                f"class '{path}' in '{module_name}' has no method 'predict'",
                hint="define 'def predict(self, …)' with a type hint for every parameter",
            )
        subject = subject()
    return Loaded(target, subject, handlers_of(subject, target))


def _is_handler(subject: Any) -> bool:
    """Whether a function is one that was written for AWS Lambda: its two parameters have the names that those have."""
    if not inspect.isfunction(subject):
        return False
    names = list(inspect.signature(subject).parameters)
    return len(names) == 2 and names[0] in _EVENTS and names[1] in _CONTEXTS


def _is_cog(subject: Any) -> bool:
    if not os.environ.get("CORTEN_COG") and "cog" not in sys.modules:
        return False
    from corten_serve.worker.cog_models import is_cog

    return is_cog(subject, os.environ)


def _from_file(path: str, target: str) -> Any:
    """The module in a file of the project, whose name need not be one of Python's. Modules beside it can be imported."""
    import importlib.util

    place = os.path.join(os.environ.get("CORTEN_APP", "/app"), path)
    name = os.path.basename(path)[: -len(".py")]
    spec = importlib.util.spec_from_file_location(name, place)
    if spec is None or spec.loader is None or not os.path.isfile(place):
        raise PredictorError(
            f"there is no file '{path}' for the predictor '{target}'",
            hint="the file has to be in the project's folder",
        )
    folder = os.path.dirname(place)
    if folder not in sys.path:
        sys.path.insert(1 if sys.path else 0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Pickles look for its classes there.
    spec.loader.exec_module(module)
    return module


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
