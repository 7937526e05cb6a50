"""Values are what the standard library's frozen dataclasses with slots are."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from functools import cached_property
from typing import ClassVar

import pytest

from corten import values


def make(dataclass, field):
    @dataclass(frozen=True, slots=True)
    class Base:
        """A base."""

        KIND: ClassVar[str] = "base"
        name: str
        size: int = 0

        @property
        def double(self) -> int:
            return self.size * 2

        def own(self) -> type:
            return __class__

    @dataclass(frozen=True, slots=True)
    class Point(Base):
        """A point."""

        items: tuple[int, ...] = ()
        labels: dict[str, str] = field(default_factory=dict)
        secret: str = field(default="s", repr=False)
        note: str = field(default="", compare=False)

        def __post_init__(self) -> None:
            if self.size < 0:
                raise ValueError("negative")

    return Base, Point


BOTH = [
    pytest.param(values.dataclass, values.field, id="values"),
    pytest.param(dataclasses.dataclass, dataclasses.field, id="dataclasses"),
]


@pytest.mark.parametrize(("dataclass", "field"), BOTH)
def test_what_a_value_is(dataclass, field):
    base, point = make(dataclass, field)
    one = point("a", 1, (1, 2), note="x")
    assert one == point("a", 1, items=(1, 2), note="y")
    assert one != point("a", 2, (1, 2))
    assert one != base("a", 1)
    assert base("a", 1) == base("a", 1)
    assert hash(base("a", 1)) == hash(base("a", 1))
    assert len({base("a"), base("a"), base("b")}) == 2
    with pytest.raises(TypeError):
        hash(one)  # a dictionary is among its fields
    assert repr(one).endswith("Point(name='a', size=1, items=(1, 2), labels={}, note='x')")
    assert one.labels is not point("b").labels
    assert (one.KIND, one.double) == ("base", 2)
    assert point.__match_args__ == ("name", "size", "items", "labels", "secret", "note")
    assert not hasattr(base("a"), "__dict__")
    assert base.__doc__ == "A base."


@pytest.mark.parametrize(("dataclass", "field"), BOTH)
def test_what_a_value_refuses(dataclass, field):
    _, point = make(dataclass, field)
    one = point("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.name
    with pytest.raises((AttributeError, TypeError)):
        one.other = 1
    for wrong in ({}, {"name": "a", "more": 1}):
        with pytest.raises(TypeError):
            point(**wrong)
    with pytest.raises(ValueError, match="negative"):
        point("a", -1)
    with pytest.raises((ValueError, TypeError)):

        @dataclass(frozen=True, slots=True)
        class Wrong:
            items: list = []  # noqa: RUF012

    with pytest.raises(TypeError):

        @dataclass(frozen=True, slots=True)
        class Late:
            first: int = 0
            second: int


@pytest.mark.parametrize(("dataclass", "field"), BOTH)
@pytest.mark.parametrize("library", [dataclasses, values], ids=["by-dataclasses", "by-values"])
def test_both_libraries_know_both(dataclass, field, library):
    _, point = make(dataclass, field)
    one = point("a", 1)
    assert library.replace(one, size=5) == point("a", 5)
    with pytest.raises(ValueError, match="negative"):
        library.replace(one, size=-1)
    nested = point("b", items=(one,), labels={"k": one})
    plain = {"name": "a", "size": 1, "items": (), "labels": {}, "secret": "s", "note": ""}
    assert library.asdict(one) == plain
    assert library.asdict(nested)["items"] == (plain,)
    assert library.asdict(nested)["labels"] == {"k": plain}
    assert [item.name for item in library.fields(one)] == list(plain)
    assert library.is_dataclass(point)
    assert not library.is_dataclass(3)


@values.dataclass(frozen=True, slots=True)
class Pair:
    """Where a pickle finds it."""

    left: int
    right: int = 2


def test_a_method_that_names_its_class_means_the_one_with_slots():
    base, point = make(values.dataclass, values.field)
    assert base("c").own() is point("c").own() is base


def test_copies_and_pickles():
    pair = Pair(1)
    assert copy.copy(pair) == copy.deepcopy(pair) == pickle.loads(pickle.dumps(pair)) == Pair(1, 2)
    match pair:
        case Pair(left, right):
            assert (left, right) == (1, 2)


def test_defining_values_needs_no_dataclasses():
    # `dataclasses` imports `inspect`, and both together are a tenth of a command's start.
    text = "import sys; from corten.runtime import container, launch; assert 'dataclasses' not in sys.modules"
    subprocess.run([sys.executable, "-c", text], check=True)


def test_metadata_and_cached_properties_beside_slots() -> None:
    class Cached:
        pass

    @values.dataclass(frozen=True, slots=True)
    class Made(Cached):
        name: str = values.field(default="x", metadata={"kind": "text"})

        @cached_property
        def key(self) -> list[str]:
            return [self.name]

    made = Made("a")
    assert made.key is made.key
    assert made == Made("a")
    assert hash(made) == hash(Made("a"))
    assert [dict(item.metadata) for item in values.fields(made)] == [{"kind": "text"}]
    assert [dict(item.metadata) for item in dataclasses.fields(made)] == [{"kind": "text"}]


@pytest.mark.parametrize(("dataclass", "field"), BOTH)
def test_a_signature_is_that_of_the_class_also_before_the_first_value(dataclass, field):
    base, point = make(dataclass, field)

    class Loud(point):
        def __init__(self) -> None:
            super().__init__("loud", 3)

    assert list(inspect.signature(base).parameters) == ["name", "size"]
    assert inspect.signature(base).parameters["size"].default == 0
    assert list(inspect.signature(Loud).parameters) == []
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        base()
    assert Loud().size == 3
    assert point("a") == point(name="a")
