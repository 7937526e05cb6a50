"""Another Python for requirements that have no wheel for the one at hand: which one, from the names of files alone.

Nothing of this runs where the requirements can be had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from corten.packages.compatibility import Target, best
from corten.packages.requirements import normal_name
from corten.packages.simple import Listed
from corten.values import dataclass, replace

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_MOST = 300


class OtherPython(Exception):
    """Requirements that have no wheel for the Python at hand have wheels for `python` (`3.9`). `names` are some of them."""

    def __init__(self, python: str, names: Sequence[str]) -> None:
        super().__init__(python)
        self.python, self.names = python, tuple(names)


@dataclass(frozen=True, slots=True)
class _File:
    file: str


def asked(lines: Iterable[str], target: Target) -> dict[str, SpecifierSet]:
    """The versions that requirements allow, by normal names; without those that say nothing of versions, come from an address, or do not
    count on `target`."""
    from packaging.requirements import InvalidRequirement, Requirement

    found: dict[str, SpecifierSet] = {}
    for line in lines:
        try:
            item = Requirement(line)
        except InvalidRequirement:
            continue
        if item.url or not item.specifier or (item.marker and not item.marker.evaluate(target.environment())):
            continue
        name = normal_name(item.name)
        found[name] = found[name] & item.specifier if name in found else item.specifier
        if len(found) == _MOST:
            break
    return found


def other_python(
    wanted: Mapping[str, SpecifierSet],
    lacking: Sequence[str],
    files: Callable[[Sequence[str]], Mapping[str, Sequence[Listed]]],
    target: Target,
    candidates: Iterable[str],
) -> OtherPython | None:
    """The first of `candidates` for which everything that is `wanted` has a wheel. `lacking` are packages of which it is known that they
    have none for `target`. None: no other Python helps, or those that lack are not named with a version."""
    there = files(sorted(wanted))
    chosen = {
        name: [
            file
            for file in there.get(name, ())
            if file.file.endswith(".whl") and not file.yanked and _allowed(file.file, wanted[name])
        ]
        for name in wanted
    }
    # What has no wheel at all is built from source for any Python.
    with_wheels = {name: found for name, found in chosen.items() if found}
    failing = [name for name, found in with_wheels.items() if name in lacking or not _fits(found, target)]
    if not failing:
        return None
    for python in candidates:
        other = replace(target, python=f"{python}.0")
        if all(_fits(found, other) for found in with_wheels.values()):
            return OtherPython(python, failing)
    return None


def _fits(files: Sequence[Listed], target: Target) -> bool:
    return (
        best([_File(file.file) for file in files if _admits(file.requires_python, target)], target)
        is not None
    )


def _admits(requires: str | None, target: Target) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(requires or "")
    except InvalidSpecifier:
        return True
    return any(allowed.contains(f"{target.minor}.{patch}") for patch in range(40))


def _allowed(file: str, specifier: SpecifierSet) -> bool:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        return specifier.contains(parse_wheel_filename(file)[1])
    except InvalidWheelFilename:
        return False
