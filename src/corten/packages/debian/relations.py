"""Relationships between packages (Debian Policy 7.1): `a (>= 1) | b, c:any [amd64]`."""

from __future__ import annotations

from functools import lru_cache

from corten.errors import FormatError
from corten.lazy import regex
from corten.packages.debian import version as versions
from corten.values import dataclass

NAME = regex(r"[a-z0-9][a-z0-9+.-]{0,200}")
"""A package's name (Policy 5.6.1; one character is taken too, since virtual packages use it)."""

_FORM = regex(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9+._-]*)(?::(?P<qualifier>[a-z0-9-]+))?"
    r"\s*(?:\(\s*(?P<operator><<|<=|>=|>>|=|<|>)\s*(?P<version>[^\s)]+)\s*\))?"
    r"\s*(?:\[(?P<architectures>[^\]]*)\])?\s*(?:<[^>]*>\s*)*"
)
# `<` and `>` are the obsolete spellings of `<=` and `>=`.
_OPERATORS = {"<": "<=", ">": ">="}


@dataclass(frozen=True, slots=True)
class Relation:
    """One package, perhaps with a bound on its version and an architecture (`any`, `native`, `arm64`)."""

    name: str
    operator: str | None = None
    version: str | None = None
    qualifier: str | None = None

    def admits(self, version: str | None) -> bool:
        """Whether `version` is within the bound. None, an unversioned Provides, is only without a bound."""
        if self.operator is None or self.version is None:
            return True
        return version is not None and versions.satisfies(version, self.operator, self.version)

    def __str__(self) -> str:
        qualifier = f":{self.qualifier}" if self.qualifier else ""
        bound = f" ({self.operator} {self.version})" if self.operator else ""
        return self.name + qualifier + bound


Group = tuple[Relation, ...]
"""Alternatives, the preferred one first."""


@lru_cache(maxsize=8192)
def parse(field: str, architecture: str) -> tuple[Group, ...]:
    """The groups of a relationship field, without what is not for `architecture`. Raises FormatError."""
    groups = []
    for part in field.split(","):
        if not part.strip():
            continue
        group = tuple(
            relation for choice in part.split("|") if (relation := _relation(choice.strip(), architecture))
        )
        if group:
            groups.append(group)
    return tuple(groups)


def _relation(text: str, architecture: str) -> Relation | None:
    match = _FORM.fullmatch(text)
    if match is None:
        raise FormatError(f"'{text[:100]}' is not a relation between packages")
    if (listed := match["architectures"]) is not None:
        names = listed.split()
        wanted = {architecture, "any", "linux-any", f"any-{architecture}"}
        if names and all(name.startswith("!") for name in names):
            if wanted & {name[1:] for name in names}:
                return None
        elif not wanted & set(names):
            return None
    operator = match["operator"]
    return Relation(match["name"], _OPERATORS.get(operator, operator), match["version"], match["qualifier"])
