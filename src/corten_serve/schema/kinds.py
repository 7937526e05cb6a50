"""What a value in a request may be. A `Kind` describes itself as JSON schema and reads a parsed JSON value.

The two sides belong together: a value that `schema` allows is read without a problem, and any other yields at least one
problem that names the field. Schemas are JSON Schema 2020-12, as OpenAPI 3.1 uses it. Where a rule cannot be written as
a schema (a date that does not exist, rows of unequal length), reading is stricter than the schema and never laxer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Path = Any
"""Where a value stands: None for the whole, else `(parent, key)`; rendered only when there is a problem to report."""
Schema = dict[str, Any]
MOST_PROBLEMS = 20


class Problems:
    """What is wrong with one request, all of it at once, in the order of its fields."""

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


class Several(Kind):
    """An array whose items are all of one kind. `build` makes the Python value of the list (`tuple`, `set`, …)."""

    words = "an array"
    forms = frozenset({"array"})

    def __init__(self, item: Kind, build: Callable[[list[Any]], Any] | None = None) -> None:
        self._item = item
        self._build = build

    def schema(self) -> Schema:
        items = self._item.schema()
        return {"type": "array", "items": items} if items else {"type": "array"}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not list:
            problems.expected(path, self.words, value)
            return None
        result = self._item.read_many(value)
        if result is None:
            before = len(problems.found)
            read = self._item.read
            result = [read(item, (path, index), problems) for index, item in enumerate(value)]
            if len(problems.found) > before:
                return None
        if self._build is None:
            return result
        try:
            return self._build(result)
        except TypeError:
            problems.add(path, "its items have to be plain values, to be put into a set")
            return None


class Fixed(Kind):
    """An array of a fixed length, each place with a kind of its own: `tuple[int, str]` or a named tuple."""

    forms = frozenset({"array"})

    def __init__(
        self,
        items: Sequence[Kind],
        build: Callable[[list[Any]], Any] = tuple,
        names: Sequence[str] = (),
        title: str | None = None,
    ) -> None:
        self._items = items
        self._build = build
        self._names = names
        self._title = title

    @property
    def words(self) -> str:  # type: ignore[override]
        """The number of items is known only when a named tuple has been described."""
        return f"an array of {len(self._items)} item{'' if len(self._items) == 1 else 's'}"

    def schema(self) -> Schema:
        items = [item.schema() for item in self._items]
        for place, name in enumerate(self._names):
            items[place] = {"title": name, **items[place]}
        title = {"title": self._title} if self._title else {}
        size = {"minItems": len(items), "maxItems": len(items)}
        return {**title, "type": "array", **({"prefixItems": items} if items else {}), **size}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not list or len(value) != len(self._items):
            got = f"an array of {len(value)}" if isinstance(value, list) and value else preview(value)
            problems.add(path, f"expected {self.words}, got {got}")
            return None
        before = len(problems.found)
        result = [kind.read(value[i], (path, i), problems) for i, kind in enumerate(self._items)]
        return self._build(result) if len(problems.found) == before else None


class Table(Kind):
    """An object with keys of the client's choosing: `dict[str, X]`. `keys` reads a key from its string."""

    words = "an object"
    forms = frozenset({"object"})

    def __init__(self, value: Kind, keys: Kind | None = None) -> None:
        self._value = value
        self._keys = keys

    def schema(self) -> Schema:
        inner = self._value.schema()
        result: Schema = {"type": "object"}
        if self._keys is not None:
            result["propertyNames"] = self._keys.schema()
        if inner:
            result["additionalProperties"] = inner
        return result

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not dict:
            problems.expected(path, self.words, value)
            return None
        read, keys = self._value.read, self._keys
        result = {}
        for key, item in value.items():
            place = (path, key)
            name = key if keys is None else keys.read(key, place, problems)
            result[name] = read(item, place, problems)
        return result


class Either(Kind):
    """A union. The first alternative that reads the value without a problem counts, the narrower before the wider."""

    def __init__(self, options: Sequence[Kind]) -> None:
        self._options = sorted(options, key=_breadth)
        self._written = options
        self.forms = frozenset().union(*(option.forms for option in options))
        self.words = " or ".join(dict.fromkeys(option.words for option in options))

    def schema(self) -> Schema:
        schemas = [option.schema() for option in self._written]
        return {"anyOf": schemas} if all(schemas) else {}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        nearest: Problems | None = None
        form = form_of(value)
        for option in self._options:
            if form not in option.forms:
                continue
            attempt = Problems()
            result = option.read(value, path, attempt)
            if not attempt.found:
                return result
            # Between several alternatives of the same form, the one with the fewest problems was probably meant.
            if nearest is None or len(attempt.found) < len(nearest.found):
                nearest = attempt
        if nearest is not None and form in ("array", "object"):
            problems.found.extend(nearest.found)
        else:
            problems.expected(path, self.words, value)
        return None


class Described(Kind):
    """Another kind with a description, from `Annotated[X, "what it is"]`."""

    def __init__(self, kind: Kind, description: str) -> None:
        self._kind = kind
        self._description = description
        self.words = kind.words
        self.forms = kind.forms
        self.read = kind.read  # type: ignore[method-assign]
        self.read_many = kind.read_many  # type: ignore[method-assign]

    def schema(self) -> Schema:
        return {**self._kind.schema(), "description": self._description}


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


def _breadth(kind: Kind) -> int:
    if isinstance(kind, Choice):
        return 0
    if isinstance(kind, (Integer, Text)):
        return 1
    return 3 if isinstance(kind, Anything) else 2
