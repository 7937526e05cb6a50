"""Which interpreter compiles for a platform that is not this machine's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corten.build.interpreters import compiler_debs
from corten.errors import BuildError
from corten.lock.model import DebianBase
from corten.oci.platform import Platform
from support.locks import sample_deb, sample_lock

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def test_the_compiler_that_the_lock_carries() -> None:
    lock = sample_lock(platforms=1)
    assert compiler_debs(lock, lock.for_platform(AMD64), ARM64) == lock.compilers["arm64"]


def test_the_same_python_of_another_platform_of_the_lock() -> None:
    lock = sample_lock()
    base = lock.for_platform(ARM64).base
    assert isinstance(base, DebianBase)
    assert compiler_debs(lock, lock.for_platform(AMD64), ARM64) == base.debs


@pytest.mark.parametrize("other", ["no platform", "another Python"])
def test_a_lock_without_a_compiler_for_this_machine_says_what_to_do(other: str) -> None:
    lock = sample_lock(platforms=1 if other == "no platform" else 2)
    lock = replace(lock, compilers={"riscv64": (sample_deb(1, "riscv64"),)})
    if other == "another Python":
        first, second = lock.platforms
        lock = replace(lock, platforms=(first, replace(second, base=replace(second.base, python="3.11.9"))))
    with pytest.raises(BuildError) as caught:
        compiler_debs(lock, lock.for_platform(AMD64), ARM64)
    assert (
        caught.value.message
        == "the lock has no Python 3.11.2 for linux/arm64, with which bytecode is compiled here"
    )
    assert caught.value.hint == "run 'corten lock' on this machine, or add \"linux/arm64\" to `platforms`"
