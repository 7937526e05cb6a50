"""What `typing` has from Python 3.9 on. In 3.8 it comes from typing_extensions, where the project has that; without it no hint can be
annotated, and none is."""

from __future__ import annotations

import importlib
import typing
from typing import Any


def _source() -> Any:
    if hasattr(typing, "Annotated"):
        return typing
    try:
        return importlib.import_module("typing_extensions")
    except ImportError:
        return typing


_from: Any = _source()
Annotated: Any = getattr(_from, "Annotated", None)
get_args: Any = _from.get_args
get_origin: Any = _from.get_origin


def get_type_hints(subject: Any, globalns: Any = None) -> dict[str, Any]:
    """As `typing.get_type_hints`, with what `Annotated` says."""
    more = {"include_extras": True} if Annotated is not None else {}
    found: dict[str, Any] = _from.get_type_hints(subject, globalns=globalns, **more)
    return found


def annotated_hint(hint: Any, extra: Any) -> Any:
    """`hint` with `extra`, where hints can be annotated."""
    return Annotated[hint, extra] if Annotated is not None else hint
