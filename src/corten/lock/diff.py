"""What changed between two locks, for people: merged over platforms, one line per package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from corten.lock.model import DebianBase, Lock, PlatformLock
from corten.values import dataclass

Kind = Literal["added", "updated", "removed", "replaced"]
Group = Literal["wheel", "system", "base", "serving"]


@dataclass(frozen=True, slots=True)
class Change:
    """One package that is not what it was. `before` and `after` are versions; `replaced` is another file of an equal
    version. `platforms` is empty when it concerns every platform of the lock."""

    kind: Kind
    group: Group
    name: str
    before: str | None = None
    after: str | None = None
    platforms: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = self.name if self.group == "wheel" else f"{self.name} ({self.group})"
        where = f" [{', '.join(self.platforms)}]" if self.platforms else ""
        if self.kind == "updated":
            return f"updated {what} {self.before} → {self.after}{where}"
        return f"{self.kind} {what} {self.after or self.before}{where}"


def changes(before: Lock | None, after: Lock) -> tuple[Change, ...]:
    """What `after` has that `before` has not, and the other way round; wheels first, then by name."""
    old = {} if before is None else {str(part.platform): _packages(part) for part in before.platforms}
    new = {str(part.platform): _packages(part) for part in after.platforms}
    found: dict[tuple[Kind, Group, str, str | None, str | None], list[str]] = {}
    for platform in sorted(old.keys() | new.keys()):
        left, right = old.get(platform, {}), new.get(platform, {})
        for key in left.keys() | right.keys():
            change = _change(left.get(key), right.get(key))
            if change is not None:
                kind, was, now = change
                found.setdefault((kind, *key, was, now), []).append(platform)
    result = [
        Change(
            kind,
            group,
            name,
            was,
            now,
            () if set(where) == set(new) or set(where) >= set(old) | set(new) else tuple(where),
        )
        for (kind, group, name, was, now), where in found.items()
    ]
    groups: tuple[Group, ...] = ("wheel", "serving", "system", "base")
    return tuple(sorted(result, key=lambda change: (groups.index(change.group), change.name, change.kind)))


def summary(found: Iterable[Change]) -> str:
    """One line such as `2 added, 1 updated`; `nothing changed` for none."""
    kinds: tuple[Kind, ...] = ("added", "updated", "replaced", "removed")
    counts = dict.fromkeys(kinds, 0)
    for change in found:
        counts[change.kind] += 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nothing changed"


def _packages(part: PlatformLock) -> dict[tuple[Group, str], tuple[str, str]]:
    """Version and sha256 by group and name."""
    packages: dict[tuple[Group, str], tuple[str, str]] = {}
    if isinstance(part.base, DebianBase):
        packages |= {("base", deb.name): (deb.version, deb.sha256) for deb in part.base.debs}
        if (archive := part.base.interpreter) is not None:
            packages["base", "python"] = (f"{archive.version}+{archive.release}", archive.sha256)
    else:
        packages["base", part.base.reference] = (part.base.digest.short, part.base.digest)
    packages |= {("system", deb.name): (deb.version, deb.sha256) for deb in part.system}
    packages |= {("wheel", wheel.name): (wheel.version, wheel.sha256) for wheel in part.wheels}
    packages |= {("serving", wheel.name): (wheel.version, wheel.sha256) for wheel in part.serving}
    return packages


def _change(
    before: tuple[str, str] | None, after: tuple[str, str] | None
) -> tuple[Kind, str | None, str | None] | None:
    if before is None:
        return ("added", None, after[0]) if after else None
    if after is None:
        return "removed", before[0], None
    if before[0] != after[0]:
        return "updated", before[0], after[0]
    return ("replaced", before[0], after[0]) if before[1] != after[1] else None
