"""What projects import from Replicate's `cog`, where they do not install it themselves: base classes, `Input`, types of files.

Corten's stand-in: the names and what they do are Cog's (cog.run/python); serving is Corten's own.
"""

from __future__ import annotations

import warnings
from typing import Any

from corten_serve.errors import Cancelled as CancelationException
from corten_serve.protocols.cog_scope import Scope, current_scope

from .input import FieldInfo, Input
from .model import BaseModel
from .predictor import BasePredictor, BaseRunner
from .types import (
    AsyncConcatenateIterator,
    ConcatenateIterator,
    File,
    Path,
    Secret,
    URLFile,
    URLPath,
)

__version__ = "0.21.0"
"""Of the interface that this is made after."""


class ExperimentalFeatureWarning(FutureWarning):
    """Nothing warns with it any more; projects import it to silence it."""


class Opaque:
    """A mark in `Annotated`: the value is passed as it is."""


def streaming(function: Any = None) -> Any:
    """Let clients have the pieces of a prediction as server-sent events."""

    def mark(inner: Any) -> Any:
        inner.__cog_streaming__ = True
        return inner

    return mark if function is None else mark(function)


def concurrent(function: Any = None, *, max: int = 1) -> Any:
    """How many predictions of an async predictor run side by side."""
    if isinstance(max, bool) or not isinstance(max, int):
        raise TypeError("concurrent max must be an integer")
    if max < 1:
        raise ValueError("concurrent max must be at least 1")

    def mark(inner: Any) -> Any:
        inner.__cog_concurrent_max__ = max
        return inner

    return mark if function is None else mark(function)


def emit_metric(name: str, value: Any) -> None:
    """The old name of `current_scope().record_metric`."""
    warnings.warn("emit_metric() is deprecated; use current_scope().record_metric()", DeprecationWarning, 2)
    current_scope().record_metric(name, value)


__all__ = [
    "AsyncConcatenateIterator",
    "BaseModel",
    "BasePredictor",
    "BaseRunner",
    "CancelationException",
    "ConcatenateIterator",
    "ExperimentalFeatureWarning",
    "FieldInfo",
    "File",
    "Input",
    "Opaque",
    "Path",
    "Scope",
    "Secret",
    "URLFile",
    "URLPath",
    "__version__",
    "concurrent",
    "current_scope",
    "emit_metric",
    "streaming",
]
