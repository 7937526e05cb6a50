"""Pydantic models, where the project has pydantic. The model validates itself and writes its own schema."""

from __future__ import annotations

import sys
from typing import Any

from corten_serve.schema.kinds import Kind, Path, Problems, Schema


def is_model(cls: Any) -> bool:
    """Whether `cls` is a pydantic model (version 2)."""
    pydantic = sys.modules.get("pydantic")
    base = getattr(pydantic, "BaseModel", None)
    return (
        isinstance(base, type)
        and isinstance(cls, type)
        and issubclass(cls, base)
        and hasattr(cls, "model_validate")
    )


class Model(Kind):
    """A pydantic model. Its nested models become shared schemas too."""

    words = "an object"

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.words = "an object" if not getattr(cls, "__pydantic_root_model__", False) else "a value"

    def schema(self) -> Schema:
        return {"$ref": f"#/components/schemas/{self._cls.__name__}"}

    def definitions(self) -> dict[str, Schema]:
        """The model's schema and those that it refers to, by name."""
        schema = dict(self._cls.model_json_schema(ref_template="#/components/schemas/{model}"))
        nested: dict[str, Schema] = schema.pop("$defs", {})
        if "$ref" in schema and self._cls.__name__ in nested:
            return nested
        return {**nested, self._cls.__name__: schema}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        from pydantic import ValidationError  # type: ignore[import-not-found,unused-ignore]

        try:
            return self._cls.model_validate(value)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=False):
                place = path
                for key in problem["loc"]:
                    place = (place, key)
                message = problem["msg"]
                problems.add(place, message[:1].lower() + message[1:])
            return None
