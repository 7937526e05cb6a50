"""The nearest versions that can be had, where pins contradict each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from corten.packages.relaxing import pins_of, propose


def test_pins() -> None:
    lines = [
        "numpy==1.19.5",
        "a[x,y]==1.0 ; os_name == 'posix'",
        "b>=1",
        "c",
        "d==1.*",
        "e==1,<2",
        "twice==1",
        "twice==2",
        "f @ https://h/f-1-py3-none-any.whl",
    ]
    found = pins_of(lines)
    assert {name: (pin.version, pin.loose) for name, pin in found.items()} == {
        "numpy": ("1.19.5", "numpy"),
        "a": ("1.0", "a[x,y] ; os_name == 'posix'"),
    }


class Index:
    """A resolver for packages without dependencies, but for pairs of versions that exclude each other."""

    def __init__(
        self, versions: Mapping[str, Sequence[str]], against: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.versions, self.against, self.asked = versions, against, 0

    def fitting(self, names: Sequence[str]) -> dict[str, list[str]]:
        return {name: list(self.versions[name]) for name in names if name in self.versions}

    def resolve(self, lines: Sequence[str], preferred: Mapping[str, str]) -> dict[str, str] | str:
        self.asked += 1
        found = {}
        for line in lines:
            name, _, version = line.partition("==")
            if version and version not in self.versions[name]:
                return f"there is no version of {name}=={version}"
            newest = preferred.get(name) or self.versions[name][-1]
            found[name] = version or newest
        for one, other in self.against:
            (left, lv), (right, rv) = one.split("=="), other.split("==")
            if (found.get(left), found.get(right)) == (lv, rv):
                return f"{left}=={lv} and {right}=={rv} are incompatible"
        return found

    def proposal(self, *lines: str) -> list[str]:
        said = self.resolve(lines, {})
        assert isinstance(said, str)
        return [change.line for change in propose(lines, said, self.resolve, self.fitting)]


def test_a_pin_without_a_wheel_gets_the_next_version_above() -> None:
    index = Index({"numpy": ["1.23.2", "1.24.0", "2.0"], "b": ["1.0"]})
    assert index.proposal("numpy==1.19.5", "b==1.0") == ["numpy==1.23.2"]
    assert Index({"numpy": ["1.1", "1.2"]}).proposal("numpy==9.0") == ["numpy==1.2"]
    assert Index({"numpy": ["1.2", "1.3rc1"]}).proposal("numpy==1.0") == ["numpy==1.2"]


def test_all_pins_without_a_wheel_change_at_once() -> None:
    index = Index({"a": ["1.5"], "b": ["2.5"], "c": ["1.0"]})
    assert index.proposal("a==1.0", "b==2.0", "c==1.0") == ["a==1.5", "b==2.5"]
    assert index.asked == 2


def test_of_two_that_contradict_the_nearer_moves() -> None:
    index = Index({"far": ["1.0", "9.0"], "near": ["1.0", "1.1"]}, [("far==1.0", "near==1.0")])
    said = index.resolve(["far==1.0", "near==1.0"], {})
    found = propose(["far==1.0", "near==1.0"], str(said), index.resolve, lambda names: {})
    assert [change.line for change in found] == ["near==1.1"]


def test_what_cannot_be_had_is_not_proposed() -> None:
    assert propose(["a==1.0"], "no a", lambda lines, near: "no a", lambda names: {"a": []}) == ()
    assert propose(["a>=1"], "no a", lambda lines, near: "no a", lambda names: {}) == ()


@given(st.lists(st.sampled_from(["a==1", "b==2", "c==3", "d==4", "e", "f==6"]), unique=True))
def test_tries_are_bounded(lines: list[str]) -> None:
    asked = []

    def resolve(tried: Sequence[str], preferred: Mapping[str, str]) -> dict[str, str] | str:
        asked.append(tried)
        return "No solution found: a, b, c, d and f are incompatible"

    assert propose(lines, "a and b and c and d and f", resolve, lambda names: {}) == ()
    assert len(asked) <= 8
