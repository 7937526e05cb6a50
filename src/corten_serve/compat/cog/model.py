"""`BaseModel`: results with several fields. A class that derives from it becomes a dataclass."""

from __future__ import annotations

import dataclasses
import sys
import typing
from typing import Any

_NONE = type(None)


class BaseModel:
    """The base of results. Fields that may be None are None where they are left out, as with pydantic 1, which older projects were
    written for."""

    def __init_subclass__(cls, *, auto_dataclass: bool = True, init: bool = True, **options: Any) -> None:
        super().__init_subclass__()
        if not auto_dataclass:
            return
        own = vars(cls).get("__annotations__", {})
        for name, hint in own.items():
            default = vars(cls).get(name, dataclasses.MISSING)
            if type(default).__name__ == "FieldInfo":
                value = getattr(default, "default", None)
                setattr(
                    cls,
                    name,
                    None if type(value).__name__ in ("ellipsis", "PydanticUndefinedType") else value,
                )
            elif isinstance(default, (list, dict, set)):
                setattr(cls, name, dataclasses.field(default_factory=default.copy))
            elif default is dataclasses.MISSING and _takes_none(hint):
                setattr(cls, name, None)
        if init and sys.version_info >= (3, 10):
            options.setdefault("kw_only", True)
        dataclasses.dataclass(init=init, **options)(cls)

    def dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}  # type: ignore[arg-type]

    model_dump = dict


def _takes_none(hint: Any) -> bool:
    if isinstance(hint, str):
        return "Optional[" in hint or "None" in hint
    return _NONE in typing.get_args(hint)
