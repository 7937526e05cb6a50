"""Which wheel runs where."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from corten.oci.platform import Platform
from corten.packages.compatibility import Target, best, platforms_of, pythons_of, ranks


@dataclass(frozen=True)
class File:
    file: str


def target(architecture: str = "amd64", python: str = "3.11.2", glibc: int = 36) -> Target:
    return Target(Platform.parse(architecture), python, glibc)


def chosen(where: Target, *tags: str) -> str | None:
    found = best([File(f"x-1.0-{tag}.whl") for tag in tags], where)
    return found.file.removeprefix("x-1.0-").removesuffix(".whl") if found else None


def test_the_most_specific_wheel_wins() -> None:
    tags = ["py3-none-any", "cp311-abi3-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64"]
    assert chosen(target(), *tags) == tags[2]
    assert chosen(target(), *tags[:2]) == tags[1]
    assert chosen(target("arm64"), *tags) == tags[0]
    assert chosen(
        target(), "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64"
    ).endswith("28_x86_64")  # type: ignore[union-attr]
    assert chosen(target(), "1-py3-none-any", "10-py3-none-any", "2-py3-none-any") == "10-py3-none-any"


@pytest.mark.parametrize(
    "tag",
    [
        "cp311-cp311-manylinux_2_37_x86_64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "cp311-cp311-win_amd64",
        "cp311-cp311-macosx_11_0_arm64",
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp312-abi3-manylinux_2_17_x86_64",
        "cp311-cp311t-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_17_aarch64",
        "py2-none-any",
    ],
)
def test_what_does_not_run(tag: str) -> None:
    assert chosen(target(), tag) is None


def test_newer_systems_take_newer_wheels_up_to_what_uv_knows() -> None:
    assert chosen(target(glibc=41), "cp311-cp311-manylinux_2_40_x86_64") is not None
    assert chosen(target(glibc=41), "cp311-cp311-manylinux_2_41_x86_64") is None
    assert target(glibc=41).uv_platform == "x86_64-manylinux_2_40"
    assert target("arm64").uv_platform == "aarch64-manylinux_2_36"
    assert target(glibc=30).uv_platform == "x86_64-manylinux_2_28"
    assert target(glibc=19).uv_platform == "x86_64-manylinux_2_17"


def test_names_that_are_no_wheels_are_passed_over() -> None:
    assert (
        best([File("x.whl"), File("x-1.tar.gz"), File("../x-1-py3-none-any.whl"), File("")], target()) is None
    )
    assert len(ranks(target())) > 500


def test_words_for_readers() -> None:
    files = ["x-1-cp39-cp39-win32.whl", "x-1-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"]
    assert pythons_of(files) == ["3.9", "3.10"]
    assert platforms_of([*files, "x-1-py3-none-any.whl", "x-1-cp311-cp311-musllinux_1_1_aarch64.whl"]) == [
        "Windows",
        "any",
        "linux/amd64",
        "linux/arm64 with musl",
    ]
