"""When pins contradict each other, or have no wheel for the image's Python: the nearest set of versions that can be had.

Pins are loosened, as few as possible: first those that have no wheel for the target, then those that the resolver names. What uv
finds with them loosened is proposed, never taken: the author of the pins decides. The number of tries is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from corten.values import dataclass

Resolve = Callable[[Sequence[str], Mapping[str, str]], "dict[str, str] | str"]
"""From lines and preferred versions to a resolution, or to what the resolver said against them."""
Fitting = Callable[[Sequence[str]], "dict[str, list[str]]"]
"""The versions of packages that have a wheel for the target; a package of which nothing is known is left out."""

_MOST_TRIES = 8
_MOST_SINGLE = 4
_WORD = r"(?<![A-Za-z0-9._-]){name}(?![A-Za-z0-9_-])"


@dataclass(frozen=True, slots=True)
class Pin:
    """A line that names exactly one version."""

    line: str
    name: str
    version: str
    loose: str


@dataclass(frozen=True, slots=True)
class Change:
    """`pin` has to be `version` instead."""

    pin: Pin
    version: str

    @property
    def line(self) -> str:
        """The line to write."""
        return self.pin.line.replace(f"=={self.pin.version}", f"=={self.version}", 1)


def pins_of(lines: Sequence[str]) -> dict[str, Pin]:
    """The lines that pin a version, by name; a package with several lines is left out."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, Pin | None] = {}
    for line in lines:
        try:
            parsed = Requirement(line)
        except InvalidRequirement:
            continue
        name = str(canonicalize_name(parsed.name))
        specifiers = list(parsed.specifier)
        exact = len(specifiers) == 1 and specifiers[0].operator == "==" and "*" not in specifiers[0].version
        if name in found or not exact or parsed.url is not None:
            found[name] = None
            continue
        version = specifiers[0].version
        found[name] = Pin(line, name, version, line.replace(f"=={version}", "", 1))
    return {name: pin for name, pin in found.items() if pin is not None}


def propose(lines: Sequence[str], said: str, resolve: Resolve, fitting: Fitting) -> tuple[Change, ...]:
    """What to change in `lines`, against which the resolver `said` something; empty where nothing near is found."""
    pins = pins_of(lines)
    if not pins:
        return ()
    versions = fitting(sorted(pins))
    loosened = {
        name for name, pin in pins.items() if name in versions and not _has(versions[name], pin.version)
    }
    loosened = {name for name in loosened if versions[name]}
    trying = _Trying(lines, pins, versions, resolve)
    if loosened:
        found = trying.with_loose(loosened)
    else:
        found = said
    while isinstance(found, str) and trying.left > 0:
        named = [name for name in _named(found, pins) if name not in loosened]
        if not named:
            return ()
        singles = [
            (answer, loosened | {name})
            for name in named[:_MOST_SINGLE]
            if not isinstance(answer := trying.with_loose(loosened | {name}), str)
        ]
        if singles:
            found, loosened = min(singles, key=lambda item: _distance(_changes(pins, *item)))
        else:
            loosened = loosened | set(named)
            found = trying.with_loose(loosened)
    return () if isinstance(found, str) else _changes(pins, found, loosened)


class _Trying:
    """Resolving with some pins loosened, a bounded number of times."""

    def __init__(
        self,
        lines: Sequence[str],
        pins: Mapping[str, Pin],
        versions: Mapping[str, Sequence[str]],
        resolve: Resolve,
    ) -> None:
        self.left = _MOST_TRIES
        self._lines, self._pins, self._versions, self._resolve = lines, pins, versions, resolve

    def with_loose(self, names: set[str]) -> dict[str, str] | str:
        """The resolution without the pins of `names`, each as near to its pin as it can be."""
        if self.left <= 0:
            return ""
        self.left -= 1
        loose = {self._pins[name].line: self._pins[name].loose for name in names}
        near = {name: _nearest(self._versions.get(name, ()), self._pins[name].version) for name in names}
        preferred = {name: version for name, version in near.items() if version is not None}
        return self._resolve([loose.get(line, line) for line in self._lines], preferred)


def _changes(pins: Mapping[str, Pin], found: Mapping[str, str], loosened: set[str]) -> tuple[Change, ...]:
    return tuple(
        Change(pins[name], found[name])
        for name in sorted(loosened)
        if name in found and "://" not in found[name] and found[name] != pins[name].version
    )


def _distance(changes: Sequence[Change]) -> tuple[int, ...]:
    """How far versions are from their pins: in the first number, then in the second."""
    from packaging.version import InvalidVersion, Version

    first = second = 0
    for change in changes:
        try:
            before, after = Version(change.pin.version), Version(change.version)
        except InvalidVersion:
            continue
        first += abs(before.major - after.major)
        second += abs(before.minor - after.minor)
    return len(changes), first, second


def _named(said: str, pins: Mapping[str, Pin]) -> list[str]:
    """The pinned packages that the resolver's words name, in the order of their first place."""
    places = []
    for name in pins:
        match = re.search(_WORD.format(name=re.escape(name)), said, re.IGNORECASE)
        if match is not None:
            places.append((match.start(), name))
    return [name for _, name in sorted(places)]


def _has(versions: Sequence[str], version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        wanted = Version(version)
        return any(Version(item) == wanted or Version(item).public == str(wanted) for item in versions)
    except InvalidVersion:
        return version in versions


def _nearest(versions: Sequence[str], version: str) -> str | None:
    """The next version above, else the next below; no pre-release while there is another."""
    from packaging.version import InvalidVersion, Version

    try:
        wanted = Version(version)
        known = sorted({Version(item) for item in versions})
    except InvalidVersion:
        return None
    known = [item for item in known if not item.is_prerelease] or known
    above = [item for item in known if item >= wanted]
    return str(above[0] if above else known[-1]) if known else None
