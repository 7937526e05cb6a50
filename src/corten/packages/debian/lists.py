"""A folder of signed indexes, as they came from a mirror: what proves that a package is Debian's, also without a network.

    <codename>/<date>/InRelease
    <codename>/<date>/Packages-<architecture>.xz

Such a folder is in the store's caches and in the folder of `corten lock --download`. Nothing in it is trusted: InRelease is
verified whenever it is used, and a Packages file against InRelease.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

from corten.errors import FormatError, SignatureError
from corten.packages.debian import index, release
from corten.packages.debian.index import Package
from corten.packages.debian.release import Release
from corten.store.disk import private_directory, write_atomically
from corten.values import dataclass

_KINDS = ("xz", "gz", "")
_KEPT = 12
_CHUNK = 1 << 18


def packages_of(found: Release, architecture: str) -> tuple[str, str, str, int] | None:
    """The Packages file that is fetched of those that a Release names: its path, its kind (`xz`, `gz` or empty), sha256 and
    size. None where there is none for `architecture`."""
    for kind in _KINDS:
        path = f"main/binary-{architecture}/Packages" + (f".{kind}" if kind else "")
        if path in found.files:
            return path, kind, *found.files[path]
    return None


def folder_name(date: str) -> str:
    """The name of the folder for a Release of `date` (ISO 8601, UTC). Raises FormatError for what is no date."""
    try:
        return f"{datetime.fromisoformat(date):%Y%m%dT%H%M%SZ}"
    except ValueError as error:
        raise FormatError(f"{date[:40]!r} is not a time") from error


class Lists:
    """The signed indexes below `root`, which need not exist. `keys` are Debian's by default."""

    def __init__(self, root: Path, keys: Sequence[bytes] | None = None) -> None:
        self.root = root
        self._keys = keys

    def folders(self, codename: str) -> list[Path]:
        """The Releases of `codename`, the newest first."""
        with contextlib.suppress(OSError):
            return sorted((path for path in (self.root / codename).iterdir()), reverse=True)
        return []

    def folder(self, codename: str, date: str) -> Path:
        """Where the Release of that date is, or would be."""
        return self.root / codename / folder_name(date)

    def keep(self, codename: str, date: str, data: bytes) -> Path:
        """Put an InRelease file into its folder, which is returned. Of many Releases the newest stay."""
        folder = self.folder(codename, date)
        private_directory(folder)
        path = folder / "InRelease"
        if not path.exists() or path.read_bytes() != data:
            write_atomically(path, data)
        for old in self.folders(codename)[_KEPT:]:
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)
        return folder

    def place(self, folder: Path, architecture: str, kind: str) -> Path:
        """Where a Packages file is, or belongs."""
        return folder / (f"Packages-{architecture}" + (f".{kind}" if kind else ""))

    def packages(self, folder: Path, architecture: str) -> Path | None:
        """The verified Packages file for `architecture` in a folder of this root; None where it is not there. Raises
        SignatureError where InRelease or it is not Debian's."""
        found = self._signed(folder, architecture)
        if found is None:
            return None
        with found.opened() as file:
            for _ in found.verified(file):
                pass
        return found.path

    def find(self, folder: Path, architecture: str, wanted: set[str]) -> list[Package] | None:
        """The packages with a sha256 in `wanted` that the signed index in `folder` lists for `architecture`; None where the
        index is not there. Raises SignatureError, FormatError."""
        found = self._signed(folder, architecture)
        if found is None:
            return None
        with found.opened() as file:
            # What is hashed is what is searched, also where somebody else writes to the folder meanwhile.
            pieces = found.verified(file)
            try:
                listed = index.find_listed(pieces, found.kind, found.largest, wanted, architecture)
            finally:
                for _ in pieces:
                    pass
        return listed

    def _signed(self, folder: Path, architecture: str) -> _Signed | None:
        codename = folder.parent.name
        try:
            # A pipe or a device in the folder of a stranger would never end.
            if not (folder / "InRelease").is_file():
                return None
            with open(folder / "InRelease", "rb") as file:
                data = file.read(release.LARGEST)
        except OSError:
            return None
        # Of when it is does not matter: it proves what Debian has once published.
        found = release.read_release(data, codename, os.fspath(folder), keys=self._keys, outdated=True)
        named = packages_of(found, architecture)
        if named is None:
            return None
        _, kind, sha256, size = named
        path = self.place(folder, architecture, kind)
        if not path.is_file():
            return None
        largest = found.files.get(f"main/binary-{architecture}/Packages", ("", index.LARGEST))[1]
        return _Signed(path, kind, sha256, size, min(largest, index.LARGEST))


@dataclass(frozen=True, slots=True)
class _Signed:
    """A Packages file as a Release names it. `largest` is how many bytes it unpacks to at most."""

    path: Path
    kind: str
    sha256: str
    size: int
    largest: int

    def opened(self) -> IO[bytes]:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise FormatError(
                f"'{self.path}' cannot be read: {(error.strerror or str(error)).lower()}"
            ) from error

    def verified(self, file: IO[bytes]) -> Iterator[bytes]:
        """The bytes in pieces. Raises SignatureError at the end when they are not those that were signed."""
        digest, left = hashlib.sha256(), self.size
        while piece := file.read(min(_CHUNK, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            digest.update(piece)
            yield piece
        if left or digest.hexdigest() != self.sha256:
            raise SignatureError(f"'{self.path}' is not the file that Debian has signed", hint=_HINT)


_HINT = "remove the folder that it is in, and fetch it again"
