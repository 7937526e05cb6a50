from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import ResolutionError
from corten.packages.debian import relations
from corten.packages.debian.index import Package
from corten.packages.debian.solver import resolve
from support.properties import thorough


class Universe:
    """Packages in a dictionary."""

    def __init__(self, *packages: Package) -> None:
        self.packages = packages

    def named(self, name: str) -> Sequence[Package]:
        from corten.packages.debian.version import key

        return sorted(
            (p for p in self.packages if p.name == name), key=lambda p: key(p.version), reverse=True
        )

    def providing(self, name: str) -> Sequence[Package]:
        return sorted(
            (p for p in self.packages if p.name != name and any(item.name == name for item in p.provides)),
            key=lambda p: p.name,
        )

    def names(self) -> Sequence[str]:
        return sorted({p.name for p in self.packages})


def package(name: str, version: str = "1.0", **fields: str) -> Package:
    def groups(field: str):
        return relations.parse(fields.get(field, ""), "amd64")

    def flat(field: str):
        return tuple(relation for group in groups(field) for relation in group)

    return Package(
        name,
        version,
        "amd64",
        depends=groups("depends"),
        provides=flat("provides"),
        conflicts=flat("conflicts"),
        breaks=flat("breaks"),
    )


def names(universe: Universe, *wanted: str, **rest) -> list[str]:
    return [item.name for item in resolve(universe, wanted, "amd64", **rest)]


def test_takes_the_closure_with_dependencies_first() -> None:
    universe = Universe(
        package("app", depends="lib (>= 1), tool"),
        package("tool", depends="lib"),
        package("lib", depends="base"),
        package("base"),
        package("other"),
    )
    assert names(universe, "app") == ["base", "lib", "tool", "app"]


def test_the_order_does_not_depend_on_the_question() -> None:
    universe = Universe(*(package(letter, depends="z") for letter in "abc"), package("z"))
    assert names(universe, "c", "a", "b") == names(universe, "b", "c", "a", "a") == ["z", "a", "b", "c"]


def test_cycles_are_no_problem() -> None:
    universe = Universe(
        package("libc", depends="gcc"), package("gcc", depends="libc"), package("app", depends="libc")
    )
    assert sorted(names(universe, "app")) == ["app", "gcc", "libc"]


def test_the_newest_version_that_fits_is_taken() -> None:
    universe = Universe(
        package("lib", "1.0"),
        package("lib", "2.0"),
        package("app", depends="lib (<< 2)"),
        package("other", depends="lib"),
    )
    assert resolve(universe, ["other"], "amd64")[0].version == "2.0"
    assert resolve(universe, ["app"], "amd64")[0].version == "1.0"
    # Both: the choice of 2.0 for `other` is taken back.
    chosen = resolve(universe, ["app", "other"], "amd64")
    assert {item.name: item.version for item in chosen} == {"lib": "1.0", "app": "1.0", "other": "1.0"}


def test_the_first_alternative_wins_unless_another_is_there_anyway() -> None:
    universe = Universe(
        package("app", depends="x | y"),
        package("x"),
        package("y"),
        package("needs-y", depends="y"),
        package("nox", depends="q | y"),
    )
    assert names(universe, "app") == ["x", "app"]
    assert names(universe, "app", "needs-y") == ["y", "app", "needs-y"]
    assert names(universe, "nox") == ["y", "nox"]


def test_virtual_packages() -> None:
    universe = Universe(
        package("app", depends="awk"),
        package("gawk", provides="awk"),
        package("mawk", provides="awk"),
        package("script", depends="perl-abi (>= 5.36)"),
        package("perl", provides="perl-abi (= 5.36.0)"),
        package("old", depends="perl-abi (>= 6)"),
        package("bound", depends="awk (>= 1)"),
    )
    assert names(universe, "app") == ["mawk", "app"]
    assert names(universe, "app", "gawk") == ["gawk", "app"]
    assert names(universe, "script") == ["perl", "script"]
    with pytest.raises(ResolutionError, match=r"'old' needs perl-abi \(>= 6\), which cannot be met"):
        resolve(universe, ["old"], "amd64")
    with pytest.raises(ResolutionError):  # an unversioned Provides meets no bound (Policy 7.5)
        resolve(universe, ["bound"], "amd64")


def test_asking_for_a_virtual_package_lists_who_provides_it() -> None:
    universe = Universe(
        package("a", provides="mta"), package("b", provides="mta"), package("c", provides="only-one")
    )
    with pytest.raises(
        ResolutionError, match="'mta' is not a package but a name that several provide"
    ) as caught:
        resolve(universe, ["mta"], "amd64")
    assert caught.value.hint == "choose one of a, b"
    assert names(universe, "only-one") == ["c"]


def test_what_scripts_need_counts_as_there() -> None:
    universe = Universe(
        package("app", depends="debconf (>= 0.5) | debconf-2.0, adduser, init-system-helpers (>= 1.54), lib"),
        package("lib", depends="dpkg (>= 1.15.4) | install-info"),
        package("dpkg", depends="tar"),
        package("tar"),
        package("debconf"),
        package("adduser"),
    )
    assert names(universe, "app") == ["lib", "app"]
    assert names(universe, "dpkg") == ["tar", "dpkg"]


def test_architecture_qualifiers() -> None:
    universe = Universe(
        package("app", depends="python3:any, lib:amd64"),
        package("python3"),
        package("lib"),
        package("cross", depends="lib:i386"),
    )
    assert set(names(universe, "app")) == {"app", "python3", "lib"}
    with pytest.raises(ResolutionError, match="needs lib:i386"):
        resolve(universe, ["cross"], "amd64")


def test_what_is_installed_is_left_out_and_keeps_its_version() -> None:
    universe = Universe(
        package("app", depends="lib (>= 1), helper"),
        package("new", depends="lib (>= 2)"),
        package("helper"),
        package("lib", "1.0"),
        package("lib", "2.0"),
    )
    base = [package("lib", "1.0", provides="virtual")]
    assert names(universe, "app", installed=base) == ["helper", "app"]
    assert names(universe, "lib", installed=base) == []
    with pytest.raises(
        ResolutionError, match=r"'new' needs 'lib' 2.0, but 1.0 is already part of the image"
    ) as caught:
        resolve(universe, ["new"], "amd64", installed=base)
    assert "--upgrade" in (caught.value.hint or "")


@pytest.mark.parametrize("field", ["conflicts", "breaks"])
def test_packages_that_exclude_each_other(field: str) -> None:
    universe = Universe(
        package("postfix", "3.7", **{field: "mta"}, provides="mta"),
        package("exim", "4.9", provides="mta"),
        package("top", depends="middle"),
        package("middle", depends="exim"),
    )
    with pytest.raises(ResolutionError, match="exclude each other") as caught:
        resolve(universe, ["postfix", "top"], "amd64")
    assert "'postfix' 3.7" in caught.value.message
    assert "'exim' 4.9" in caught.value.message
    assert "'top' → 'middle'" in caught.value.message
    assert names(universe, "postfix") == ["postfix"]


def test_breaks_of_older_versions_do_not_bother_newer_ones() -> None:
    universe = Universe(
        package("new", breaks="old (<< 2)"), package("old", "2.0"), package("ancient", "1.0", provides="old")
    )
    assert set(names(universe, "new", "old")) == {"new", "old"}


def test_an_alternative_that_excludes_what_is_there_is_passed_over() -> None:
    universe = Universe(
        package("app", depends="x | y"), package("x", conflicts="z"), package("y"), package("z")
    )
    assert set(names(universe, "app", "z")) == {"app", "y", "z"}


def test_a_choice_that_leads_nowhere_is_taken_back() -> None:
    universe = Universe(
        package("app", depends="x | y"),
        package("x", depends="gone"),
        package("y", depends="fine"),
        package("fine"),
    )
    assert set(names(universe, "app")) == {"app", "y", "fine"}


def test_an_unmet_dependency_names_the_chain() -> None:
    universe = Universe(
        package("app", depends="middle"),
        package("middle", depends="lib (>= 9)"),
        package("lib", "1.0"),
        package("alone", depends="gone"),
    )
    with pytest.raises(ResolutionError) as caught:
        resolve(universe, ["app"], "amd64")
    assert caught.value.message == "'app' → 'middle' needs lib (>= 9), which cannot be met: Debian has 1.0"
    with pytest.raises(
        ResolutionError, match="'alone' needs gone, which cannot be met: Debian has no such package"
    ):
        resolve(universe, ["alone"], "amd64")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("libgl", "'libgl1'"),
        ("fmpeg", "'ffmpeg'"),
        ("libsm", "'libsm6'"),
        ("ffmpg", "'ffmpeg'"),
        ("postgresql-clien", "'postgresql-client'"),
    ],
)
def test_an_unknown_package_gets_the_close_spellings(asked: str, meant: str) -> None:
    universe = Universe(
        *(
            package(name)
            for name in (
                "libgl1",
                "libgl1-mesa-dri",
                "libglib2.0-0",
                "ffmpeg",
                "libsm6",
                "libsm-dev",
                "postgresql-client",
                "postgresql",
            )
        )
    )
    with pytest.raises(ResolutionError, match=f"Debian has no package '{asked}'") as caught:
        resolve(universe, [asked], "amd64")
    assert meant in (caught.value.hint or "")


letters = st.sampled_from("abcdef")


@thorough(200)
@given(
    st.dictionaries(
        letters,
        st.tuples(
            st.lists(st.lists(letters, min_size=1, max_size=2), max_size=3), st.lists(letters, max_size=1)
        ),
        min_size=1,
    )
)
def test_every_answer_is_a_closure_without_conflicts(
    graph: dict[str, tuple[list[list[str]], list[str]]],
) -> None:
    universe = Universe(
        *(
            package(
                name,
                depends=", ".join(" | ".join(group) for group in groups),
                conflicts=", ".join(item for item in conflicts if item != name),
            )
            for name, (groups, conflicts) in graph.items()
        )
    )
    wanted = sorted(graph)[:2]
    try:
        chosen = resolve(universe, wanted, "amd64")
    except ResolutionError:
        return
    present = {item.name for item in chosen}
    assert set(wanted) <= present
    assert len(present) == len(chosen)
    for item in chosen:
        for group in item.depends:
            assert any(relation.name in present for relation in group)
        assert not any(relation.name in present for relation in item.conflicts)
    assert chosen == resolve(universe, wanted[::-1], "amd64")
