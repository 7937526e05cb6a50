"""Small content by digest: image configurations and manifests."""

from __future__ import annotations

from pathlib import Path

from corten.errors import FormatError, StoreError
from corten.oci.digest import ALGORITHMS, Digest
from corten.store.disk import explained, private_directory, write_atomically


class Blobs:
    """Content-addressed bytes below `blobs/ALGORITHM`. A blob that is there is complete."""

    def __init__(self, root: Path) -> None:
        self._top = root / "blobs"

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where blobs may lie, one directory for each algorithm; they need not be there."""
        return tuple(self._top / algorithm for algorithm in ALGORITHMS)

    def path(self, digest: Digest) -> Path:
        """Where the blob lies or would lie."""
        return self._top / digest.algorithm / digest.hex

    def put(self, data: bytes, algorithm: str = "sha256") -> Digest:
        """Store `data`; idempotent. A blob that a power loss has damaged is written again."""
        digest = Digest.of(data, algorithm)
        path = self.path(digest)
        with explained(path.parent):
            if not path.exists() or path.read_bytes() != data:
                private_directory(path.parent)
                write_atomically(path, data)
        return digest

    def read(self, digest: Digest) -> bytes:
        """The bytes of `digest`, verified. Raises StoreError when it is not there and FormatError when it is damaged."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise StoreError(
                f"the store has no blob '{digest}'", hint="build or pull the image again"
            ) from None
        if not digest.is_of(data):
            raise FormatError(
                f"the blob '{digest}' in the store is damaged", hint="build or pull the image again"
            )
        return data
