"""Pydantic models, where the project has pydantic 2 or 1. The model validates itself and writes its own schema. What it takes
only as an object of its type (an array, a frame, an image) is read from JSON first, as a parameter of that type is."""

from __future__ import annotations

import re
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from corten_serve.schema import validators
from corten_serve.schema.kinds import Kind, Path, Problems, Schema

_BASES = ("pydantic.main", "pydantic.v1.main")
_REFERENCE = "#/components/schemas/"


def is_model(cls: Any) -> bool:
    """Whether `cls` is a pydantic model of version 2 or 1, or of `pydantic.v1`."""
    return isinstance(cls, type) and _base(cls) is not None


def dumped(value: Any) -> Any:
    """A model's value under its aliases, None for any other value. What pydantic has no JSON for is as it was."""
    if hasattr(value, "model_dump"):
        try:
            return value.model_dump(mode="json", by_alias=True)
        except (
            ValueError
        ):  # It holds what pydantic does not write; Python's values are written one by one then.
            return value.model_dump(by_alias=True)
    if _base(type(value)) is None:
        return None
    return value.dict(by_alias=True)


def foreign(cls: Any, known: Any) -> dict[str, Any]:
    """The fields of a model that hold, however deep, a type for which `known` is true: their names in JSON → their hints.
    A field with a validator that sees the value before pydantic reads it is that validator's."""
    return {
        name: hint
        for attribute, name, hint, metadata in _fields(cls)
        if _holds(hint, known, set())
        and not any(map(_sees_input, metadata))
        and not _has_validator(cls, attribute)
    }


class Model(Kind):
    """A pydantic model. Its nested models become shared schemas too. `readers` are the kinds of fields that are read first."""

    words = "an object"

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self._old = not hasattr(cls, "model_validate")
        self.readers: dict[str, Kind] = {}
        self._tags: Mapping[str, Sequence[Any]] | None = None
        root = getattr(cls, "__pydantic_root_model__", False) or (self._old and "__root__" in cls.__fields__)
        self.words = "a value" if root else "an object"
        self.reference = re.sub(r"[^\w.-]", "_", cls.__name__, flags=re.ASCII)
        base = _base(cls)
        package = base.__module__.rpartition(".")[0] if base is not None else "pydantic"
        self._refused: Any = sys.modules[package].ValidationError

    def schema(self) -> Schema:
        return {"$ref": _REFERENCE + self.reference}

    def definitions(self) -> dict[str, Schema]:
        """The model's schema and those that it refers to, by name."""
        schema, nested = _old_schema(self._cls, self.readers) if self._old else _schema(self._cls)
        if "$ref" in schema and schema["$ref"] == _REFERENCE + self.reference and self.reference in nested:
            schema = nested.pop(self.reference)
        if self.readers:
            schema = {**schema, "properties": dict(schema.get("properties", {}))}
            for name, kind in self.readers.items():
                said = schema["properties"].get(name, {})
                kept = {key: said[key] for key in ("title", "description", "default") if key in said}
                schema["properties"][name] = {**kept, **kind.schema()}
        return {**nested, self.reference: schema}

    def tags(self) -> Mapping[str, Sequence[Any]]:
        if self._tags is not None:
            return self._tags
        found: dict[str, Sequence[Any]] = {}
        for name, schema in self.definitions()[self.reference].get("properties", {}).items():
            if "const" in schema or "enum" in schema:
                found[name] = schema.get("enum", [schema.get("const")])
        self._tags = found  # A schema takes longer to write than a request to read.
        return found

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if self.readers and type(value) is dict:
            before, value = len(problems.found), dict(value)
            for name, kind in self.readers.items():
                if name in value:
                    value[name] = kind.read(value[name], (path, name), problems)
            if len(problems.found) > before:
                return None
        try:
            return self._cls.parse_obj(value) if self._old else self._cls.model_validate(value)
        except self._refused as error:
            told = error.errors() if self._old else error.errors(include_url=False, include_context=False)
            for problem in told:
                place = path
                for key in problem["loc"]:
                    place = place if key == "__root__" else (place, key)
                message = problem["msg"]
                problems.add(place, message[:1].lower() + message[1:])
            return None


def _base(cls: Any) -> Any:
    return next(
        (base for base in cls.__mro__ if base.__name__ == "BaseModel" and base.__module__ in _BASES), None
    )


def _fields(cls: Any) -> list[tuple[str, str, Any, Sequence[Any]]]:
    """Attribute, name in JSON, hint and metadata of a model's fields."""
    if hasattr(cls, "model_validate"):
        result: list[tuple[str, str, Any, Sequence[Any]]] = []
        for name, field in cls.model_fields.items():
            given = field.validation_alias or field.alias
            result.append((name, given if isinstance(given, str) else name, field.annotation, field.metadata))
        return result
    return [(name, field.alias, field.outer_type_, ()) for name, field in cls.__fields__.items()]


def _holds(hint: Any, known: Any, seen: set[Any]) -> bool:
    origin = typing.get_origin(hint)
    if known(origin or hint):
        return True
    if origin is not None:
        return any(_holds(each, known, seen) for each in typing.get_args(hint))
    if not is_model(hint) or hint in seen:
        return False
    seen.add(hint)
    return any(_holds(each, known, seen) for _, _, each, _ in _fields(hint))


def _sees_input(extra: Any) -> bool:
    return type(extra).__name__ in validators.INPUT or hasattr(extra, "__get_pydantic_core_schema__")


def _has_validator(cls: Any, name: str) -> bool:
    decorators = getattr(cls, "__pydantic_decorators__", None)
    if decorators is None:
        field = getattr(cls, "__fields__", {}).get(name)
        return bool(getattr(field, "pre_validators", None))
    return any(
        each.info.mode != "after" and (name in each.info.fields or "*" in each.info.fields)
        for each in decorators.field_validators.values()
    )


def _schema(cls: Any) -> tuple[Schema, dict[str, Schema]]:
    from pydantic.json_schema import GenerateJsonSchema  # type: ignore[import-not-found,unused-ignore]

    base: Any = GenerateJsonSchema

    class Lenient(base):  # type: ignore[misc,unused-ignore]
        """What has no schema may be anything, so that the rest has one."""

        def handle_invalid_for_json_schema(self, schema: Any, error_info: Any) -> Any:
            return {}

    schema = dict(cls.model_json_schema(ref_template=_REFERENCE + "{model}", schema_generator=Lenient))
    return schema, schema.pop("$defs", {})


def _old_schema(cls: Any, read_first: Mapping[str, Kind]) -> tuple[Schema, dict[str, Schema]]:
    """The schema that pydantic 1 writes, in the words of JSON Schema 2020-12. It has none for the fields that are read first,
    and then for no other either: it is asked for the others alone, and if that fails too, only their names are told."""
    fields = cls.__fields__.values()
    order = [field.alias for field in fields]
    template = _REFERENCE + "{model}"
    base = _base(cls)
    make: Any = sys.modules[base.__module__].create_model
    plain = {
        field.name: (field.annotation, field.field_info) for field in fields if field.alias not in read_first
    }
    try:
        if read_first:
            rest: Any = make(cls.__name__, **plain).schema(ref_template=template)
            properties: Any = {name: {} for name in order} | rest.get("properties", {})
            schema: Any = _modern({**rest, "properties": properties})
        else:
            schema = _modern(cls.schema(ref_template=template))
    except ValueError:
        schema = {"title": cls.__name__, "type": "object", "properties": {name: {} for name in order}}
    required = [field.alias for field in fields if field.required]
    if required:
        schema["required"] = required
    return schema, schema.pop("definitions", {})


def _modern(value: Any) -> Any:
    if isinstance(value, list):
        return [_modern(each) for each in value]
    if not isinstance(value, dict):
        return value
    result = {key: _modern(each) for key, each in value.items()}
    if isinstance(result.get("items"), list):
        result["prefixItems"] = result.pop("items")
    return result
