"""One repository on the disk: which blobs and manifests it has, its tags, and who refers to its manifests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten.errors import FormatError, StoreError
from corten.oci.digest import Digest
from corten.registry.server.manifests import KNOWN, Contained
from corten.store.blobs import Blobs
from corten.store.disk import private_directory, write_atomically


class Repository:
    """The repository `name` below `directory`. A blob or manifest is in it if its link is there and its bytes are; the methods that
    change something are to be called inside `Contents.changing` or `Contents.ordered`."""

    def __init__(self, directory: Path, name: str, blobs: Blobs) -> None:
        self.name = name
        self.directory = directory / name
        self._blobs = blobs

    @property
    def known(self) -> bool:
        """Whether anything was ever pushed or mounted here."""
        return any((self.directory / part).is_dir() for part in ("_blobs", "_manifests", "_tags"))

    # Blobs

    def blob_link(self, digest: Digest) -> Path:
        """The file that says that the repository has the blob."""
        return self.directory / "_blobs" / digest.hex

    def blob_size(self, digest: Digest) -> int | None:
        """Bytes of a blob of this repository; None if it has no such blob. Manifests are not blobs."""
        return self._size(self.blob_link(digest), digest)

    def link_blob(self, digest: Digest) -> None:
        """Give the repository a blob whose bytes are there."""
        path = self.blob_link(digest)
        private_directory(path.parent)
        path.touch(0o600)

    def unlink_blob(self, digest: Digest) -> bool:
        """Take it away; returns whether it was there. The bytes stay until garbage is collected."""
        return _unlink(self.blob_link(digest))

    def blobs(self) -> Iterator[Path]:
        """The links to all blobs."""
        return _files(self.directory / "_blobs")

    # Manifests

    def manifest_link(self, digest: Digest) -> Path:
        """The file that says that the repository has the manifest."""
        return self.directory / "_manifests" / digest.hex

    def manifest_size(self, digest: Digest) -> int | None:
        """Bytes of a manifest of this repository; None if it has no such manifest."""
        return self._size(self.manifest_link(digest), digest)

    def media_type(self, digest: Digest) -> str | None:
        """The type that the manifest was pushed as; None if the repository has no such manifest."""
        with suppress(FileNotFoundError):
            text = self.manifest_link(digest).read_text()
            return text if text in KNOWN else None
        return None

    def manifest(self, digest: Digest) -> tuple[str, bytes] | None:
        """Media type and exact bytes, verified. None if the repository has no such manifest. Raises FormatError when a disk
        has damaged it."""
        media_type = self.media_type(digest)
        if media_type is None:
            return None
        try:
            return media_type, self._blobs.read(digest)
        except StoreError:
            return None

    def put_manifest(self, digest: Digest, found: Contained, size: int) -> None:
        """Note a manifest whose bytes are stored; as a referrer first, because a list of referrers leaves out what is
        not here."""
        if found.subject is not None:
            entry: dict[str, Any] = {"mediaType": found.media_type, "digest": str(digest), "size": size}
            if found.artifact_type:
                entry["artifactType"] = found.artifact_type
            if found.annotations:
                entry["annotations"] = found.annotations
            self._write(self._referrers(found.subject) / digest.hex, json.dumps(entry).encode())
        self._write(self.manifest_link(digest), found.media_type.encode())

    def delete_manifest(self, digest: Digest, subject: Digest | None) -> bool:
        """Take a manifest away, and every tag that leads to it. Returns whether it was there."""
        for tag in list(self.tags()):
            if self.tag(tag) == digest:
                self.delete_tag(tag)
        removed = _unlink(self.manifest_link(digest))
        if subject is not None:
            _unlink(self._referrers(subject) / digest.hex)
        return removed

    def manifests(self) -> Iterator[Path]:
        """The links to all manifests."""
        return _files(self.directory / "_manifests")

    # Tags

    def tag(self, name: str) -> Digest | None:
        """The digest that a tag names. One that a power loss has emptied is none."""
        try:
            return Digest.parse((self.directory / "_tags" / name).read_text())
        except (FileNotFoundError, FormatError):
            return None

    def put_tag(self, name: str, digest: Digest) -> None:
        """Let a tag name a manifest that is here."""
        self._write(self.directory / "_tags" / name, digest.encode())

    def delete_tag(self, name: str) -> bool:
        """Take a tag away; returns whether it was there."""
        return _unlink(self.directory / "_tags" / name)

    def tags(self) -> Iterator[str]:
        """All tags, in no order."""
        return (path.name for path in _files(self.directory / "_tags"))

    # Referrers and uploads

    def referrers(self, subject: Digest) -> Iterator[dict[str, Any]]:
        """The descriptors of the manifests here whose subject is `subject`, by digest."""
        for path in sorted(_files(self._referrers(subject)), key=lambda path: (len(path.name), path.name)):
            with suppress(FileNotFoundError, FormatError, ValueError):
                if self.manifest_size(Digest.from_hex(path.name)) is not None:
                    yield json.loads(path.read_bytes())

    def referrer_entries(self) -> Iterator[Path]:
        """The entries of all referrers of all subjects."""
        return (entry for subject in _directories(self.directory / "_referrers") for entry in _files(subject))

    @property
    def uploads_directory(self) -> Path:
        """Where the uploads to this repository lie."""
        return self.directory / "_uploads"

    def uploads(self) -> Iterator[Path]:
        """The files of all uploads."""
        return _files(self.uploads_directory)

    def _referrers(self, subject: Digest) -> Path:
        return self.directory / "_referrers" / subject.hex

    def _size(self, link: Path, digest: Digest) -> int | None:
        if not link.exists():
            return None
        try:
            return self._blobs.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def _write(self, path: Path, data: bytes) -> None:
        private_directory(path.parent)
        write_atomically(path, data, durable=True)


def _files(directory: Path) -> Iterator[Path]:
    """The files in `directory`, without those that are being written."""
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                yield directory / entry.name


def _directories(directory: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield directory / entry.name


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
