"""Kinds made of other kinds: arrays, objects with free keys, unions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from corten_serve.schema.kinds import (
    Anything,
    Choice,
    Integer,
    Kind,
    Number,
    Path,
    Problems,
    Quantity,
    Schema,
    Text,
    form_of,
    preview,
)

_MOST_ATTEMPTS = 1_000_000
"""Unions within unions of the same form are tried in every combination; a request that is made to abuse this ends here."""


class Several(Kind):
    """An array whose items are all of one kind. `build` makes the Python value of the list (`tuple`, `set`, …)."""

    words = "an array"
    forms = frozenset({"array"})

    def __init__(self, item: Kind, build: Callable[[list[Any]], Any] | None = None) -> None:
        self.item = self._each = item
        self._build = build

    def schema(self) -> Schema:
        items = self._each.schema()
        return {"type": "array", "items": items} if items else {"type": "array"}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if type(value) is not list:
            problems.expected(path, self.words, value)
            return None
        result = self._each.read_many(value)
        if result is None:
            before = len(problems.found)
            read = self._each.read
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
    """An array of a fixed length, each place with a kind of its own: `tuple[int, str]` or a named tuple, whose last `spare`
    items may be missing."""

    forms = frozenset({"array"})

    def __init__(
        self,
        items: Sequence[Kind],
        build: Callable[[list[Any]], Any] = tuple,
        names: Sequence[str] = (),
        title: str | None = None,
        spare: int = 0,
    ) -> None:
        self.items = items
        self._spare = spare
        self._build = build
        self._names = names
        self._title = title

    @property
    def words(self) -> str:  # type: ignore[override]
        """The number of items is known only when a named tuple has been described."""
        size = f"{len(self.items) - self._spare} to " if self._spare else ""
        return f"an array of {size}{len(self.items)} item{'' if len(self.items) == 1 else 's'}"

    def schema(self) -> Schema:
        items = [item.schema() for item in self.items]
        for place, name in enumerate(self._names):
            items[place] = {"title": name, **items[place]}
        title = {"title": self._title} if self._title else {}
        size = {"minItems": len(items) - self._spare, "maxItems": len(items)}
        return {**title, "type": "array", **({"prefixItems": items} if items else {}), **size}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        most = len(self.items)
        if type(value) is not list or not most - self._spare <= len(value) <= most:
            got = f"an array of {len(value)}" if isinstance(value, list) and value else preview(value)
            problems.add(path, f"expected {self.words}, got {got}")
            return None
        before = len(problems.found)
        result = [
            kind.read(item, (path, place), problems)
            for place, (item, kind) in enumerate(zip(value, self.items))  # noqa: B905 (no `strict` in Python 3.9)
        ]
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

    def __init__(self, options: Sequence[Kind], tag: str | None = None) -> None:
        self._options = sorted(options, key=_breadth)
        self.textual = any(option.textual for option in options) and not any(
            "number" in option.forms for option in options if not option.textual
        )
        if any(isinstance(option, Quantity) for option in options):
            # They take numbers too, but a float that is written beside them is meant by a number.
            self._options.sort(key=lambda option: not isinstance(option, (Choice, Integer, Number)))
        self._written = options
        self._tag = tag
        self.forms = frozenset().union(*(option.forms for option in options))
        self.words = " or ".join(dict.fromkeys(option.words for option in options))
        self._bytes = next((option for option in options if option.media), None)
        if self._bytes is not None:
            self.media = self._bytes.media
            self.produces = self._bytes.produces
        self.item = next((option.item for option in options if option.item is not None), None)
        self._arrays = [read for option in options if (read := getattr(option, "read_array", None))]
        self.read_array = self._read_array if self._arrays else None

    def schema(self) -> Schema:
        schemas = [option.schema() for option in self._written]
        return {"anyOf": schemas} if all(schemas) else {}

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        nearest: Problems | None = None
        spent = problems.spent = problems.spent or [0]
        form = form_of(value)
        for option in self._options:
            if form not in option.forms and not getattr(option, "converts", False):
                continue
            attempt = Problems()
            attempt.spent = spent
            result = option.read(value, path, attempt)
            if not attempt.found:
                return result
            spent[0] += 1
            if spent[0] > _MOST_ATTEMPTS:
                problems.add(path, "too many combinations of alternatives to try")
                return None
            # Between several alternatives of the same form, the one with the fewest problems was probably meant.
            if nearest is None or len(attempt.found) < len(nearest.found):
                nearest = attempt
        if form == "object" and self._blame_tagged(value, path, problems):
            return None
        if nearest is not None and form in ("array", "object"):
            problems.found.extend(nearest.found)
        else:
            problems.expected(path, self.words, value)
        return None

    @property
    def options(self) -> Sequence[Kind]:
        """The alternatives as they were written."""
        return self._written

    def tagged(self, tag: str) -> Either:
        """The same union, whose alternatives the field `tag` tells apart."""
        return Either(self._written, tag)

    def _blame_tagged(self, value: dict[str, Any], path: Path, problems: Problems) -> bool:
        """Record what is wrong with an object that no alternative takes, where a field says which alternative is meant: what
        that one has against it, or else that the field names none. False where no field does."""
        choices = [tags for option in self._options if (tags := option.tags())]
        shared = [name for name in (choices[0] if choices else ()) if all(name in tags for tags in choices)]
        if self._tag is not None:
            shared = [self._tag]
        for name in shared:
            sets = [tags.get(name, ()) for tags in choices]
            words = [each for found in sets for each in found]
            if len(choices) < 2 or len(set(map(str, words))) < len(words):
                continue
            if name not in value:
                if self._tag is None:
                    continue
                problems.add(
                    (path, name), f"missing; expected {Choice([(each, each) for each in words]).words}"
                )
                return True
            meant = [option for option in self._options if value[name] in option.tags().get(name, ())]
            if meant:
                meant[0].read(value, path, problems)
                return True
            if len(choices) == sum("object" in option.forms for option in self._options):
                problems.expected((path, name), Choice([(each, each) for each in words]).words, value[name])
                return True
        return False

    def read_bytes(self, data: bytes | memoryview, content_type: str, path: Path, problems: Problems) -> Any:
        if self._bytes is None:
            return super().read_bytes(data, content_type, path, problems)
        return self._bytes.read_bytes(data, content_type, path, problems)

    def _read_array(self, array: Any, path: Path, problems: Problems) -> Any:
        """The array as the first alternative takes it; what is wrong with it is what the first says."""
        first: Problems | None = None
        for read in self._arrays:
            attempt = Problems()
            result = read(array, path, attempt)
            if not attempt.found:
                return result
            first = first or attempt
        problems.found.extend(first.found if first is not None else ())
        return None

    def encode(self, value: Any) -> tuple[str, bytes] | None:
        encoded = (option.encode(value) for option in self._written)
        return next((pair for pair in encoded if pair is not None), None)


def _breadth(kind: Kind) -> int:
    if isinstance(kind, Choice):
        return 0
    if isinstance(kind, (Integer, Text)):
        return 1
    return 3 if isinstance(kind, Anything) else 2
