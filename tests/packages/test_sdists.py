"""Which source is taken for a package that has no wheel: decisions without a network."""

from __future__ import annotations

import pytest
from packaging.version import Version

from corten.oci.platform import Platform
from corten.packages.compatibility import Target
from corten.packages.explain import lacking_wheels
from corten.packages.sdists import (
    is_of_time,
    newest,
    sdists_among,
    specifiers_for,
    specifiers_in,
    versions_with_wheels,
)
from corten.packages.simple import Listed, parse_page

UNBUILT = """
error: No solution found when resolving dependencies
  cause: Because langdetect>=1.0.8 has no usable wheels and you require langdetect>=1.0.8, we can conclude that your requirements are
      unsatisfiable.

hint: Wheels are required for `langdetect` because building from source is disabled for all packages (i.e., with `--no-build`)
"""


def listed(*names: str, python: str | None = None) -> list[Listed]:
    return [Listed(name, f"https://index.example/{name}", requires_python=python) for name in names]


def test_uv_says_what_has_no_wheels() -> None:
    assert lacking_wheels(UNBUILT) == ["langdetect"]
    abi = (
        "No solution found\nhint: You require CPython 3.11 (`cp311`), but we only found wheels for `Old_Pkg` (v1.0) with the "
        "following Python ABI tag: `cp36m`"
    )
    assert lacking_wheels(abi) == ["old-pkg"]
    assert lacking_wheels("error: Failed to fetch") == []


def test_a_version_that_has_a_wheel_is_not_one_to_build() -> None:
    files = listed(
        "alpha-1.0.tar.gz",
        "alpha-2.0.tar.gz",
        "alpha-2.0-py3-none-any.whl",
        "alpha-3.0.tar.gz",
        "alpha-3.0-cp36-cp36m-manylinux1_x86_64.whl",
        "alpha-x-odd.whl",
    )
    target = Target(Platform.parse("amd64"), "3.11.2", 36)
    assert versions_with_wheels(files, target) == {Version("2.0")}


def test_sources_are_found_by_their_names() -> None:
    files = listed(
        "docopt-0.6.1.tar.gz",
        "docopt-0.6.2.tar.gz",
        "docopt-0.6.2.zip",
        "docopt-0.6.3-py3-none-any.whl",
        "docopt-ng-0.9.tar.gz",
        "docopt-x.tar.gz",
    )
    found = sdists_among("docopt", files)
    assert {str(version): file.file for version, file in found.items()} == {
        "0.6.1": "docopt-0.6.1.tar.gz",
        "0.6.2": "docopt-0.6.2.tar.gz",
    }


@pytest.mark.parametrize(
    ("lines", "said", "chosen"),
    [
        (("alpha",), "", "2.0"),
        (("alpha<2",), "", "1.5"),
        (("alpha==1.0",), "", "1.0"),
        (("alpha==2.1b1",), "", "2.1b1"),
        (("alpha>=3",), "", None),
        ((), "Because beta==1.0 depends on alpha>=1,<1.5 and alpha has no usable wheels", "1.0"),
        ((), "Because beta depends on gamma>=2 and alpha==1.5, we can conclude", "1.5"),
        (("alpha @ https://index.example/alpha.whl",), "", "2.0"),
    ],
)
def test_the_newest_version_that_is_asked_for(lines: tuple[str, ...], said: str, chosen: str | None) -> None:
    files = sdists_among(
        "alpha", listed(*(f"alpha-{version}.tar.gz" for version in ("1.0", "1.5", "2.0", "2.1b1")))
    )
    wanted = [*specifiers_for("alpha", lines), *specifiers_in("alpha", said)]
    assert newest(files, wanted, "3.11.2") == (Version(chosen) if chosen else None)


@pytest.mark.parametrize(
    ("newest", "is_of"),
    [
        ("", True),
        ("2024-01-02", True),
        ("2024-01-01", False),
        ("2024-01-02T10:00:00Z", False),
        ("2024-01-02T12:00:00Z", True),
        ("3 days", True),
    ],
)
def test_a_source_that_came_later_is_passed_over(newest: str, is_of: bool) -> None:
    file = Listed("a-1.tar.gz", "https://index.example/a-1.tar.gz", uploaded="2024-01-02T11:00:00.123Z")
    assert is_of_time(file, newest) is is_of
    assert is_of_time(listed("a-1.tar.gz")[0], newest)


def test_a_source_for_another_python_is_passed_over() -> None:
    page = b"""<a href="alpha-1.0.tar.gz" data-requires-python="&lt;3.12">a</a>
    <a href="alpha-2.0.tar.gz" data-requires-python="&gt;=3.12">a</a>
    <a href="alpha-1.9.tar.gz" data-yanked="">a</a>"""
    files = sdists_among("alpha", parse_page(page, "https://index.example/alpha/"))
    assert newest(files, [], "3.11.2") == Version("1.0")
    json = b'{"files": [{"url": "a-1.tar.gz", "requires-python": ">=3.12"}, {"url": "a-2.tar.gz", "requires-python": 7}]}'
    assert [item.requires_python for item in parse_page(json, "https://index.example/a/")] == [">=3.12", None]
