"""Zip archives from outside, read within bounds."""

from __future__ import annotations

import io
import lzma
import os
import struct
import zipfile
import zlib
from pathlib import Path

LARGEST_CONTENTS = 64 << 20

DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    # `zipfile` raises these for a kind of packing that it does not know, a member with a password, and names that are no text.
    *(NotImplementedError, RuntimeError, ValueError, OverflowError, LookupError),
)
"""What `zipfile` raises for an archive that is damaged or hostile, beside OSError."""


class Guarded(io.BufferedReader):
    """The file or the bytes of an archive, of which nobody reads more at a time than `most` bytes. `zipfile` reads an archive's table of contents at
    once, whatever its size, and makes an object of several hundred bytes of each entry."""

    def __init__(self, archive: Path | bytes, most: int = LARGEST_CONTENTS) -> None:
        super().__init__(io.BytesIO(archive) if isinstance(archive, bytes) else io.FileIO(archive))
        self._size = len(archive) if isinstance(archive, bytes) else os.fstat(self.fileno()).st_size
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes, or all that are left. Raises ValueError for more than a table of contents may have."""
        wanted = self._size - self.tell() if size is None or size < 0 else size
        if wanted > self._most:
            raise ValueError(f"its table of contents has {wanted} bytes")
        return super().read(size)
