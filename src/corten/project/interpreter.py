"""Which Python a project asks for, and which base offers it (DECISIONS 23)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from corten.values import dataclass

DEBIAN_PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""The one Python of each Debian release, in the order in which releases are tried."""

_MOST_BYTES = 64_000
_BOUND = re.compile(r"\s*(>=|<=|<|>)\s*3\.(\d{1,3})(?:\.0)?\s*")


@dataclass(frozen=True, slots=True)
class Hint:
    """A minor version (`3.11`) and the file that asks for it."""

    python: str
    source: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The Python and the base of a project, with what is worth saying about how they were found."""

    python: str | None
    base: str
    notes: tuple[str, ...] = ()


def choose(python: str | None, base: str | None, requires_python: str | None, hint: Hint | None) -> Choice:
    """What was written (`python`, `base`) holds; a hint decides where nothing was written and a base can honour it;
    `requires_python` (PEP 440) picks among the bases that are left. Where no base fits, the first is returned: locking
    says what does not fit."""
    if python is not None:
        return Choice(python, base or _offering(python) or _base(requires_python))
    if base is not None:
        return Choice(None, base)
    fallback = _base(requires_python)
    if hint is None:
        return Choice(None, fallback)
    offered = _offering(hint.python)
    if offered is None or (requires_python and not admits(requires_python, hint.python)):
        pythons = " and ".join(f"{version} ({suite})" for suite, version in DEBIAN_PYTHONS.items())
        note = f"'{hint.source}' names Python {hint.python}; Debian has {pythons}: using '{fallback}'"
        return Choice(None, fallback, (note,))
    return Choice(hint.python, offered, (f"Python {hint.python} comes from '{hint.source}'",))


def _offering(python: str) -> str | None:
    return next((f"debian:{suite}" for suite, version in DEBIAN_PYTHONS.items() if version == python), None)


def _base(requires_python: str | None) -> str:
    suites = [
        suite
        for suite, python in DEBIAN_PYTHONS.items()
        if requires_python and admits(requires_python, python)
    ]
    return f"debian:{(suites or list(DEBIAN_PYTHONS))[0]}"


def admits(requires_python: str, python: str) -> bool:
    """Whether some patch release of the minor version `python` satisfies `requires_python`. A specifier that is not
    PEP 440 admits everything here: whoever resolves refuses it in its own words."""
    minor = int(python.split(".")[1])
    bounds = [_BOUND.fullmatch(part) for part in requires_python.split(",")]
    if all(bounds):  # the usual `>=3.10` and `>=3.10,<3.13`, without importing a library for it
        for bound in bounds:
            assert bound is not None
            operator, limit = bound[1], int(bound[2])
            low_enough = minor <= limit if operator == "<=" else minor < limit
            high_enough = minor >= limit
            if not (high_enough if operator.startswith(">") else low_enough):
                return False
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        specifiers = SpecifierSet(requires_python)
    except InvalidSpecifier:
        return True
    return any(specifiers.contains(f"{python}.{patch}", prereleases=True) for patch in range(40))


def find_hint(root: Path) -> Hint | None:
    """What `.python-version`, `runtime.txt`, or the last FROM of a Dockerfile say, in this order."""
    for name, pattern in (
        (".python-version", r"^\s*(?:c?python[-@]?)?(3\.\d{1,2})(?:\.\d+)?\s*(?:#.*)?$"),
        ("runtime.txt", r"^\s*(?:python-)?(3\.\d{1,2})(?:\.\d+|\.x)?\s*$"),
        ("Dockerfile", r"(?i)^\s*FROM\s+(?:--\S+\s+)*\S*python:(3\.\d{1,2})(?:[.-]\S*)?(?:\s.*)?$"),
    ):
        text = read_text(root / name)
        found = re.findall(pattern, text, re.MULTILINE) if text else []
        if found:
            return Hint(found[-1 if name == "Dockerfile" else 0], name)
    return None


def read_text(path: Path) -> str | None:
    """The beginning of a small text file; None when it cannot be read."""
    try:
        with open(os.fspath(path), encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return None
