"""Objects with named fields: dataclasses, typed dictionaries, and the parameters of `predict` itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corten_serve.schema.kinds import Choice, Kind, Path, Problems, Schema


class Field:
    """One field: its kind, whether it has to be there, and the default as JSON (`has_default` tells None from none)."""

    __slots__ = ("default", "has_default", "kind", "name", "required")

    def __init__(self, name: str, kind: Kind, required: bool, default: Any = None, has_default: bool = False):
        self.name = name
        self.kind = kind
        self.required = required
        self.default = default
        self.has_default = has_default

    def schema(self) -> Schema:
        """The field's schema with its default."""
        schema = self.kind.schema()
        if not self.has_default:
            return schema
        return {**schema, "default": self.default}


class Record(Kind):
    """An object with these fields and no others, unless `extra` says of which kind others may be.

    `build` makes the Python value from a dict of the fields that were there. A ValueError, TypeError or
    AssertionError out of it (a check in `__post_init__`, say) is a problem of the request. `fields` may be filled in
    after construction, so that a class can refer to itself; `reference` is its name among the shared schemas."""

    words = "an object"
    forms = frozenset({"object"})

    def __init__(
        self,
        build: Callable[..., Any] | None = None,
        fields: Sequence[Field] = (),
        extra: Kind | None = None,
        title: str | None = None,
        description: str | None = None,
    ) -> None:
        self._build = build
        self._extra = extra
        self._title = title
        self._description = description
        self.reference: str | None = None
        self.fields = fields

    @property
    def fields(self) -> Sequence[Field]:
        """The fields in the order in which they were written."""
        return tuple(self._fields.values())

    @fields.setter
    def fields(self, fields: Sequence[Field]) -> None:
        self._fields = {field.name: field for field in fields}
        # What reading needs, looked up once and not for each request.
        self._plan = [(field.name, field.kind.read, field) for field in fields]

    def schema(self) -> Schema:
        """A reference to the shared definition, or the definition where there is none."""
        if self.reference is not None:
            return {"$ref": f"#/components/schemas/{self.reference}"}
        return self.definition()

    def definition(self) -> Schema:
        """The schema of the object itself."""
        result: Schema = {"title": self._title} if self._title else {}
        if self._description:
            result["description"] = self._description
        result["type"] = "object"
        result["properties"] = {field.name: field.schema() for field in self.fields}
        required = [field.name for field in self.fields if field.required]
        if required:
            result["required"] = required
        result["additionalProperties"] = False if self._extra is None else self._extra.schema() or True
        return result

    def tags(self) -> Mapping[str, Sequence[Any]]:
        return {field.name: field.kind.plain for field in self.fields if isinstance(field.kind, Choice)}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        return self.read_beside(value, None, path, problems)

    def read_beside(self, value: Any, given: Mapping[str, Any] | None, path: Path, problems: Problems) -> Any:
        """As `read`; the fields in `given` are there already as Python values, because they came as bytes."""
        if type(value) is not dict:
            problems.expected(path, self.words, value)
            return None
        before = len(problems.found)
        result = {}
        for name, read, field in self._plan:
            if name in value:
                result[name] = read(value[name], (path, name), problems)
            elif given is not None and name in given:
                result[name] = given[name]
            elif field.required:
                problems.add((path, name), f"missing; expected {field.kind.words}")
        if len(result) < len(value) + (len(given) if given else 0):
            self._read_extra(value, path, problems, result)
        if len(problems.found) > before:
            return None
        if self._build is None:
            return result
        try:
            return self._build(**result)
        except (ValueError, TypeError, AssertionError) as error:
            problems.add(path, str(error) or type(error).__name__)
            return None

    def _read_extra(
        self, value: dict[str, Any], path: Path, problems: Problems, result: dict[str, Any]
    ) -> None:
        for name in value:
            if name in self._fields:
                continue
            if self._extra is not None:
                result[name] = self._extra.read(value[name], (path, name), problems)
                continue
            from difflib import get_close_matches

            near = get_close_matches(name[:60], list(self._fields), 1)
            expected = f"did you mean '{near[0]}'?" if near else f"expected {self._names()}"
            problems.add((path, name), f"unknown field; {expected}")

    def _names(self) -> str:
        names = list(self._fields)
        return ", ".join(names[:12]) + (", …" if len(names) > 12 else "") if names else "no field at all"
