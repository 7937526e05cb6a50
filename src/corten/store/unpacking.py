"""How much is unpacked into a store: the bounds of one wheel, layer or archive, and the space that the disk keeps free.

A disk that is full hurts every program that writes to it. So what comes from outside is written only while the disk has more free
space than is kept: 2 % of it, and 1 GiB at most.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from corten.errors import StoreError, UsageError
from corten.lazy import regex
from corten.oci import bound
from corten.oci.bound import SETTING, Bound
from corten.values import dataclass

KEPT = "CORTEN_KEEP_FREE"
_MOST_KEPT, _PART_KEPT = 1 << 30, 50
_STEP = 32 << 20
"""Bytes between two looks at the disk."""
_SIZE = regex(r"([0-9]{1,15})([kmgt]?)i?b?", re.IGNORECASE)


class Headroom:
    """Watches the disk of the directory `root` while something is written to it, by several threads or one. `keep` bytes stay free;
    None is the default."""

    def __init__(self, root: Path, keep: int | None = None) -> None:
        self._root, self._keep = root, keep
        self._written = 0

    def need(self, amount: int = 0) -> None:
        """Raises StoreError where the disk has no room for `amount` more bytes beside those that it keeps."""
        try:
            disk = os.statvfs(self._root)
        except FileNotFoundError:  # of a store that is still to be made
            return
        keep = self._keep
        if keep is None:
            keep = min(_MOST_KEPT, disk.f_frsize * disk.f_blocks // _PART_KEPT)
        left = disk.f_frsize * disk.f_bavail - keep
        if amount > left or left < 0:
            wanted = f"; {amount >> 20} MiB more do not fit" if amount > left >= 0 else ""
            raise StoreError(
                f"the disk of '{self._root}' is full but for the {keep >> 20} MiB that Corten leaves free{wanted}",
                hint=f"run 'corten prune', set CORTEN_HOME to a directory on a larger disk, or set {KEPT} to less",
            )

    def spend(self, amount: int) -> None:
        """`amount` bytes were written. Raises StoreError as `need`, at times."""
        self._written += amount
        if self._written >= _STEP:
            self._written = 0
            self.need()

    def watched(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """`pieces`, which are written. Raises StoreError as `need`."""
        self.need()
        for piece in pieces:
            self.spend(len(piece))
            yield piece


@dataclass(frozen=True, slots=True)
class Unpacking:
    """The bounds of a layer, a wheel and an archive of images, and the bytes that the disk keeps (None: the default)."""

    layer: Bound = bound.LAYER
    wheel: Bound = bound.WHEEL
    archive: Bound = bound.ARCHIVE
    keep: int | None = None


def unpacking_from(environment: Mapping[str, str]) -> Unpacking:
    """What the user's environment says. A bound that is said holds for a wheel and a layer alike, whatever their ratio. Raises
    UsageError."""
    limit, keep = _size(environment, SETTING), _size(environment, KEPT)
    if limit is None:
        return Unpacking(keep=keep)
    layer, wheel = (Bound(limit, entries=usual.entries) for usual in (bound.LAYER, bound.WHEEL))
    return Unpacking(layer, wheel, Bound(max(limit, bound.ARCHIVE.most)), keep)


def _size(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{name}='{text[:40]}' is not a size", hint="write it as 300G, 512M, or in bytes")
    return int(match[1]) << 10 * " kmgt".index(match[2].lower() or " ")
