"""What something packed may unpack to: files, bytes in all, and beyond a first part a multiple of the bytes that it is packed in."""

from __future__ import annotations

from corten.errors import FormatError
from corten.values import dataclass

SETTING = "CORTEN_UNPACK_LIMIT"
"""The variable by which a user says another bound."""


@dataclass(frozen=True, slots=True)
class Bound:
    """At most `most` bytes in `entries` files. Within `free` bytes any ratio passes, beyond them `ratio` times what they are packed in;
    None is any ratio everywhere."""

    most: int
    free: int = 0
    ratio: int | None = None
    entries: int = 1_000_000

    def check_entries(self, entries: int, what: str) -> None:
        """Raises FormatError when `what` has more files."""
        if entries > self.entries:
            raise FormatError(f"{what} has {entries} files, and Corten takes {self.entries} at most")

    def check(self, plain: int, packed: int, what: str) -> None:
        """Raises FormatError when `what`, of which `packed` bytes have become `plain`, is beyond the bound."""
        if plain > self.most:
            raise FormatError(
                f"{what} is larger than {self.most} bytes when it is unpacked",
                hint=f"if it is to be trusted, set {SETTING} to the bytes that it may have, such as 300G",
            )
        if self.ratio is not None and plain > self.free and plain > packed * self.ratio:
            raise FormatError(
                f"{what} of {packed} bytes unpacks to more than {plain}, which looks like a decompression bomb",
                hint=f"if it is to be trusted, set {SETTING} to the bytes that it may have, such as 300G",
            )


LAYER = Bound(256 << 30, 1 << 30, 256)
"""A layer of an image. One with a file of zeros is real, and gzip packs that 1,030 times; text and code reach 3 to 10, logs and
dumps 50."""

WHEEL = Bound(32 << 30, 256 << 20, 100, 200_000)
"""A wheel; the largest that are known have 30,000 files. PyPI takes none that unpacks to more than 64 MiB and more than 50 times its size; torch with CUDA unpacks to 2 GB in one
wheel, twice its size."""

ARCHIVE = Bound(1 << 40, 1 << 30, 256)
"""An archive of images that is packed as a whole."""
