"""Paths that two wheels write with different bytes (DECISIONS 6)."""

from __future__ import annotations

import filecmp
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corten.build.plan import WheelLayer
from corten.oci.digest import Digest
from corten.store.disk import write_atomically
from corten.store.store import Store


@dataclass(frozen=True, slots=True)
class Conflict:
    """`path` differs between the wheels called `loser` and `winner`; `count` further paths of the two do as well."""

    loser: str
    winner: str
    path: str
    count: int


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are both folders, or files with equal bytes."""
    folders = one.is_dir(), other.is_dir()
    return all(folders) if any(folders) else filecmp.cmp(one, other, shallow=False)


def conflicts(store: Store, wheels: Sequence[tuple[WheelLayer, Digest]]) -> list[Conflict]:
    """The conflicts among these wheel layers, which are in the order in which they are mounted: the last wins.
    Identical bytes are none. The answer for a set of layers is remembered."""
    state = hashlib.sha256("\n".join(diff_id for _, diff_id in wheels).encode()).hexdigest()
    cache = store.cache_directory("conflicts") / state
    try:
        return [Conflict(*row) for row in json.loads(cache.read_bytes())]
    except (OSError, ValueError, TypeError):
        pass
    owners: dict[str, list[tuple[str, Path]]] = {}
    for layer, diff_id in wheels:
        tree = store.layers.tree(diff_id)
        for entry in store.layers.entries(diff_id):
            if "/__pycache__/" not in entry.path:
                owners.setdefault(entry.path, []).append((layer.wheel.name, tree))
    found: dict[tuple[str, str], list[str]] = {}
    for path, claims in owners.items():
        winner, winning_tree = claims[-1]
        for loser, tree in claims[:-1]:
            if not _same(tree / path, winning_tree / path):
                found.setdefault((loser, winner), []).append(path)
    result = [
        Conflict(loser, winner, f"/{min(paths)}", len(paths) - 1)
        for (loser, winner), paths in sorted(found.items())
    ]
    rows = [[conflict.loser, conflict.winner, conflict.path, conflict.count] for conflict in result]
    write_atomically(cache, json.dumps(rows).encode())
    return result
