"""The closure of a set of Debian packages. Pure: packages in, packages out.

Like apt's for a new system without recommendations: mandatory dependencies first, then alternatives, of which one that is
there already wins and the first possible one otherwise; the newest version that fits. A choice that turns out to be
impossible is taken back, the latest one first. What only maintainer scripts need counts as there, since none is ever run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from corten.errors import ResolutionError
from corten.packages.debian.index import Package
from corten.packages.debian.relations import Group, Relation

ASSUMED = frozenset(
    {
        "adduser",
        "cdebconf",
        "debconf",
        "debconf-2.0",
        "dpkg",
        "init-system-helpers",
        "install-info",
        "lsb-base",
        "systemd-standalone-sysusers",
        "systemd-standalone-tmpfiles",
        "systemd-sysusers",
        "systemd-tmpfiles",
        "sysvinit-utils",
        "ucf",
    }
)
"""Packages that others depend on for their maintainer scripts. As a dependency they count as there in every version;
asked for by name they are installed like any other."""

PREFERRED = {"awk": "mawk"}
"""Which provider is taken where a dependency names none."""

_RESTARTS = 500


class Universe(Protocol):
    """Where packages come from: `corten.packages.debian.index.Catalogue`, or a dictionary in a test."""

    def named(self, name: str) -> Sequence[Package]:
        """The packages called `name`, the newest version first."""

    def providing(self, name: str) -> Sequence[Package]:
        """The packages that provide `name` under another name, the preferred one first."""

    def names(self) -> Sequence[str]:
        """Every package's name, for suggestions."""


@dataclass
class _Choice:
    """Why a package was taken: for whom (None: it was asked for), for which dependency, and what else would have done."""

    package: Package
    parent: str | None
    group: Group
    open: bool


@dataclass
class _Failure(Exception):
    """A dependency that cannot be met. `blame` are the chosen packages that led to it."""

    message: str
    hint: str | None
    blame: list[str] = field(default_factory=list)


def resolve(
    universe: Universe,
    wanted: Iterable[str],
    architecture: str,
    *,
    installed: Sequence[Package] = (),
    assumed: frozenset[str] = ASSUMED,
) -> tuple[Package, ...]:
    """The packages called `wanted` and all that they need beyond `installed`, dependencies before dependants; equal inputs
    give equal outputs. Raises ResolutionError for a name that does not exist, a dependency that cannot be met, and
    packages that exclude each other; the message names the chain that led there."""
    names = sorted(set(wanted))
    roots = [_root(universe, name, installed) for name in names]
    banned: set[tuple[Group, str, str]] = set()
    first: _Failure | None = None
    for _ in range(_RESTARTS):
        attempt = _Attempt(universe, architecture, installed, assumed, banned)
        try:
            attempt.run(roots)
            return attempt.ordered()
        except _Failure as failure:
            first = first or failure
            culprit = attempt.latest_open(failure.blame)
            if culprit is None:
                break
            banned.add((culprit.group, culprit.package.name, culprit.package.version))
    assert first is not None
    raise ResolutionError(first.message, hint=first.hint)


def _root(universe: Universe, name: str, installed: Sequence[Package]) -> Relation:
    if universe.named(name) or any(package.name == name for package in installed):
        return Relation(name)
    providers = sorted({package.name for package in universe.providing(name)})
    if len(providers) == 1:
        return Relation(providers[0])
    if providers:
        raise ResolutionError(
            f"'{name}' is not a package but a name that several provide",
            hint=f"choose one of {', '.join(providers[:8])}",
        )
    close = _close(name, universe.names())
    raise ResolutionError(
        f"Debian has no package '{name}'",
        hint=f"did you mean {' or '.join(repr(item) for item in close)}?" if close else "check the spelling",
    )


def _close(name: str, names: Sequence[str]) -> list[str]:
    """At most three names like `name`: with an ending more (`libgl1` for `libgl`), else misspelt."""
    longer = sorted((item for item in names if item.startswith(name)), key=lambda item: (len(item), item))
    same = [item for item in longer if item[len(name) :].lstrip("-").replace(".", "").isdigit()]
    if same:
        return same[:3]
    import difflib

    similar = [item for item in names if item[:1] == name[:1] and abs(len(item) - len(name)) <= 4]
    close = difflib.get_close_matches(name, similar, 3, 0.75)
    return list(dict.fromkeys([*close, *longer]))[:3]


class _Attempt:
    """One way through all choices, given those that are banned."""

    def __init__(
        self,
        universe: Universe,
        architecture: str,
        installed: Sequence[Package],
        assumed: frozenset[str],
        banned: set[tuple[Group, str, str]],
    ) -> None:
        self.universe = universe
        self.architecture = architecture
        self.installed = installed
        self.assumed = assumed
        self.banned = banned
        self.choices: dict[str, _Choice] = {}
        self.present: dict[str, list[Package]] = {}
        for package in installed:
            self._appear(package)

    def run(self, roots: Sequence[Relation]) -> None:
        """Choose until every dependency is met. Raises _Failure."""
        certain: list[tuple[str | None, Group]] = [(None, (root,)) for root in roots]
        unsure: list[tuple[str | None, Group]] = []
        for root in roots:
            # Asked for by name: that very package, also where it would only be assumed or something provides it.
            if root.name not in self.choices and not any(item.name == root.name for item in self.installed):
                self._take(None, (root,), exactly=root.name)
                chosen = self.choices[root.name].package
                for group in chosen.depends:
                    (certain if len(group) == 1 else unsure).append((chosen.name, group))
        while certain or unsure:
            parent, group = certain.pop(0) if certain else unsure.pop(0)
            if self._met(group):
                continue
            if len(group) == 1 and certain and not self.universe.named(group[0].name):
                unsure.append((parent, group))  # virtual: wait, something may provide it
                continue
            chosen = self._take(parent, group)
            for needed in chosen.depends:
                (certain if len(needed) == 1 else unsure).append((chosen.name, needed))

    def ordered(self) -> tuple[Package, ...]:
        """The chosen packages, dependencies first; in a cycle by name."""
        order: list[Package] = []
        seen: set[str] = set()
        for root in sorted(self.choices):
            stack: list[tuple[str, bool]] = [(root, False)]
            while stack:
                name, done = stack.pop()
                if done:
                    order.append(self.choices[name].package)
                    continue
                if name in seen:
                    continue
                seen.add(name)
                stack.append((name, True))
                needed = {
                    package.name
                    for group in self.choices[name].package.depends
                    for relation in group
                    for package in self.present.get(relation.name, ())
                    if package.name in self.choices and package.fulfils(relation)
                }
                stack += [(item, False) for item in sorted(needed, reverse=True) if item not in seen]
        return tuple(order)

    def latest_open(self, names: Iterable[str]) -> _Choice | None:
        """The latest choice among `names` and what they were chosen for that could have gone another way."""
        blamed: set[str] = set()
        for name in names:
            current: str | None = name
            while current in self.choices and current not in blamed:
                blamed.add(current)
                current = self.choices[current].parent
        found = [choice for name, choice in self.choices.items() if name in blamed and choice.open]
        return found[-1] if found else None

    def _met(self, group: Group) -> bool:
        return any(
            relation.name in self.assumed
            or any(package.fulfils(relation) for package in self._there(relation))
            for relation in group
        )

    def _there(self, relation: Relation) -> Sequence[Package]:
        return self.present.get(relation.name, ()) if self._native(relation) else ()

    def _native(self, relation: Relation) -> bool:
        return relation.qualifier in (None, "any", "native", self.architecture)

    def _take(self, parent: str | None, group: Group, exactly: str | None = None) -> Package:
        options: list[Package] = []
        refused: list[_Failure] = []
        for package in self._candidates(group, exactly):
            if (group, package.name, package.version) in self.banned or package in options:
                continue
            failure = self._clash(package, parent)
            if failure is None:
                options.append(package)
            else:
                refused.append(failure)
        if not options:
            raise refused[0] if refused else self._unmet(parent, group)
        package = options[0]
        self.choices[package.name] = _Choice(package, parent, group, len(options) > 1)
        self._appear(package)
        return package

    def _candidates(self, group: Group, exactly: str | None) -> Iterable[Package]:
        for relation in group:
            if not self._native(relation):
                continue
            for package in self.universe.named(relation.name):
                if relation.admits(package.version):
                    yield package
            if exactly is None:
                providers = [
                    item for item in self.universe.providing(relation.name) if item.fulfils(relation)
                ]
                preferred = PREFERRED.get(relation.name)
                yield from sorted(providers, key=lambda item: item.name != preferred)

    def _appear(self, package: Package) -> None:
        for name in dict.fromkeys([package.name, *(item.name for item in package.provides)]):
            self.present.setdefault(name, []).append(package)

    def _clash(self, package: Package, parent: str | None) -> _Failure | None:
        """Why `package` cannot join what is there: another version of it is, or one excludes the other."""
        for other in self.present.get(package.name, ()):
            if other.name == package.name:
                wants = self._chain(parent)
                return _Failure(
                    f"{wants} needs '{package.name}' {package.version}, but {other.version} is already part of the image",
                    "run 'corten lock --upgrade' so that all packages come from one state of the archive",
                    [name for name in (parent, other.name) if name],
                )
        for relation in (*package.conflicts, *package.breaks):
            for other in self._there(relation):
                if other.name != package.name and other.fulfils(relation):
                    return self._exclusive(package, parent, other, relation)
        for other in (*self.installed, *(choice.package for choice in self.choices.values())):
            for relation in (*other.conflicts, *other.breaks):
                if self._native(relation) and other.name != package.name and package.fulfils(relation):
                    return self._exclusive(package, parent, other, relation)
        return None

    def _exclusive(
        self, package: Package, parent: str | None, other: Package, relation: Relation
    ) -> _Failure:
        asked = f" (needed by {self._chain(parent)})" if parent else ""
        why = self.choices[other.name].parent if other.name in self.choices else None
        there = f" (needed by {self._chain(why)})" if why else ""
        return _Failure(
            f"'{package.name}' {package.version}{asked} and '{other.name}' {other.version}{there} exclude each other",
            "leave one of the two out of `system`",
            [name for name in (parent, other.name) if name],
        )

    def _unmet(self, parent: str | None, group: Group) -> _Failure:
        text = " | ".join(map(str, group))
        known = [str(package.version) for relation in group for package in self.universe.named(relation.name)]
        if parent is None:
            return _Failure(f"'{text}' cannot be installed", None, [])
        has = f"Debian has {', '.join(known[:3])}" if known else "Debian has no such package"
        return _Failure(
            f"{self._chain(parent)} needs {text}, which cannot be met: {has}",
            "the mirrors may be between two states; try again in some minutes",
            [parent],
        )

    def _chain(self, name: str | None) -> str:
        """`'a' → 'b' → 'c'`, from what was asked for down to `name`."""
        chain: list[str] = []
        while name is not None and len(chain) < 20:
            chain.append(f"'{name}'")
            name = self.choices[name].parent if name in self.choices else None
        return " → ".join(reversed(chain)) or "the project"
