"""The cache of fetched files (wheels, sources, Debian packages, files of hubs, archives of Python) by kind and sha256. A file that is there had that sha256 when it came.

Kinds are kept apart. A lock decides which sha256 stands for a wheel and which for a Debian package, so a file from an index of
wheels could otherwise be unpacked as a package of Debian.

A power loss may leave a file without its bytes. So a file counts as it is if it was written since this machine started, or before
the last flush; any other is hashed when it is asked for, and is absent where that is not its sha256.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Literal

from corten.errors import FormatError
from corten.lazy import regex
from corten.store.disk import explained, private_directory, write_atomically

Kind = Literal["wheel", "sdist", "deb", "hub", "python"]

_FOLDERS: dict[Kind, str] = {
    "wheel": "wheels",
    "sdist": "sdists",
    "deb": "debs",
    "hub": "hub",
    "python": "pythons",
}
_HEX = regex(r"[0-9a-f]{64}")


class Files:
    """Files below `files/wheels/`, `files/sdists/`, `files/debs/`, `files/hub/` and `files/pythons/`, partial downloads below `files/incoming/`; `files/synced` has the time of the
    last flush. `started` is the time when this machine was switched on. Times are in nanoseconds since the epoch."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "files"
        self.started = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def path(self, sha256: str, kind: Kind) -> Path | None:
        """The cached file of this kind with this hash, or None."""
        path = self._place(sha256, kind)
        try:
            status = os.lstat(path)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_ctime_ns >= self.started or status.st_ctime_ns <= self._flushed():
            return path
        return path if _sha256(path) == sha256 else None

    def mark_synced(self, moment: int) -> None:
        """Note that everything here that was written until `moment` has reached the disk (after `syncfs`)."""
        if self.directory.is_dir():
            write_atomically(self.directory / "synced", str(moment).encode())

    def _flushed(self) -> int:
        try:
            return int((self.directory / "synced").read_bytes() or 0)
        except (OSError, ValueError):
            return 0

    def incoming(self, sha256: str, kind: Kind) -> Path:
        """Where to write a download of this file. What a stopped download left there can be resumed."""
        path = self.directory / "incoming" / f"{kind}-{self._place(sha256, kind).name}"
        with explained(self.directory):
            private_directory(path.parent)
        return path

    def add(self, source: Path, sha256: str, kind: Kind) -> Path:
        """Take the verified file `source` into the cache and return its place. A file in `incoming` is moved; any
        other is copied. Idempotent."""
        place = self._place(sha256, kind)
        with explained(self.directory):
            private_directory(place.parent)
            if source.parent == self.directory / "incoming":
                os.chmod(source, 0o600)
                os.rename(source, place)
            elif self.path(sha256, kind) is None:
                temporary = place.with_name(f".{place.name}.{os.urandom(6).hex()}.tmp")
                try:
                    import shutil  # a container that starts copies nothing

                    shutil.copyfile(source, temporary)
                    os.chmod(temporary, 0o600)
                    os.rename(temporary, place)
                finally:
                    temporary.unlink(missing_ok=True)
        return place

    def _place(self, sha256: str, kind: Kind) -> Path:
        if not _HEX.fullmatch(sha256):
            raise FormatError(f"'{sha256[:80]}' is not a sha256")
        return self.directory / _FOLDERS[kind] / sha256[:2] / sha256


def _sha256(path: Path) -> str:
    import hashlib  # with OpenSSL, which a container that starts has no use for

    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
