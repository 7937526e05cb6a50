"""The cache of fetched files (wheels, Debian packages) by kind and sha256. A file that is there had that sha256 when it came.

Kinds are kept apart. A lock decides which sha256 stands for a wheel and which for a Debian package, so a file from an index of
wheels could otherwise be unpacked as a package of Debian.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from corten.errors import FormatError
from corten.store.disk import explained, private_directory

Kind = Literal["wheel", "deb"]

_FOLDERS: dict[Kind, str] = {"wheel": "wheels", "deb": "debs"}
_HEX = re.compile(r"[0-9a-f]{64}")


class Files:
    """Files below `files/wheels/` and `files/debs/`, partial downloads below `files/incoming/`."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "files"

    def path(self, sha256: str, kind: Kind) -> Path | None:
        """The cached file of this kind with this hash, or None."""
        path = self._place(sha256, kind)
        return path if path.exists() else None

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
            elif not place.exists():
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
