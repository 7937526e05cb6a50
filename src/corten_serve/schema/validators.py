"""Validators in `Annotated` that pydantic runs: Before, After, Wrap and Plain, and whatever else brings a core schema.

Pydantic runs them itself, around a schema whose only step is reading a value as its kind does. So their order, their `info` and
what they may raise are pydantic's, and everything else about the value is as without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corten_serve.schema.kinds import Kind, Path, Problems, Schema
from corten_serve.schema.newer_typing import annotated_hint

_ALREADY = frozenset(
    {
        "Strict",
        "FailFast",
        "AllowInfNan",
        "InstanceOf",
        "SkipValidation",
        "Tag",
        "Discriminator",
        "WithJsonSchema",
    }
)
"""Extras of pydantic's that say nothing that a kind does not do by itself, or that concern the schema alone."""
_KNOWN = frozenset({"strict", "allow_inf_nan", "union_mode", "pattern"})
"""What pydantic's unnamed constraints may say without its help: these are kept elsewhere, or always."""
INPUT = frozenset({"BeforeValidator", "WrapValidator", "PlainValidator"})
"""Validators that see a value before it is read, and so may take other forms of it."""


class _Refused(ValueError):
    """The kind's own problems, on their way through pydantic."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(text for _, text in found))
        self.found = found


def runs(extra: Any) -> bool:
    """Whether pydantic has to run this extra of `Annotated`."""
    cls = extra if isinstance(extra, type) else type(extra)
    if cls.__name__ in _ALREADY and cls.__module__.startswith("pydantic"):
        return False
    if hasattr(extra, "__get_pydantic_core_schema__"):
        return True
    if cls.__name__.endswith("PydanticGeneralMetadata"):
        return any(value is not None and name not in _KNOWN for name, value in vars(extra).items())
    return False


class Validated(Kind):
    """Another kind with one validator. `converts` says that it may read other forms than the kind. Making one raises what
    pydantic has against it."""

    def __init__(self, kind: Kind, extra: Any) -> None:
        import pydantic  # type: ignore[import-not-found,unused-ignore]

        name = type(extra).__name__
        self.inner = kind
        self.plain = name == "PlainValidator"
        self.converts = name in INPUT or getattr(kind, "converts", False)
        self.words = "any value" if self.plain else kind.words
        self.forms = Kind.forms if self.plain else kind.forms
        self.item = None if self.plain else kind.item
        self.textual = kind.textual
        self.media = kind.media
        self.produces = kind.produces
        self.read_array = self._read_array if getattr(kind, "read_array", None) else None
        self._refused: Any = pydantic.ValidationError
        adapter: Any = pydantic.TypeAdapter
        self._run: Any = adapter(annotated_hint(_step(self._inner), extra)).validate_python
        self._after: Any = adapter(annotated_hint(_step(lambda value: value), extra)).validate_python
        self._place: tuple[Path, Problems] = (None, Problems())

    def schema(self) -> Schema:
        return {} if self.plain else self.inner.schema()

    def tags(self) -> Mapping[str, Sequence[Any]]:
        return self.inner.tags()

    def written(self) -> Schema:
        return self.inner.written()

    def encode(self, value: Any) -> tuple[str, bytes] | None:
        return self.inner.encode(value)

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        before, self._place = self._place, (path, problems)
        try:
            return self._checked(self._run, value, path, problems)
        finally:
            self._place = before  # A type may hold itself.

    def read_bytes(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        result = self.inner.read_bytes(data, content_type, path, problems)
        return result if len(problems.found) > before else self._checked(self._after, result, path, problems)

    def _read_array(self, array: Any, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        result = self.inner.read_array(array, path, problems)  # type: ignore[attr-defined]
        return result if len(problems.found) > before else self._checked(self._after, result, path, problems)

    def _inner(self, value: Any) -> Any:
        path, problems = self._place
        attempt = Problems()
        attempt.spent = problems.spent
        result = self.inner.read(value, path, attempt)
        if attempt.found:
            raise _Refused(attempt.found)
        return result

    def _checked(self, run: Callable[[Any], Any], value: Any, path: Path, problems: Problems) -> Any:
        try:
            return run(value)
        except self._refused as error:
            for problem in error.errors(include_url=False):
                cause = problem.get("ctx", {}).get("error")
                if isinstance(cause, _Refused):
                    problems.found.extend(cause.found)
                    continue
                place = path
                for key in problem["loc"]:
                    place = (place, key)
                text = str(cause) if isinstance(cause, Exception) and str(cause) else problem["msg"]
                problems.add(place, text[:1].lower() + text[1:] if cause is None else text)
            return None


def _step(read: Callable[[Any], Any]) -> Any:
    """A type whose only validation is `read`."""
    step = {"type": "function-plain", "function": {"type": "no-info", "function": read}}

    def schema(cls: Any, source: Any, handler: Any) -> Any:
        return step

    return type("Value", (), {"__get_pydantic_core_schema__": classmethod(schema)})
