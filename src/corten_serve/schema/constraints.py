"""Bounds, lengths, patterns, descriptions and examples, from the extras of `Annotated`.

An extra is known by its attributes and not by its class: `Field` below, pydantic's `Field(…)`, the marks of
annotated_types, `msgspec.Meta`, a `Doc`, or a plain string.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import io
import math
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from corten_serve.errors import PredictorError
from corten_serve.schema import validators
from corten_serve.schema.compounds import Either
from corten_serve.schema.kinds import Kind, Path, Problems, Schema, Text, preview

_BOUNDS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
_KEYWORDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_SIZES = {"string": ("Length", "character"), "array": ("Items", "item"), "object": ("Properties", "field")}
_ORDERED = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)
_NAMES = (*_KEYWORDS, "min_length", "max_length", "pattern")


_UNSET = ("PydanticUndefinedType", "UndefinedType")
"""How pydantic 2 and 1 say that there is no default."""


class BadRule(PredictorError):
    """A rule in `Annotated` that cannot be kept or makes no sense for its type."""


@dataclasses.dataclass(frozen=True)
class Field:
    """What a value has to be beside its type: `Annotated[float, Field(ge=0, le=1, description="…")]`.

    Bounds hold for numbers, dates and decimals; lengths for strings (characters), bytes, arrays (items) and objects (fields).
    `pattern` is searched for anywhere in a string, as JSON schema does; write `^…$` for the whole. `media` is the content
    type of bytes or of a file."""

    ge: Any = None
    gt: Any = None
    le: Any = None
    lt: Any = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    description: str | None = None
    examples: list[Any] | None = None
    media: str | None = None


def annotated(kind: Kind, extras: Iterable[Any]) -> Kind:
    """`kind` with what `extras` say of it, in their order. Raises BadRule for what cannot be said of it."""
    rules: dict[str, Any] = {}
    checks: list[Any] = []
    words: Schema = {}
    for extra in _flat(extras):
        if isinstance(extra, str):
            words.setdefault("description", extra)
            continue
        _refuse_unkept(extra)
        if validators.runs(extra) and not (kind.media and type(extra).__name__ == "EncodedBytes"):
            if rules or checks:
                kind, rules, checks = Limited(kind, rules, checks, {}), {}, []
            try:
                kind = validators.Validated(kind, extra)
            except Exception as error:
                reason = str(error).strip().partition("\n")[0]
                raise BadRule(
                    f"'{type(extra).__name__}' cannot be run on {kind.words}: {reason}"[:300]
                ) from error
        for name in _NAMES:
            value = getattr(extra, name, None)
            if value is not None and not callable(value):
                rules[name] = value
        regex = getattr(extra, "regex", None)
        if isinstance(regex, str) and type(extra).__name__ == "FieldInfo":
            rules["pattern"] = (
                regex if regex.startswith("^") else f"^(?:{regex})"
            )  # pydantic 1 matches from the start.
        discriminator = getattr(extra, "discriminator", None)
        if isinstance(discriminator, str) and isinstance(kind, Either):
            kind = kind.tagged(discriminator)
        if type(extra).__name__ == "Predicate" and callable(getattr(extra, "func", None)):
            checks.append(extra.func)
        zone = getattr(extra, "tz", None)
        if type(extra).__name__ == "Timezone" or isinstance(zone, bool):
            checks.append(_zoned(zone))
        for name, text in (
            ("description", "description"),
            ("documentation", "description"),
            ("title", "title"),
        ):
            value = getattr(extra, name, None)
            if isinstance(value, str) and value and not isinstance(extra, type):
                words.setdefault(text, value)
        examples = getattr(extra, "examples", None)
        if isinstance(examples, (list, tuple)) and examples:
            words.setdefault("examples", list(examples))
        if isinstance(getattr(extra, "media", None), str) and kind.media:
            words["contentMediaType"] = extra.media
    return Limited(kind, rules, checks, words) if rules or checks else Said(kind, words) if words else kind


def _flat(extras: Iterable[Any]) -> Iterator[Any]:
    """The extras, with pydantic's `Field(…)` opened, which keeps its marks in `metadata`, and groups (annotated_types), whose
    own rules are about what those in them make of a value."""
    for extra in extras:
        if getattr(extra, "__is_annotated_types_grouped_metadata__", False) is True:
            yield from filter(validators.runs, extra)
        yield extra
        inner = getattr(extra, "metadata", None)
        if isinstance(inner, (list, tuple)):
            yield from inner


def _refuse_unkept(extra: Any) -> None:
    """What pydantic's `Field(…)` may say of a field of a model, and not of a parameter. Raises BadRule."""
    if type(extra).__name__ != "FieldInfo":
        return
    for name in ("alias", "validation_alias", "default_factory"):
        if getattr(extra, name, None) is not None:
            raise BadRule(
                f"'{name}' in 'Field(…)' is not kept",
                hint="name the parameter so, and write its default after it",
            )
    default = getattr(extra, "default", None)
    if default is not None and default is not Ellipsis and type(default).__name__ not in _UNSET:
        raise BadRule(
            "'default' in 'Field(…)' is not kept",
            hint="write the default after the type: 'x: Annotated[…] = …'",
        )


def _zoned(zone: Any) -> Any:
    """The check of a time's zone: None or False for none, … or True for any, else the zone or its name."""

    def zoned(value: Any) -> bool:
        if zone is None or zone is False:
            return value.tzinfo is None
        if value.tzinfo is None or zone is Ellipsis or zone is True:
            return value.tzinfo is not None
        return str(value.tzinfo) == str(zone) or (
            not isinstance(zone, str) and value.utcoffset() == zone.utcoffset(value)
        )

    zoned.__name__ = f"time zone {zone}"
    return zoned


class Said(Kind):
    """Another kind with words for people beside it: a description, a title, examples."""

    def __init__(self, kind: Kind, words: Schema) -> None:
        self.inner = kind
        self._words = words
        self.words = kind.words
        self.forms = kind.forms
        self.item = kind.item
        self.textual = kind.textual
        self.media = kind.media
        self.produces = kind.produces
        self.converts = getattr(kind, "converts", False)
        media = words.get("contentMediaType")
        if media:
            self.media = (media,)
            self.produces = media
        self._shorten()

    def _shorten(self) -> None:
        """Reading goes straight to the kind: words cost a request nothing."""
        self.read = self.inner.read  # type: ignore[method-assign]
        self.read_many = self.inner.read_many  # type: ignore[method-assign]
        self.read_bytes = self.inner.read_bytes  # type: ignore[method-assign]
        self.read_array = getattr(self.inner, "read_array", None)

    def schema(self) -> Schema:
        return {**self.inner.schema(), **self._words}

    def written(self) -> Schema:
        return {**self.inner.written(), **self._words}

    def tags(self) -> Mapping[str, Sequence[Any]]:
        return self.inner.tags()

    def encode(self, value: Any) -> tuple[str, bytes] | None:
        encoded = self.inner.encode(value)
        if encoded is None or "contentMediaType" not in self._words:
            return encoded
        return self._words["contentMediaType"], encoded[1]


class Limited(Said):
    """Another kind with rules that its values keep. A rule says nothing of a value of another form, as in JSON schema: in
    `Optional[int]`, a bound lets null pass."""

    def __init__(self, kind: Kind, rules: dict[str, Any], checks: list[Any], words: Schema) -> None:
        super().__init__(kind, words)
        self._rules = rules
        self._checks = checks
        self._numbers = "number" in kind.forms
        self._bounds = [(name, rules[name]) for name in _BOUNDS if name in rules]
        self._step = rules.get("multiple_of")
        self._least = rules.get("min_length")
        self._most = rules.get("max_length")
        self._search = _compiled(rules["pattern"]) if "pattern" in rules else None
        self._sized = self._least is not None or self._most is not None
        self._converted = _is_converted(kind)
        self._refuse_senseless(kind)
        self.words = kind.words + self._phrase()

    def _shorten(self) -> None:
        """There is no short way around rules."""
        self.read_array = self._read_array if getattr(self.inner, "read_array", None) else None

    def schema(self) -> Schema:
        return {**self.inner.schema(), **self._keywords(), **self._words}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        result = self.inner.read(value, path, problems)
        if len(problems.found) == before and not self._holds(result if self._converted else value, result):
            problems.expected(path, self.words, value)
        return result

    def read_many(self, values: list[Any]) -> list[Any] | None:
        results = self.inner.read_many(values)
        if results is None or not all(map(self._holds, values, results)):
            return None
        return results

    def read_bytes(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        result = self.inner.read_bytes(data, content_type, path, problems)
        if len(problems.found) == before and not self._holds(None, result):
            problems.add(path, f"expected {self.words}, got {len(data)} bytes")
        return result

    def _read_array(self, array: Any, path: Path, problems: Problems) -> Any:
        before = len(problems.found)
        result = self.inner.read_array(array, path, problems)  # type: ignore[attr-defined]
        if len(problems.found) == before and not self._holds(None, result):
            problems.add(path, f"expected {self.words}, got an array of the shape {list(array.shape)}")
        return result

    def _holds(self, value: Any, result: Any) -> bool:
        kind = type(value)
        number = kind is int or kind is float
        if self._bounds and (number or isinstance(result, _ORDERED)):
            compared = result if isinstance(result, _ORDERED) or not number else value
            for name, bound in self._bounds:
                if not _within(name, compared, bound):
                    return False
        if self._step is not None and isinstance(result, decimal.Decimal):
            if result % _decimal(self._step):
                return False
        elif self._step is not None and number and not _multiple(value, self._step):
            return False
        if self._sized and not self._fits(value, result):
            return False
        if self._search is not None and kind is str and self._search(value) is None:
            return False
        return all(check(result) for check in self._checks) if self._checks else True

    def _fits(self, value: Any, result: Any) -> bool:
        """Lengths: of an array or object as it came, and of a set or bytes as they are; whichever is the stricter."""
        if self.inner.media and not isinstance(value, (list, dict)):
            size = _size(result)
            sizes = [] if size is None else [size]
        else:
            sizes = [len(value)] if isinstance(value, (list, dict, str)) else []
            sizes += [len(result)] if isinstance(result, (set, frozenset)) else []
            sizes += list(result.shape[:1]) if value is None and hasattr(result, "shape") else []
        if not sizes:
            return True
        least, most = self._least, self._most
        return (least is None or min(sizes) >= least) and (most is None or max(sizes) <= most)

    def _keywords(self) -> Schema:
        result: Schema = {}
        if self._numbers:
            plain = {name: self._rules[name] for name in _KEYWORDS if name in self._rules}
            result = {_KEYWORDS[name]: value for name, value in plain.items() if _is_number(value)}
        for form, (ending, _) in _SIZES.items():
            # The length of bytes is not that of their base64.
            if form in self.forms and not (form == "string" and self.inner.media):
                for name, start in (("min_length", "min"), ("max_length", "max")):
                    if name in self._rules:
                        result[start + ending] = self._rules[name]
        if self._search is not None:
            pattern = self._rules["pattern"]
            result["pattern"] = pattern if isinstance(pattern, str) else pattern.pattern
        return result

    def _phrase(self) -> str:
        parts = [f"{_BOUNDS[name]} {_shown(bound)}" for name, bound in self._bounds]
        if [name for name, _ in self._bounds] == ["ge", "le"]:
            parts = [f"from {_shown(self._rules['ge'])} to {_shown(self._rules['le'])}"]
        if self._step is not None:
            parts.append(f"that is a multiple of {_shown(self._step)}")
        if self._sized:
            noun = next((noun for form, (_, noun) in _SIZES.items() if form in self.forms), "item")
            noun = "byte" if self.inner.media else noun
            least, most = self._least, self._most
            if least is not None and most is not None and least != most:
                parts.append(f"of {least} to {most} {noun}s")
            else:
                how = "" if least == most else "at least " if most is None else "at most "
                count = most if least is None else least
                parts.append(f"of {how}{count} {noun}{'' if count == 1 else 's'}")
        if self._search is not None:
            parts.append(f"that matches '{self._keywords()['pattern']}'"[:200])
        parts += [f"for which '{getattr(check, '__name__', 'the check')}' holds" for check in self._checks]
        return " " + " and ".join(parts)

    def _refuse_senseless(self, kind: Kind) -> None:
        """A rule that no value could break or keep is a mistake of the project's, told at start."""
        for name in ("min_length", "max_length"):
            size = self._rules.get(name)
            if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
                raise BadRule(f"'{name}' is {size!r}", hint="it is a whole number")
        sized = kind.forms & set(_SIZES)
        ordered = self._numbers or isinstance(kind, (Text, Either))
        for name in self._rules:
            wanted = (
                sized
                if name.endswith("_length")
                else "string" in kind.forms
                if name == "pattern"
                else ordered
            )
            if not wanted:
                raise BadRule(f"'{name}' says nothing about {kind.words}")
        if self._step is not None and (not _is_number(self._step) or self._step <= 0):
            raise BadRule(f"'multiple_of' is {self._step!r}", hint="it is a number above 0")


def _is_converted(kind: Any) -> bool:
    """Whether a validator inside may make another value, which is then what rules are about."""
    while kind is not None:
        if isinstance(kind, validators.Validated):
            return True
        kind = kind.inner if isinstance(kind, Said) else None
    return False


def _size(value: Any) -> int | None:
    """How many bytes an upload has; None for an image."""
    if isinstance(value, io.BytesIO):
        return value.getbuffer().nbytes
    if isinstance(value, pathlib.Path):
        return value.stat().st_size
    return len(value) if isinstance(value, (bytes, bytearray)) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _within(name: str, value: Any, bound: Any) -> bool:
    try:
        if name == "ge":
            return bool(value >= bound)
        if name == "gt":
            return bool(value > bound)
        return bool(value <= bound) if name == "le" else bool(value < bound)
    except TypeError:
        # A date with a time zone beside a bound without one, or a value that is not ordered: it cannot be told to be within.
        return False


def _multiple(value: Any, step: Any) -> bool:
    """Whether `value` is a multiple of `step`; for floats as far as their digits go, so that 0.3 is one of 0.1."""
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    try:
        quotient = value / step
    except OverflowError:
        return False
    return math.isfinite(quotient) and abs(quotient - round(quotient)) <= 1e-9 * max(1.0, abs(quotient))


def _decimal(step: Any) -> decimal.Decimal:
    return step if isinstance(step, decimal.Decimal) else decimal.Decimal(str(step))


def _compiled(pattern: Any) -> Any:
    """The search for `pattern`, compiled once. In a text, `$` is the end and nothing else: Python's own would let a line
    break follow, which JSON schema (ECMA 262) does not. Raises BadRule."""
    if isinstance(pattern, re.Pattern):
        return pattern.search
    text, inside, position = "", False, 0
    while position < len(pattern):
        sign = pattern[position]
        if sign == "\\":
            text += pattern[position : position + 2]
            position += 2
            continue
        inside = sign == "[" or (inside and sign != "]")
        text += r"\Z" if sign == "$" and not inside else sign
        position += 1
    try:
        return re.compile(text).search
    except re.error as error:
        raise BadRule(f"the pattern '{pattern}' cannot be used: {error}") from error


def _shown(bound: Any) -> str:
    return preview(bound).replace("number ", "") if _is_number(bound) else str(bound)
