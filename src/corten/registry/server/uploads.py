"""Uploads: blobs that are on their way in, hashed while they arrive.

An upload is a file beside the repository's links, so it survives a restart of the server, and what had arrived needs not be
sent again. It becomes a blob by being renamed, when its digest is right and never before.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from corten.oci.digest import Digest
from corten.registry.server.contents import Contents
from corten.registry.server.refusals import Refusal, digest_invalid, upload_unknown
from corten.store.disk import private_directory

KEPT = 24 * 3600
"""Seconds after which an upload to which nothing comes is swept."""
_PATIENCE = 10.0
_MOST_REMEMBERED = 1000
_PIECE = 1 << 20


class Upload:
    """One upload. Its methods are called by whoever holds it (`Uploads.held`)."""

    def __init__(self, identity: str, repository: str, path: Path, algorithm: str = "sha256") -> None:
        self.identity, self.repository, self.path = identity, repository, path
        self._algorithm = algorithm
        self.guard = threading.Lock()
        self.ended = False
        self.offset = path.stat().st_size
        self._hash = hashlib.new(algorithm)
        self._hashed = 0

    @property
    def location(self) -> str:
        """The address of the upload."""
        return f"/v2/{self.repository}/blobs/uploads/{self.identity}"

    def expect(self, algorithm: str) -> None:
        """Hash by `algorithm` from now on; what was hashed by another one is read again when it is needed."""
        if algorithm != self._algorithm:
            self._algorithm, self._hash, self._hashed = algorithm, hashlib.new(algorithm), 0

    def append(self, readinto: Callable[[memoryview], int]) -> None:
        """Append what `readinto` gives until it gives 0. What arrived before a cut is kept, and counts."""
        buffer = memoryview(bytearray(_PIECE))
        with open(self.path, "r+b", buffering=0) as file:
            self._catch_up()
            file.seek(self.offset)
            while count := readinto(buffer):
                piece = buffer[:count]
                written = 0
                while written < count:
                    written += file.write(piece[written:])
                self._hash.update(piece)
                self.offset += count
                self._hashed += count

    def settle(self) -> Digest:
        """Flush the bytes to the disk and return their digest."""
        self._catch_up()
        with open(self.path, "rb") as file:
            os.fdatasync(file.fileno())
        return Digest.from_hex(self._hash.hexdigest())

    def _catch_up(self) -> None:
        """Hash what arrived before this server started."""
        if self._hashed == self.offset:
            return
        buffer = memoryview(bytearray(_PIECE))
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self._hashed)
            while count := file.readinto(buffer):
                self._hash.update(buffer[:count])
                self._hashed += count
        self.offset = self._hashed


class Uploads:
    """All uploads to the registry. Safe from many threads."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._known: OrderedDict[str, Upload] = OrderedDict()
        self._guard = threading.Lock()

    def begin(self, repository: str, algorithm: str = "sha256") -> Upload:
        """A new, empty upload, whose digest is going to be by `algorithm`."""
        identity = str(uuid.uuid4())
        directory = self._contents.repository(repository).uploads_directory
        path = directory / identity
        with self._contents.changing():
            private_directory(directory)
            path.touch(mode=0o600, exist_ok=False)
            upload = Upload(identity, repository, path, algorithm)
        self._remember(upload)
        return upload

    def find(self, repository: str, identity: str) -> Upload:
        """The upload, of this server's time or from before. Raises Refusal when there is none."""
        with self._guard:
            upload = self._known.get(identity)
            if upload is not None and not upload.path.exists() and not upload.guard.locked():
                # Garbage was collected by another process, and it had lain there for a day.
                upload.ended = True
                del self._known[identity]
                upload = None
            if upload is None:
                path = self._contents.repository(repository).uploads_directory / identity
                try:
                    upload = Upload(identity, repository, path)
                except FileNotFoundError:
                    raise upload_unknown() from None
                self._remember_held(upload)
        if upload.repository != repository:
            raise upload_unknown()
        return upload

    def hold(self, upload: Upload) -> None:
        """Be the only one who changes the upload, until `release`. Raises Refusal when another request goes on changing it."""
        if not upload.guard.acquire(timeout=_PATIENCE):
            raise Refusal(409, "BLOB_UPLOAD_INVALID", "another request is sending to this upload")
        if upload.ended:
            upload.guard.release()
            raise upload_unknown()

    def release(self, upload: Upload) -> None:
        """Let others change it."""
        upload.guard.release()

    def finish(self, upload: Upload, digest: Digest) -> None:
        """Make a held upload a blob of its repository. Raises Refusal, and forgets the upload, when its bytes are not those of
        `digest`."""
        found = upload.settle()
        if found != digest:
            self.cancel(upload)
            raise digest_invalid(f"what was sent has the digest {found}")
        place = self._contents.blobs.path(digest)
        with self._contents.changing():
            private_directory(place.parent)
            # Also over a blob that is there already: these bytes were just verified, those may be damaged.
            os.rename(upload.path, place)
            self._contents.repository(upload.repository).link_blob(digest)
        self._forget(upload)

    def cancel(self, upload: Upload) -> None:
        """Throw a held upload away."""
        self._forget(upload)
        upload.path.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Throw those away to which nothing has come for a day. Returns how many there were."""
        swept = 0
        for name in list(self._contents.names()):
            for path in list(self._contents.repository(name).uploads()):
                with suppress(FileNotFoundError, Refusal):
                    if time.time() - path.stat().st_mtime > KEPT:
                        swept += self._sweep(self.find(name, path.name))
        return swept

    def _sweep(self, upload: Upload) -> bool:
        if not upload.guard.acquire(blocking=False):
            return False
        try:
            self.cancel(upload)
        finally:
            upload.guard.release()
        return True

    def _remember(self, upload: Upload) -> None:
        with self._guard:
            self._remember_held(upload)

    def _remember_held(self, upload: Upload) -> None:
        self._known[upload.identity] = upload
        for identity in list(self._known)[: max(len(self._known) - _MOST_REMEMBERED, 0)]:
            # The others are found again on the disk, at the price of hashing them once more. Whoever holds one keeps it.
            if not self._known[identity].guard.locked():
                del self._known[identity]

    def _forget(self, upload: Upload) -> None:
        upload.ended = True
        with self._guard:
            self._known.pop(upload.identity, None)
