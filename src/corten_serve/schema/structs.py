"""msgspec structs, where the project has msgspec. A struct reads itself and writes its own schema; what msgspec does not know
(arrays, frames, images) is read as everywhere else."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corten_serve.schema.kinds import Kind, Path, Problems, Schema

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
REFERENCE = "#/components/schemas/"


def is_struct(cls: Any) -> bool:
    """Whether `cls` is a struct of msgspec, which has then been imported."""
    base = getattr(sys.modules.get("msgspec"), "Struct", None)
    return isinstance(base, type) and isinstance(cls, type) and issubclass(cls, base)


def written(value: Any, other: Callable[[Any], Any]) -> Any:
    """A struct as plain values; `other` makes a step towards them of what msgspec does not know. None for any other value."""
    msgspec = sys.modules.get("msgspec")
    if msgspec is None or not isinstance(value, msgspec.Struct):
        return None
    return msgspec.to_builtins(value, str_keys=True, enc_hook=other)


class Struct(Kind):
    """A struct of msgspec. `foreign` gives the kind of a hint that msgspec does not know."""

    def __init__(self, hint: Any, foreign: Callable[[Any], Kind]) -> None:
        msgspec: Any = sys.modules["msgspec"]
        self._hint = hint
        self._foreign = foreign
        self._msgspec = msgspec
        cls = getattr(hint, "__origin__", hint)
        rows = cls.__struct_config__.array_like
        self.words = "an array" if rows else "an object"
        self.forms = frozenset({"array" if rows else "object"})
        config = cls.__struct_config__
        self._tags = {} if config.tag_field is None else {config.tag_field: [config.tag]}
        (schema,), components = msgspec.json.schema_components(
            [hint], schema_hook=lambda each: foreign(each).schema(), ref_template=REFERENCE + "{name}"
        )
        self._definitions = dict(components)
        self._schema = schema

    def schema(self) -> Schema:
        return dict(self._schema)

    def definitions(self) -> dict[str, Schema]:
        """The struct's schema and those that it refers to, by name."""
        return self._definitions

    def tags(self) -> Mapping[str, Sequence[Any]]:
        return self._tags

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        try:
            return self._msgspec.convert(value, self._hint, dec_hook=self._read_foreign)
        except self._msgspec.ValidationError as error:
            message, at, place = str(error).rpartition(" - at `")
            if not at:
                message, place = place, ""
            for name, index in _STEP.findall(place.rstrip("`")):
                path = (path, name or int(index))
            problems.add(path, (message[:1].lower() + message[1:]).replace("`", "'"))
            return None

    def _read_foreign(self, hint: Any, value: Any) -> Any:
        attempt = Problems()
        result = self._foreign(hint).read(value, None, attempt)
        if attempt.found:
            raise ValueError("; ".join(f"{at}: {text}" if at else text for at, text in attempt.found[:5]))
        return result
