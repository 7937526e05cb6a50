"""`Input(…)`: what a parameter's default says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """What `Input(…)` was given. `default` is `…` for a parameter that has to be there."""

    __tells_none__ = True
    """That None was given is told from that nothing was; Cog's own newer versions do not."""

    default: Any = ...
    description: str | None = None
    ge: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    regex: str | None = None
    choices: Sequence[Any] | None = None
    deprecated: bool | None = None
    accept: str | None = None


def Input(
    default: Any = ...,
    *,
    default_factory: Callable[..., Any] | None = None,
    description: str | None = None,
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    regex: str | None = None,
    choices: Sequence[Any] | None = None,
    deprecated: bool | None = None,
    accept: str | None = None,
) -> Any:
    """The default of a parameter, with rules for its values."""
    if default_factory is not None:
        raise TypeError(
            "default_factory is not supported in Input(). Use a literal default value instead: Input(default=...)."
        )
    return FieldInfo(default, description, ge, le, min_length, max_length, regex, choices, deprecated, accept)
