"""Paths that two wheels write with different bytes (DECISIONS 6).

Looking for them takes the wheels' trees, so the answer is remembered: on this machine, and in an annotation of the image, so
that a registry can say it for wheels that nobody fetches.
"""

from __future__ import annotations

import base64
import json
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from corten.build.known import key_name
from corten.build.plan import WheelLayer
from corten.oci import tar
from corten.oci.config import canonical_json
from corten.oci.digest import Digest
from corten.oci.inside import Inside
from corten.store.disk import write_atomically
from corten.store.store import Store
from corten.values import dataclass, field

_DEPTH = 4
_PIECE = 1 << 20
_LONGEST = 64 << 10
_LARGEST = 1 << 20
"""Characters of a verdict that an image carries, packed and plain. Beyond it the wheels are looked at again."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """`path` differs between the wheels called `loser` and `winner`; `count` further paths of the two do as well."""

    loser: str
    winner: str
    path: str
    count: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of the wheels of one environment. `roots` says for each, by the name of its layer's key, the places that
    it writes to, cut where only one wheel writes as a rule: wheels without a common root have no common path."""

    conflicts: tuple[Conflict, ...]
    roots: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """The wheels that are in conflict with another."""
        return frozenset(name for item in self.conflicts for name in (item.loser, item.winner))

    def is_about(self, wheels: Iterable[WheelLayer]) -> bool:
        """Whether exactly these wheels were looked at."""
        return set(self.roots) == {key_name(layer.key) for layer in wheels}

    def encode(self) -> str | None:
        """The verdict as text, for an annotation; None when it is too long for one."""
        rows = [[item.loser, item.winner, item.path, item.count] for item in self.conflicts]
        roots = {key: sorted(value) for key, value in self.roots.items()}
        text = canonical_json({"conflicts": rows, "roots": roots})
        # Packed, because every push of the image sends it.
        packed = base64.b64encode(zlib.compress(text, 9)).decode()
        return packed if len(packed) <= _LONGEST and len(text) <= _LARGEST else None

    @classmethod
    def decode(cls, text: str | bytes) -> Verdict | None:
        """The verdict in `text`; None for anything else."""
        try:
            packed = base64.b64decode(text, validate=True) if len(text) <= _LONGEST else b""
            value = json.loads(zlib.decompressobj().decompress(packed, _LARGEST))
            rows = [(str(a), str(b), str(c), int(d)) for a, b, c, d in value["conflicts"]]
            roots = {str(key): frozenset(map(str, items)) for key, items in value["roots"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, zlib.error):
            return None
        # A registry's words end up on a terminal.
        if not all(word.isprintable() for a, b, c, _ in rows for word in (a, b, c)):
            return None
        return cls(tuple(Conflict(*row) for row in rows), roots)


def remembered(store: Store, wheels: Sequence[WheelLayer]) -> Verdict | None:
    """What this machine has found out about exactly these wheels."""
    try:
        verdict = Verdict.decode(_place(store, wheels).read_bytes())
    except OSError:
        return None
    return verdict if verdict and verdict.is_about(wheels) else None


def remember(store: Store, wheels: Sequence[WheelLayer], verdict: Verdict) -> None:
    """Keep the verdict for the next build of these wheels."""
    if text := verdict.encode():
        write_atomically(_place(store, wheels), text.encode())


def _place(store: Store, wheels: Sequence[WheelLayer]) -> Path:
    return store.cache_directory("conflicts") / key_name("\n".join(layer.key for layer in wheels))


def examine(store: Store, wheels: Sequence[tuple[WheelLayer, Digest]]) -> Verdict:
    """The conflicts among these wheel layers, which are in the store and in the order in which they are mounted: the last
    wins. Identical bytes are none."""
    roots = {key_name(layer.key): _known_roots(store, layer, diff_id) for layer, diff_id in wheels}
    # Most wheels write where no other does: only the others' files are looked at, of which there are many.
    looked_at = suspects([layer for layer, _ in wheels], None, roots)
    owners: dict[str, list[tuple[str, Path]]] = {}
    for layer, diff_id in wheels:
        if layer.wheel.name not in looked_at:
            continue
        tree = store.layers.tree(diff_id)
        for entry in store.layers.entries(diff_id):
            path = entry.path
            if "/__pycache__/" in path:
                continue
            owners.setdefault(path, []).append((layer.wheel.name, tree))
    found: dict[tuple[str, str], list[str]] = {}
    for path, claims in owners.items():
        winner, winning_tree = claims[-1]
        for loser, tree in claims[:-1]:
            if not _same(tree, winning_tree, path):
                found.setdefault((loser, winner), []).append(path)
    return Verdict(
        tuple(
            Conflict(loser, winner, f"/{min(paths)}", len(paths) - 1)
            for (loser, winner), paths in sorted(found.items())
        ),
        roots,
    )


def suspects(
    wheels: Sequence[WheelLayer], old: Verdict | None, roots: Mapping[str, frozenset[str]]
) -> set[str]:
    """The names of the wheels that must be looked at to judge `wheels`. `old` is a verdict on some of them; `roots` those of
    the wheels that are here, by the names of their keys. The others need no look: they write nowhere where another does
    that `old` has not seen beside them."""
    seen = old.roots if old else {}
    known = {**seen, **roots}
    wanted = {layer.wheel.name for layer in wheels if key_name(layer.key) not in known}
    wanted |= old.names if old else frozenset()
    writers: dict[str, list[tuple[str, WheelLayer]]] = {}
    for layer in wheels:
        for root in known.get(key_name(layer.key), ()):
            writers.setdefault(root.rstrip("/"), []).append((root, layer))
    for group in writers.values():
        shared = len(group) > 1 and not all(root.endswith("/") for root, _ in group)
        if shared and any(key_name(layer.key) not in seen for _, layer in group):
            wanted |= {layer.wheel.name for _, layer in group}
    return wanted & {layer.wheel.name for layer in wheels}


def _known_roots(store: Store, layer: WheelLayer, diff_id: Digest) -> frozenset[str]:
    """The roots of a wheel's layer. They are kept: a wheel's files may be thousands, its roots are few."""
    name = key_name(f"roots 1 {diff_id} {layer.prefix} {layer.python}")
    path = store.cache_directory("conflicts") / f"roots-{name}"
    try:
        items = json.loads(path.read_bytes())
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return frozenset(items)
    except (OSError, ValueError, RecursionError):
        pass  # not there, or damaged
    roots = frozenset(_roots(layer, store.layers.entries(diff_id)))
    write_atomically(path, canonical_json(sorted(roots)))
    return roots


def _roots(layer: WheelLayer, entries: Iterable[tar.Entry]) -> Iterator[str]:
    """The first component below site-packages, and elsewhere in the environment the first four: a folder above that,
    which wheels may share, ends in a slash."""
    prefix = f"{layer.prefix.lstrip('/')}/"
    packages = f"{prefix}lib/python{layer.python}/site-packages/"
    for entry in entries:
        path = entry.path
        if "/__pycache__/" in f"{path}/":  # of modules that are there as well
            continue
        if path.startswith(packages):
            yield path[len(packages) :].split("/", 1)[0]
            continue
        parts = path.removeprefix(prefix).split("/")
        whole = len(parts) <= _DEPTH and entry.kind == "directory"
        yield "/".join(parts[:_DEPTH]) + ("/" if whole else "")


def _same(one: Path, other: Path, path: str) -> bool:
    """Whether `path` is a folder in both trees, the same link, or files with equal bytes. No link is followed: what a tree's link
    means lies in the image, not here."""
    with Inside(one) as left, Inside(other) as right:
        first, second = left.status(path), right.status(path)
        if first is None or second is None or stat.S_IFMT(first.st_mode) != stat.S_IFMT(second.st_mode):
            return False
        if stat.S_ISLNK(first.st_mode):
            return left.readlink(path) == right.readlink(path)
        if not stat.S_ISREG(first.st_mode):
            return stat.S_ISDIR(first.st_mode)
        return first.st_size == second.st_size and _equal(left.open(path), right.open(path))


def _equal(one: int, other: int) -> bool:
    """Whether two open files have equal bytes; both are closed."""
    with open(one, "rb", buffering=0) as left, open(other, "rb", buffering=0) as right:
        while piece := left.read(_PIECE):
            if piece != right.read(len(piece)):
                return False
        return not right.read(1)
