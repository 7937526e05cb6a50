"""What a value in a request may be. A `Kind` describes itself as JSON schema and reads a parsed JSON value.

The two sides belong together: a value that `schema` allows is read without a problem, and any other yields at least one
problem that names the field. Schemas are JSON Schema 2020-12, as OpenAPI 3.1 uses it. Where a rule cannot be written as
a schema (a date that does not exist, rows of unequal length), reading is stricter than the schema and never laxer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from corten_serve.errors import PredictorError

if TYPE_CHECKING:
    from typing import TypeAlias

Path = Any
"""Where a value stands: None for the whole, else `(parent, key)`; rendered only when there is a problem to report."""
Schema: TypeAlias = "dict[str, Any]"
MOST_PROBLEMS = 20


class UnknownHint(PredictorError):
    """A type hint has no form in JSON."""


class Problems:
    """What is wrong with one request, all of it at once, in the order of its fields."""

    spent: list[int] | None = None
    """How many alternatives of unions did not fit so far, in a list that attempts share; None while there was no union."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, path: Path, message: str) -> None:
        """Record `message` for the value at `path`."""
        if len(self.found) <= MOST_PROBLEMS:
            self.found.append((render(path), message))

    def expected(self, path: Path, what: str, value: Any) -> None:
        """Record that `value` is not `what`."""
        self.add(path, f"expected {what}, got {preview(value)}")


def render(path: Path) -> str:
    """`path` as people write it: `items[2].name`. The whole request is the empty string."""
    parts: list[str] = []
    while path is not None:
        path, key = path
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    text = "".join(reversed(parts))
    return (text[1:] if text.startswith(".") else text)[:200]


def preview(value: Any) -> str:
    """A JSON value in a few words, for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"string '{value[:40]}…'" if len(value) > 40 else f"string '{value}'"
    if isinstance(value, (int, float)):
        text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "of more than 30 digits"
        return f"number {text}"
    if isinstance(value, list):
        return "an array" if value else "an empty array"
    return "an object" if value else "an empty object"


class Kind:
    """One sort of value. `words` is how messages name it; `forms` the JSON types that it can be read from."""

    words = "any value"
    forms: frozenset[str] = frozenset({"null", "boolean", "number", "string", "array", "object"})

    def schema(self) -> Schema:
        """The JSON schema of what `read` accepts."""
        return {}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        """The Python value for `value`. After a problem the result means nothing."""
        return value

    def read_many(self, values: list[Any]) -> list[Any] | None:
        """`values` read quickly when nothing is wrong with any of them; None means: go through them one by one."""
        return None

    textual = False
    """Whether a text that stands for a value, in a form or in CSV, is read as it is, though JSON has other forms of it."""

    def tags(self) -> Mapping[str, Sequence[Any]]:
        """The fields of an object that have one of a few fixed values, with these: they tell alternatives apart."""
        return {}

    # A value may also come as bytes of its own: a part of a multipart upload, or a whole body.

    media: tuple[str, ...] = ()
    """The content types in which `read_bytes` takes a value, the usual one first; empty for what is JSON alone. They
    describe and are not enforced: what the bytes are is found in the bytes."""
    produces: str | None = None
    """The content type of the bytes that `encode` makes, as far as it is known before; None for what is JSON alone."""
    item: Kind | None = None
    """The kind of an array's items, for readers that take several parts of one name; None for anything else."""

    def read_bytes(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        """The Python value for `data`, where `media` is not empty. After a problem the result means nothing."""
        problems.add(path, f"expected {self.words}, got bytes")

    def encode(self, value: Any) -> tuple[str, bytes] | None:
        """Content type and bytes of a result that is sent as it is, and not as JSON; None for what is JSON."""
        return None

    def written(self) -> Schema:
        """The JSON schema of a result of this kind, where it is narrower than what `read` accepts."""
        return self.schema()


class Anything(Kind):
    """What has no type hint, or the hint `Any` or `object`."""

    def read_many(self, values: list[Any]) -> list[Any] | None:
        return values


class Null(Kind):
    words = "null"
    forms = frozenset({"null"})

    def schema(self) -> Schema:
        return {"type": "null"}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if value is not None:
            problems.expected(path, self.words, value)


class Boolean(Kind):
    words = "true or false"
    forms = frozenset({"boolean"})

    def schema(self) -> Schema:
        return {"type": "boolean"}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if value is not True and value is not False:
            problems.expected(path, self.words, value)
        return value


class Integer(Kind):
    """A whole number. `3.0` is one, as in JSON schema."""

    words = "an integer"
    forms = frozenset({"number"})

    def schema(self) -> Schema:
        return {"type": "integer"}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        kind = type(value)
        if kind is int:
            return value
        if kind is float and value.is_integer():
            return int(value)
        problems.expected(path, self.words, value)
        return 0

    def read_many(self, values: list[Any]) -> list[Any] | None:
        return values if set(map(type, values)) <= {int} else None


class Number(Kind):
    """A float. Numbers beyond a double's range are refused rather than turned into infinity."""

    words = "a number"
    forms = frozenset({"number"})

    def schema(self) -> Schema:
        return {"type": "number"}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        kind = type(value)
        if kind is float or kind is int:
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
            problems.add(path, "the number is too large")
            return 0.0
        problems.expected(path, self.words, value)
        return 0.0

    def read_many(self, values: list[Any]) -> list[Any] | None:
        if not set(map(type, values)) <= {int, float}:
            return None
        try:
            numbers = list(map(float, values))
        except OverflowError:
            return None
        return numbers if all(map(math.isfinite, numbers)) else None


class String(Kind):
    words = "a string"
    forms = frozenset({"string"})

    def schema(self) -> Schema:
        return {"type": "string"}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not str:
            problems.expected(path, self.words, value)
        return value

    def read_many(self, values: list[Any]) -> list[Any] | None:
        return values if set(map(type, values)) <= {str} else None


class Text(Kind):
    """A value that JSON has no type for and that is written as a string: bytes in base64, dates, times, UUIDs.

    `parse` raises ValueError (or a subclass) for a string that does not spell one."""

    forms = frozenset({"string"})

    def __init__(self, words: str, keywords: Mapping[str, str], parse: Callable[[str], Any]) -> None:
        self.words = words
        self._keywords = keywords
        self._parse = parse

    def schema(self) -> Schema:
        return {"type": "string", **self._keywords}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is str:
            try:
                return self._parse(value)
            except (ValueError, ArithmeticError):
                pass
        problems.expected(path, self.words, value)
        return None


class Quantity(Text):
    """A value that is written as a string, or as a number: a decimal, a duration. Where text stands for it (in a form, in CSV),
    the text itself is read, so that no digit is lost. `number` makes the value of a number, and raises as `parse` does."""

    forms = frozenset({"string", "number"})
    textual = True

    def __init__(
        self, words: str, keywords: Schema, parse: Callable[[str], Any], number: Callable[[Any], Any]
    ) -> None:
        super().__init__(words, keywords, parse)
        self._number = number

    def schema(self) -> Schema:
        return {"type": ["string", "number"], **self._keywords}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is int or type(value) is float:
            try:
                return self._number(value)
            except (ValueError, ArithmeticError):
                problems.expected(path, self.words, value)
                return None
        return super().read(value, path, problems)


class Alias(Kind):
    """A type with a name that may hold itself: `Json = Union[str, list["Json"]]`. `inner` is set when it has been read."""

    def __init__(self, name: str) -> None:
        self.words = f"a value of the type '{name}'"
        self.reference: str | None = None
        self.inner: Kind | None = None

    def close(self, inner: Kind) -> None:
        """From here on this stands for `inner`."""
        self.inner = inner
        self.forms = inner.forms
        self.read = inner.read  # type: ignore[method-assign]

    def schema(self) -> Schema:
        return {"$ref": f"#/components/schemas/{self.reference}"}

    def tags(self) -> Mapping[str, Sequence[Any]]:
        return {} if self.inner is None else self.inner.tags()

    def definition(self) -> Schema:
        """The schema of the type itself."""
        return {} if self.inner is None else self.inner.schema()


class Choice(Kind):
    """One of a few fixed values: `Literal` or an `Enum`. `values` maps each JSON value to the Python value."""

    def __init__(self, values: Sequence[tuple[Any, Any]], title: str | None = None) -> None:
        self._values = {_identity(plain): value for plain, value in values}
        self._plain = [plain for plain, _ in values]
        self._title = title
        self.words = "one of " + ", ".join(_quoted(plain) for plain in self._plain[:12])
        if len(self._plain) > 12:
            self.words += f", … ({len(self._plain)} in all)"
        self.forms = frozenset(form_of(plain) for plain in self._plain)

    @property
    def plain(self) -> Sequence[Any]:
        """The values as JSON has them."""
        return self._plain

    def schema(self) -> Schema:
        title = {"title": self._title} if self._title else {}
        return {**title, "enum": list(self._plain)}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if not isinstance(value, (list, dict)):
            try:
                return self._values[_identity(value)]
            except KeyError:
                pass
        problems.expected(path, self.words, value)
        return None


def form_of(value: Any) -> str:
    """The JSON type of a parsed value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _identity(value: Any) -> tuple[bool, Any]:
    """Equal for values that JSON schema holds equal: 1 and 1.0 are, 1 and true are not."""
    return (isinstance(value, bool), value)


def _quoted(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else preview(value).replace("number ", "")
