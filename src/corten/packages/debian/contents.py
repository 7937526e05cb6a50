"""Which package of a suite has a shared library: Debian's Contents index (repository format, "Contents indices").

The index is verified by the suite's InRelease. Of its millions of lines those stay that name a library in a folder that the loader
searches; they are kept as a small file of the store, named by the index's sha256.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from corten.errors import FormatError
from corten.lazy import regex
from corten.packages.debian.compressed import unpacked
from corten.packages.debian.release import Release

LARGEST = 2 << 30
"""No Contents index is read beyond this many bytes."""

_KINDS = ("xz", "gz", "")
_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_NAME = regex(r"[a-z0-9][a-z0-9+.-]{1,100}")
_LONGEST_LINE = 1 << 20
_CHUNK = 1 << 18
_VERSIONED = regex(r"(?P<name>.+?)\.so\.(?P<version>[0-9][A-Za-z0-9.]*)")


def contents_of(found: Release, architecture: str) -> tuple[str, str, str, int] | None:
    """The Contents file that is fetched of those that a Release names: its path, its kind (`xz`, `gz` or empty), sha256 and
    size."""
    for kind in _KINDS:
        path = f"main/Contents-{architecture}" + (f".{kind}" if kind else "")
        if path in found.files:
            return path, kind, *found.files[path]
    return None


def prepare(packed: Path, kind: str, architecture: str, largest: int = LARGEST) -> bytes:
    """The lines `LIBRARY PACKAGE…` of a Contents index. Raises FormatError for what cannot be unpacked."""
    triplet = _TRIPLETS[architecture].encode()
    line = re.compile(
        rb"^(?:usr/)?lib/(?:" + triplet + rb"/)?([^/\s]{1,255}\.so(?:\.[^/\s]{1,255})?)[ \t]+(\S+)$",
        re.MULTILINE,
    )
    found: dict[str, set[str]] = {}
    for piece in _whole_lines(packed, kind, largest):
        for library, places in line.findall(piece):
            names = (place.rpartition("/")[2] for place in places.decode("ascii", "replace").split(","))
            kept = {name for name in names if _NAME.fullmatch(name)}
            if kept:
                found.setdefault(library.decode("ascii", "replace"), set()).update(kept)
    return "".join(f"{name} {' '.join(sorted(found[name]))}\n" for name in sorted(found)).encode()


def _whole_lines(packed: Path, kind: str, largest: int) -> Iterator[bytes]:
    left = largest
    rest = b""
    with packed.open("rb") as file:
        pieces = iter(lambda: file.read(_CHUNK), b"")
        for piece in unpacked(pieces, f".{kind}" if kind else "", "Contents"):
            left -= len(piece)
            if left < 0:
                raise FormatError(
                    f"Debian's list of files is larger than {largest} bytes", hint="use another mirror"
                )
            data, newline, tail = piece.rpartition(b"\n")
            if not newline:
                rest = rest + tail if len(rest) < _LONGEST_LINE else b""
                continue
            yield rest + data
            rest = tail
    yield rest


def lookup(prepared: bytes, libraries: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The packages that have each of `libraries`, where one has it."""
    wanted = set(libraries)
    found: dict[str, tuple[str, ...]] = {}
    for line in prepared.decode("ascii", "replace").splitlines():
        name, *packages = line.split(" ")
        if name in wanted:
            found[name] = tuple(packages)
    return found


def named_after(library: str) -> str | None:
    """The name that Debian's policy gives to the package of a library: `libGL.so.1` → `libgl1`, `libfoo2.so.1` → `libfoo2-1`."""
    match = _VERSIONED.fullmatch(library)
    if match is None:
        return None
    name = match["name"].lower().replace("_", "-")
    return f"{name}-{match['version']}" if name[-1].isdigit() else f"{name}{match['version']}"


def choose(library: str, candidates: Sequence[str]) -> str | None:
    """The package to take for `library`: the only one, or the one whose name follows the library's. None: people decide."""
    if len(candidates) == 1:
        return candidates[0]
    own = named_after(library)
    following = [name for name in candidates if own is not None and name.removesuffix("t64") == own]
    return following[0] if len(following) == 1 else None


def decide(
    wanted: Collection[str], found: Mapping[str, Sequence[str]], present: Collection[str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """What becomes of the libraries `wanted`: (library → package to add, library → packages to choose from, those that no package
    has). A library that a package of `present` has is in none of them."""
    added: dict[str, str] = {}
    open_: dict[str, tuple[str, ...]] = {}
    nowhere: list[str] = []
    for library in sorted(wanted):
        candidates = tuple(found.get(library, ()))
        if not candidates:
            nowhere.append(library)
        elif not {*candidates} & {*present}:
            package = choose(library, candidates)
            if package is None:
                open_[library] = candidates
            else:
                added[library] = package
    # A package that is added for one library has others, too.
    there = {*added.values()}
    return (
        added,
        {name: packages for name, packages in open_.items() if not there & {*packages}},
        tuple(nowhere),
    )
