"""What changed, for people."""

from __future__ import annotations

from dataclasses import replace

from corten.lock.diff import changes, summary
from corten.lock.model import DebianBase, Lock
from support.locks import sample_deb, sample_lock, sample_wheel


def with_wheels(lock: Lock, *wheels: object, only: int | None = None) -> Lock:
    parts = [
        replace(part, wheels=wheels) if only in {None, number} else part
        for number, part in enumerate(lock.platforms)
    ]
    return replace(lock, platforms=tuple(parts))


def test_equal_locks() -> None:
    assert changes(sample_lock(), sample_lock()) == ()
    assert summary(()) == "nothing changed"


def test_a_first_lock_is_all_new() -> None:
    found = changes(None, sample_lock(wheels=2, debs=1))
    assert {change.kind for change in found} == {"added"}
    assert [str(change) for change in found[:2]] == ["added wheel-0 1.0", "added wheel-1 1.0"]
    assert summary(found) == f"{len(found)} added"


def test_changes_are_merged_over_platforms() -> None:
    before = with_wheels(sample_lock(), sample_wheel(1), sample_wheel(2), sample_wheel(3))
    after = with_wheels(before, sample_wheel(1), sample_wheel(2, "1.5"), sample_wheel(4))
    found = [str(change) for change in changes(before, after)]
    assert found == ["updated wheel-2 1.0 → 1.5", "removed wheel-3 1.0", "added wheel-4 1.0"]
    assert summary(changes(before, after)) == "1 added, 1 updated, 1 removed"
    after = with_wheels(before, sample_wheel(1), sample_wheel(2), only=1)
    assert [str(change) for change in changes(before, after)] == ["removed wheel-3 1.0 [linux/arm64]"]


def test_another_file_of_the_same_version_is_said() -> None:
    before = with_wheels(sample_lock(), sample_wheel(1))
    after = with_wheels(before, replace(sample_wheel(1), sha256="0" * 64))
    assert [str(change) for change in changes(before, after)] == ["replaced wheel-1 1.0"]


def test_the_base_and_a_platform_that_goes() -> None:
    before = sample_lock(wheels=0, debs=1, platforms=1)
    base = before.platforms[0].base
    assert isinstance(base, DebianBase)
    newer = replace(base, debs=(sample_deb(0, version="2.1"),))
    after = replace(before, platforms=(replace(before.platforms[0], base=newer),))
    assert [str(change) for change in changes(before, after)] == [
        "updated deb-0 (base) 1:2.0-3+deb12u1 → 2.1"
    ]
    both = sample_lock(wheels=1, debs=0)
    one = replace(both, platforms=both.platforms[:1])
    assert {change.platforms for change in changes(both, one)} == {("linux/arm64",)}
