"""PyTorch's own index where it cannot be reached. Its packages are those of PyPI in other builds, so a project that names it installs
without it too, as with pip, which passes over an extra index that does not answer. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from corten.errors import FetchError
from corten.lazy import regex
from corten.packages.cpu_builds import TORCH
from corten.packages.indexes import Indexes
from corten.packages.wheels import Wanted
from corten.values import replace

_BUILT_THERE = TORCH | {"torchtext", "torchdata"}
HOST = "download.pytorch.org"
_UNREACHED = regex(
    r"is not known to this machine's name resolution|is down: |does not answer in time|cannot be reached"
)
_NAME = regex(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_LOCAL = regex(r"(==\s*[0-9][\w.!]*)\+[\w.]+")


def without_it(
    indexes: Indexes, wanted: Wanted, error: FetchError, host: str = HOST
) -> tuple[Indexes, Wanted] | None:
    """`indexes` and `wanted` without PyTorch's index, where `error` says that it cannot be reached; None where that is not so, or
    where the project pins hashes, which its builds alone have."""
    if wanted.hashed or f"'{host}'" not in error.message or not _UNREACHED.search(error.message):
        return None
    gone = [
        index for index in (*indexes.extra, indexes.default) if index is not None and _is_at(index.url, host)
    ]
    places = tuple(place for place in indexes.find_links if not _is_at(place, host))
    if not gone and places == indexes.find_links:
        return None
    names = {index.name for index in gone}
    left = replace(
        indexes,
        extra=tuple(index for index in indexes.extra if index not in gone),
        default=None if indexes.default in gone else indexes.default,
        find_links=places,
    )
    request = wanted.request
    sources = {
        name: kept
        for name, entries in request.sources.items()
        if (kept := tuple(entry for entry in entries if not _names_one(entry, names)))
    }
    lines = tuple(map(_plain, request.lines))
    constraints = tuple(map(_plain, request.constraints))
    named = {name: tuple(map(_plain, items)) for name, items in wanted.named.items()}
    request = replace(request, lines=lines, sources=sources, constraints=constraints)
    return left, replace(wanted, request=request, named=named)


def _names_one(entry: Mapping[str, str], names: set[str | None]) -> bool:
    return entry.get("index") is not None and entry.get("index") in names


def _is_at(url: str, host: str) -> bool:
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] == host


def _plain(line: str) -> str:
    """A line of a package of PyTorch's without the build that it asks for: `torch==2.1.0` for `torch==2.1.0+cpu`."""
    match = _NAME.match(line)
    name = re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""
    return _LOCAL.sub(r"\1", line) if name in _BUILT_THERE else line
