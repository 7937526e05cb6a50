"""Which Python a project asks for, and which base offers it (DECISIONS 23)."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from corten.errors import ProjectError
from corten.lazy import regex
from corten.project.regular import open_regular
from corten.values import dataclass

DEBIAN_PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""The one Python of each Debian release, in the order in which releases are tried."""

DEFAULT = "debian:bookworm"
"""The base below a Python that is not Debian's."""

OLDEST = 8
"""The second number of the oldest Python that is not Debian's (`corten.packages.pythons`)."""

_MOST_BYTES = 64_000
_BOUND = regex(r"\s*(>=|<=|<|>)\s*3\.(\d{1,3})(?:\.0)?\s*")


@dataclass(frozen=True, slots=True)
class Hint:
    """A minor version (`3.11`) and the file that asks for it. `other` is set in place of one where the file asks for another
    implementation than CPython. Not `firm`: a file that says how the project runs without Corten, such as a Dockerfile."""

    python: str
    source: str
    other: str | None = None
    firm: bool = True


@dataclass(frozen=True, slots=True)
class Unmet:
    """A request for a Python that no base found for the project can meet. It is an error, but for that of a file which says
    how the project runs without Corten, such as a Dockerfile: that is only said."""

    message: str
    hint: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """The Python and the base of a project, with what is worth saying about how they were found. `source` is the file that names
    this Python where it gives way to Debian's when it cannot be had."""

    python: str | None
    base: str
    notes: tuple[str, ...] = ()
    unmet: Unmet | None = None
    source: str = ""


def choose(python: str | None, base: str | None, requires_python: str | None, hint: Hint | None) -> Choice:
    """What was written (`python`, `base`) holds; a hint decides where nothing was written; `requires_python` (PEP 440) picks among what
    is left: a Debian release whose Python fits, else the nearest Python that is not Debian's. Where no Python fits, a base is
    returned with what is unmet: the project can be looked at, but neither locked nor built."""
    if python is not None:
        chosen = base or _offering(python) or DEFAULT
        return Choice(python, chosen, unmet=_unmet_written(python, chosen, requires_python))
    if base is not None:
        refused = _unmet_by(base, requires_python)
        return _nearest(base, requires_python, refused) if refused is not None else Choice(None, base)
    fallback = _base(requires_python)
    if hint is None:
        refused = _unmet_by(fallback, requires_python)
        return _nearest(fallback, requires_python, refused) if refused is not None else Choice(None, fallback)
    fits = hint.other is None and (requires_python is None or admits(requires_python, hint.python))
    if not fits or not _exists(hint.python):
        return Choice(None, fallback, unmet=_unmet_hint(hint, fallback, requires_python))
    chosen = _offering(hint.python) or DEFAULT
    note = f"Python {hint.python} comes from '{hint.source}'"
    return Choice(hint.python, chosen, (note,), source="" if hint.firm else hint.source)


def choose_for(specifier: str, source: str) -> Choice | None:
    """The Python for a project of which the file `source`, of another tool, says that it needs `specifier`, which no release of Debian
    meets. None: no other does."""
    python = nearest(specifier)
    if python is None:
        return None
    return Choice(
        python, DEFAULT, (f"Python {python} is what '{source}' admits ({specifier})",), source=source
    )


def _nearest(base: str, requires_python: str | None, refused: Unmet) -> Choice:
    """The Python beside Debian's for a project that Debian's does not fit; `refused` where there is none."""
    python = nearest(requires_python or "")
    if python is None:
        return Choice(None, base, unmet=refused)
    return Choice(python, base, (f"Python {python} is what requires-python '{requires_python}' admits",))


def nearest(specifier: str) -> str | None:
    """The minor version that `specifier` admits next to the newest of Debian's: most wheels are made for those."""
    newest = max(_number(python) for python in DEBIAN_PYTHONS.values())
    below = (f"3.{number}" for number in range(newest, OLDEST - 1, -1))
    above = (f"3.{number}" for number in range(newest + 1, newest + 20))
    return next((python for python in (*below, *above) if admits(specifier, python)), None)


def _number(python: str) -> int:
    return int(python.rstrip("t").split(".")[1])


def _exists(python: str) -> bool:
    return _number(python) >= OLDEST


def _unmet_written(python: str, base: str, requires_python: str | None) -> Unmet | None:
    if not base.startswith("debian:"):
        return None
    if not _exists(python):
        return Unmet(
            f"`python` names Python {python}, which is older than 3.{OLDEST}, the oldest that Corten can get",
            _ways("write another `python`"),
        )
    if _suites_python(base) == python:
        return _unmet_by(base, requires_python)
    if requires_python is None or admits(requires_python, python.rstrip("t")):
        return None
    return Unmet(
        f"the project requires Python {requires_python}, and `python` is {python}",
        "make both name the same Python",
    )


def _unmet_hint(hint: Hint, fallback: str, requires_python: str | None) -> Unmet:
    named = hint.other or f"Python {hint.python}"
    ways = _ways(f"change '{hint.source}'; python = \"3.11\" in [tool.corten] stands above it")
    if not hint.firm:
        return Unmet(
            f"'{hint.source}' names {named}; the image has another, that of '{fallback}'", ways, fatal=False
        )
    if hint.other is None and requires_python and not admits(requires_python, hint.python):
        return Unmet(
            f"'{hint.source}' names {named}, which requires-python '{requires_python}' does not admit",
            f"make both name the same Python; {ways}",
        )
    return Unmet(f"'{hint.source}' names {named}, which no base of Debian has ({_offers()})", ways)


def _unmet_by(base: str, requires_python: str | None) -> Unmet | None:
    """What `requires_python` says against the Python of a base of Debian's. An image is looked into when it is there."""
    found = _suites_python(base)
    return unmet(requires_python, found, base) if found is not None else None


def _suites_python(base: str) -> str | None:
    return (
        DEBIAN_PYTHONS.get(base.removeprefix("debian:").partition("-")[0])
        if base.startswith("debian:")
        else None
    )


def unmet(requires_python: str | None, found: str, base: str) -> Unmet | None:
    """What is wrong with the Python `found` (`3.11` or `3.11.2`) of `base` for a project with `requires_python`."""
    if requires_python is None or admits(requires_python, found):
        return None
    return Unmet(
        f"the project requires Python {requires_python}, and '{base}' has {found}",
        _ways("change 'requires-python' in pyproject.toml"),
    )


def check(refused: Unmet | None) -> None:
    """Raise ProjectError for a request that cannot be met, where that is an error."""
    if refused is not None and refused.fatal:
        raise ProjectError(refused.message, hint=refused.hint)


def _ways(last: str) -> str:
    return (
        f'take a base with that Python: base = "debian:…" ({_offers()}), or base = "registry/image@sha256:…" '
        f"for any other; or {last}"
    )


def _offers() -> str:
    return ", ".join(f"{python} in {suite}" for suite, python in DEBIAN_PYTHONS.items())


def _offering(python: str) -> str | None:
    return next((f"debian:{suite}" for suite, version in DEBIAN_PYTHONS.items() if version == python), None)


def _base(requires_python: str | None) -> str:
    suites = [
        suite
        for suite, python in DEBIAN_PYTHONS.items()
        if requires_python and admits(requires_python, python)
    ]
    return f"debian:{(suites or list(DEBIAN_PYTHONS))[0]}"


def offered(requires_python: str) -> bool:
    """Whether a Debian release has a Python that `requires_python` admits."""
    return any(admits(requires_python, python) for python in DEBIAN_PYTHONS.values())


def admits(requires_python: str, python: str) -> bool:
    """Whether some patch release of the minor version `python` (`3.11`), or this very release (`3.11.2`), satisfies
    `requires_python`. A specifier that is not PEP 440 admits everything here: whoever resolves refuses it in its own words."""
    minor, _, exact = python.partition(".")[2].partition(".")
    bounds = [_BOUND.fullmatch(part) for part in requires_python.split(",")]
    if all(bounds):  # the usual `>=3.10` and `>=3.10,<3.13`, without importing a library for it
        release = (int(minor), int(exact or 0))
        for bound in bounds:
            assert bound is not None
            limit = (int(bound[2]), 0)
            within = {
                ">=": release >= limit,
                ">": release > limit if exact else release >= limit,
                "<=": release <= limit,
                "<": release < limit,
            }
            if not within[bound[1]]:
                return False
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        specifiers = SpecifierSet(requires_python)
    except InvalidSpecifier:
        return True
    releases = [python] if exact else [f"{python}.{patch}" for patch in range(40)]
    return any(specifiers.contains(release, prereleases=True) for release in releases)


def find_hint(root: Path) -> Hint | None:
    """What `.python-version` or `runtime.txt` say, in this order."""
    for name, pattern in (
        (".python-version", r"^\s*(?:c?python[-@]?)?(3\.\d{1,2})(?:\.\d+)?\s*(?:#.*)?$"),
        ("runtime.txt", r"^\s*(?:python-)?(3\.\d{1,2})(?:\.\d+|\.x)?\s*$"),
    ):
        text = read_text(root / name)
        found = re.search(pattern, text, re.MULTILINE) if text else None
        if found:
            return Hint(found[1], name)
        # Whatever else stands there may be the name of an environment.
        other = re.search(r"^\s*((?:pypy|graalpy)[\w.+-]*)", text or "", re.MULTILINE)
        if other:
            return Hint("", name, other[1][:40])
    return None


def read_text(path: Path) -> str | None:
    """The beginning of a small text file; None when it cannot be read."""
    try:
        with open_regular(path) as file:
            data = file.read(_MOST_BYTES)
    except OSError:
        return None
    # PowerShell's `echo 3.12 > .python-version` writes the latter.
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if marked else "utf-8-sig", "replace").replace("\r\n", "\n")
