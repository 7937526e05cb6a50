"""Which of a folder's files hold dependencies, by their names: as tools name them, as people misspell them, and what lies in
`requirements/`. Pure functions over names."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence

from corten.lazy import regex
from corten.project.hints.names import CONDA
from corten.values import dataclass

NOT_FOR_IMAGES = regex(
    r"(?:^|[-_.])(dev|develop|development|test|tests|testing|doc|docs|lint|ci|typing|local|notebook|notebooks)(?:[-_.]|$)"
)
_DEVELOPMENT = regex(r"(?:requirements?[-_.]?[\w.-]*|[\w.-]*[-_.]requirements?)\.(?:txt|lock|in)")
_GROUPS = {
    "develop": "dev",
    "development": "dev",
    "tests": "test",
    "testing": "test",
    "doc": "docs",
    "notebooks": "notebook",
}
"""Groups that are spelt in several ways."""
OTHERS = (
    "constraints.txt",
    "uv.lock",
    "pylock.toml",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "Pipfile",
    *CONDA,
    "conda-lock.yml",
    "pixi.toml",
    "pixi.lock",
    "setup.py",
    "setup.cfg",
)
"""Files of other tools that hold dependencies."""
_USUAL = regex(r"requirements[-_.]?[\w.-]*\.(?:txt|lock)")
_WORDS = regex(r"[^a-z]+")
_SHORT = frozenset(
    ("req", "reqs", "requires", "require", "dependencies", "deps", "dependency", "piprequirements")
)
_ADDED = regex(
    r"(?:pip|python|py|conda|docker|web|app|api|backend|server|prod|production|final|new|all|full|cpu|gpu|linux|copy|\d)+"
)
_BEST = (
    "requirements",
    "prod",
    "production",
    "deploy",
    "main",
    "base",
    "common",
    "cpu",
    "app",
    "all",
    "default",
)
_PREFERRED = ("requirements.txt", "requirements.lock", "requirements/requirements.txt")


@dataclass(frozen=True, slots=True)
class Chosen:
    """`file` holds the dependencies; it is empty where no file does. `several` could, and none of them is the better."""

    file: str = ""
    several: tuple[str, ...] = ()


def choose(names: Iterable[str], nested: Iterable[str], has_hashes: Callable[[str], bool]) -> Chosen:
    """The file of `names` (in the project's folder) and `nested` (`requirements/…`) with what the image needs. Files for
    development do not count. One with hashes wins over those without; the usual spelling over others."""
    top, inner = list(names), [name for name in nested if name.lower().endswith((".txt", ".lock", ".in"))]
    locked = [name for name in inner if not name.endswith(".in")]
    tiers = (
        [*(name for name in top if _USUAL.fullmatch(name)), *locked],
        [name for name in top if is_misspelt(name)],
        [name for name in inner if name.endswith(".in")],
    )
    for tier in tiers:
        candidates = sorted(name for name in tier if not is_for_development(name))
        if len(candidates) > 1:
            hashed = [name for name in candidates if has_hashes(name)]
            candidates = hashed or candidates
            for preferred in _PREFERRED:
                if preferred in candidates:
                    candidates = [preferred]
        if len(candidates) > 1:
            candidates = _better(candidates)
        if len(candidates) > 1:
            return Chosen(several=tuple(candidates))
        if candidates:
            return Chosen(candidates[0])
    return Chosen()


def is_for_development(name: str) -> bool:
    """Whether the file is for development or tests."""
    bare = name.rpartition("/")[2] if name.startswith("requirements/") else name
    return NOT_FOR_IMAGES.search(bare.rsplit(".", 1)[0].lower()) is not None


def development_files(names: Iterable[str], nested: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Requirements files for development by what they are for: `dev` for `requirements-dev.txt`, `test` for `requirements/tests.txt`."""
    found: dict[str, list[str]] = {}
    for name in sorted([*names, *nested]):
        bare = name.rpartition("/")[2].lower()
        inside = "/" in name and bare.endswith((".txt", ".lock", ".in"))
        if not inside and not _DEVELOPMENT.fullmatch(bare):
            continue
        match = NOT_FOR_IMAGES.search(bare.rsplit(".", 1)[0])
        if match is not None:
            word = match[1]
            found.setdefault(_GROUPS.get(word, word), []).append(name)
    # `dev.in` is what `dev.txt` was made from.
    return {
        group: tuple(
            name
            for name in files
            if not name.endswith(".in") or f"{name.removesuffix('.in')}.txt" not in files
        )
        for group, files in found.items()
    }


def is_misspelt(name: str) -> bool:
    """Whether this means `requirements.txt`: `requirement.txt`, `Requirments.txt`, `reqs.txt`, `requirements`."""
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    if ending.lower() not in ("txt", "text", "in", "") or (not dot and not name.lower().startswith("requir")):
        return False
    word = _WORDS.sub("", re.sub(r"\.txt$", "", stem.lower()))
    if word in _SHORT:
        return True
    if not 8 <= len(word) <= 30 or word in ("requests", "retirement"):
        return False
    start = word[:14]
    return any(
        _distance(start[:length], "requirements") <= 2 and _fits(word[length:]) for length in range(9, 15)
    ) or (
        word.endswith(("requirements", "requirement"))
        and _ADDED.fullmatch(word.removesuffix("s").removesuffix("requirement")) is not None
    )


def in_folders(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of the project's files `paths` (`service/app.py`) below its folder that hold dependencies for an image, the nearest
    first."""
    found = [
        path
        for path in paths
        if "/" in path
        and (_USUAL.fullmatch(path.rpartition("/")[2].lower()) or is_misspelt(path.rpartition("/")[2]))
        and path.lower().endswith((".txt", ".lock"))
        and not any(is_for_development(part) for part in path.split("/"))
        and not {"docs", "tests", "test", "examples", "example", "requirements"} & set(path.split("/")[:-1])
    ]
    return tuple(sorted(found, key=lambda path: (path.count("/"), path)))


def holding(names: Collection[str], nested: Collection[str]) -> tuple[str, ...]:
    """Every file that holds dependencies, whichever is used."""
    inner = [name for name in nested if name.endswith(".txt")]
    development = [name for files in development_files(names, nested).values() for name in files]
    own = [name for name in names if _USUAL.fullmatch(name) or is_misspelt(name)]
    return (
        *sorted({*own, *(name for name in development if "/" not in name)}),
        *sorted({*inner, *(name for name in development if "/" in name)}),
        *(name for name in OTHERS if name in names),
    )


def _better(candidates: Sequence[str]) -> list[str]:
    """The candidates that stand first in the order of what is for production; all where none does."""
    for word in _BEST:
        found = [
            name
            for name in candidates
            if word in re.split(r"[-_./]", name.removeprefix("requirements").lower())
            or (word == "requirements" and name.lower() in ("requirements.txt", "requirements"))
        ]
        if found:
            return found
    return list(candidates)


def _fits(rest: str) -> bool:
    return not rest or _ADDED.fullmatch(rest) is not None or rest == "txt"


def _distance(left: str, right: str) -> int:
    """How many letters are added, left out or changed from one to the other (Levenshtein)."""
    before = list(range(len(right) + 1))
    for row, one in enumerate(left, 1):
        line = [row]
        for column, other in enumerate(right, 1):
            line.append(min(before[column] + 1, line[-1] + 1, before[column - 1] + (one != other)))
        before = line
    return before[-1]
