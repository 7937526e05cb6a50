"""Which wheels run where: a target's tags from best to worst (PEP 425, 600, 656), and the best of several files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from corten.oci.platform import Platform
from corten.values import dataclass

NEWEST_GLIBC = 40
"""The newest `manylinux_2_N` that uv has a name for; a newer glibc is treated as this one."""

_UV_GLIBC = (17, 28, *range(31, NEWEST_GLIBC + 1))
_ALIASES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, slots=True)
class Target:
    """A platform, the interpreter's exact version (`3.11.2`), the second number of its glibc (36 for 2.36), and whether it is a
    free-threaded build."""

    platform: Platform
    python: str
    glibc: int
    threaded: bool = False

    @property
    def minor(self) -> str:
        """The interpreter's minor version: `3.11`."""
        return ".".join(self.python.split(".")[:2])

    @property
    def uv_platform(self) -> str:
        """The platform in uv's words, never newer than what it is."""
        level = max((level for level in _UV_GLIBC if level <= self.glibc), default=17)
        return f"{self.platform.machine}-manylinux_2_{level}"

    def environment(self) -> dict[str, str]:
        """The values of environment markers (PEP 508) there."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": self.platform.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": self.minor,
            "sys_platform": "linux",
        }


class WheelFile(Protocol):
    """Anything with a file name."""

    @property
    def file(self) -> str: ...


W = TypeVar("W", bound=WheelFile)


@lru_cache(maxsize=32)
def ranks(target: Target) -> dict[Tag, int]:
    """Every tag that runs on `target`, with 0 for the best."""
    machine = target.platform.machine
    oldest = 5 if machine == "x86_64" else 17
    platforms: list[str] = []
    for level in range(min(target.glibc, NEWEST_GLIBC), oldest - 1, -1):
        platforms.append(f"manylinux_2_{level}_{machine}")
        if level in _ALIASES:
            platforms.append(f"{_ALIASES[level]}_{machine}")
    platforms.append(f"linux_{machine}")
    major, minor = (int(part) for part in target.minor.split("."))
    tags = [
        # Without them those of the Python that runs Corten would count.
        *cpython_tags((major, minor), [f"cp{major}{minor}{'t' if target.threaded else ''}"], platforms),
        *compatible_tags((major, minor), interpreter=f"cp{major}{minor}", platforms=platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def tags_of(file: str) -> frozenset[Tag]:
    """The tags of a wheel by its file name; none when it is not a wheel's name."""
    try:
        return parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return frozenset()


def best(files: Iterable[W], target: Target) -> W | None:
    """The wheel of `files` that installers choose for `target`: the best tag, then the highest build; None: none runs."""
    order = ranks(target)
    chosen: tuple[tuple[int, object], W] | None = None
    for file in files:
        places = [order[tag] for tag in tags_of(file.file) if tag in order]
        if not places:
            continue
        build = parse_wheel_filename(file.file)[2]
        key = (-min(places), build)
        if chosen is None or key > chosen[0]:
            chosen = key, file
    return chosen[1] if chosen else None


def pythons_of(files: Sequence[str]) -> list[str]:
    """The Python versions that wheels exist for, ascending, in words: `3.9`, `3.10`; empty when it cannot be told."""
    found: set[tuple[int, int]] = set()
    for file in files:
        for tag in tags_of(file):
            digits = tag.interpreter.removeprefix("cp")
            if tag.interpreter.startswith("cp3") and digits[1:].isdigit():
                found.add((3, int(digits[1:])))
    return [f"{major}.{minor}" for major, minor in sorted(found)]


def platforms_of(files: Sequence[str]) -> list[str]:
    """The platforms that wheels exist for, in words that a reader knows; sorted."""
    return sorted({_platform_word(tag.platform) for file in files for tag in tags_of(file)})


def _platform_word(platform: str) -> str:
    if platform.startswith("win"):
        return "Windows"
    if platform.startswith("macosx"):
        return "macOS"
    if platform == "any":
        return "any"
    for machine, word in (("x86_64", "linux/amd64"), ("aarch64", "linux/arm64")):
        if platform.endswith(machine):
            if platform.startswith("musllinux"):
                return f"{word} with musl"
            if platform.startswith("manylinux_2_"):
                level = platform.removeprefix("manylinux_2_").split("_")[0]
                return f"{word} with glibc 2.{level}" if level.isdigit() and int(level) > 36 else word
            return word
    return platform
