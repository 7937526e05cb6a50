"""Reading an OCI image layout, in a folder or in an archive (image-spec, image-layout.md)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from corten.errors import FormatError, UsageError
from corten.oci import media
from corten.oci.archive import Members
from corten.oci.config import parse_json_object
from corten.oci.descriptor import Descriptor, Index
from corten.oci.digest import Digest
from corten.oci.platform import Platform

LARGEST_DOCUMENT = 8 << 20
"""Bytes. Registries take manifests of 4 MiB at most."""
_MOST_INDEXES = 100
_MOST_MANIFESTS = 1_000


class Folder:
    """The files below `directory` as members."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def title(self) -> str:
        """The folder's path."""
        return os.fspath(self._directory)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self._directory / name).is_file()

    def open(self, name: str) -> BinaryIO:
        """The file's bytes. Raises FileNotFoundError, also for what is not a regular file."""
        descriptor = os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(name)
        return os.fdopen(descriptor, "rb")

    def size(self, name: str) -> int:
        """The file's length in bytes. Raises FileNotFoundError."""
        return (self._directory / name).stat().st_size


def read_document(members: Members, name: str) -> bytes:
    """A small file of `members`. Raises FormatError when it is not there or too large."""
    try:
        with members.open(name) as file:
            data = file.read(LARGEST_DOCUMENT + 1)
    except FileNotFoundError:
        raise FormatError(f"'{members.title}' has no '{name}'") from None
    if len(data) > LARGEST_DOCUMENT:
        raise FormatError(f"'{name}' of '{members.title}' is too large")
    return data


class Layout:
    """The layout in a folder or in `members`. Raises UsageError where there is none."""

    def __init__(self, place: Path | Members) -> None:
        members = Folder(place) if isinstance(place, Path) else place
        if not members.has("oci-layout"):
            raise UsageError(
                f"'{members.title}' is not an OCI layout", hint="make one with 'skopeo copy … oci:DIR:TAG'"
            )
        self._members = members
        self._title = members.title
        version = parse_json_object(read_document(members, "oci-layout"), "oci-layout").get(
            "imageLayoutVersion"
        )
        if not str(version).startswith("1."):
            raise FormatError(
                f"'{self._title}' is an OCI layout of version '{version}', which this Corten does not know"
            )

    def entries(self) -> tuple[Descriptor, ...]:
        """What `index.json` lists. Raises FormatError."""
        found = Index.decode(read_document(self._members, "index.json")).manifests
        if len(found) > _MOST_MANIFESTS:
            raise FormatError(f"'{self._title}' lists {len(found)} images")
        return found

    def find(self, tag: str | None, platform: Platform) -> Descriptor:
        """The manifest called `tag`, or the only one, for `platform`. Raises UsageError naming what there is."""
        entries = self.entries()
        named = [item for item in entries if tag is None or item.annotations.get(media.REF_NAME) == tag]
        seen: set[Digest] = set()
        found = [
            manifest
            for item in named
            for manifest in self._manifests(item, seen)
            if manifest.platform is None or manifest.is_for(platform)
        ]
        if len({item.digest for item in found}) == 1:
            return found[0]
        tags = sorted({item.annotations.get(media.REF_NAME, "") for item in entries} - {""})
        what = f"'{tag}'" if tag else "image"
        if found:
            raise UsageError(
                f"'{self._title}' has several images for {platform}", hint=f"name one: {', '.join(tags)}"
            )
        raise UsageError(
            f"'{self._title}' has no {what} for {platform}",
            hint=f"its tags are {', '.join(tags)}" if tags else "it has no tags",
        )

    def manifests(self, item: Descriptor) -> list[Descriptor]:
        """Every manifest that `item` is or leads to, for whatever platform. Raises FormatError."""
        return self._manifests(item, set())

    def _manifests(self, item: Descriptor, seen: set[Digest]) -> list[Descriptor]:
        """The manifests that `item` is or leads to. `seen` are the indexes that were read."""
        if item.media_type in media.INDEXES:
            if item.digest in seen:
                return []
            if len(seen) == _MOST_INDEXES:
                raise FormatError(f"'{self._title}' has too many indexes within indexes")
            seen.add(item.digest)
            inner = Index.decode(self.read(item)).manifests
            if len(inner) > _MOST_MANIFESTS:
                raise FormatError(f"an index of '{self._title}' lists {len(inner)} images")
            return [found for other in inner for found in self._manifests(other, seen)]
        return [item] if item.media_type in media.MANIFESTS else []

    def has(self, item: Descriptor) -> bool:
        """Whether the blob is there. Layouts of one platform may list others that they lack."""
        return self._members.has(_path(item))

    def read(self, item: Descriptor) -> bytes:
        """A small blob, verified. Raises FormatError."""
        if item.size > LARGEST_DOCUMENT:
            raise FormatError(f"the document '{item.digest.short}' has {item.size} bytes, which is too many")
        with self.open(item) as file:
            data = file.read(item.size + 1)
        if not item.digest.is_of(data):
            raise FormatError(f"the blob '{item.digest}' in '{self._title}' is damaged")
        return data

    def open(self, item: Descriptor) -> BinaryIO:
        """A blob's file, unverified. Raises FormatError when it is not there."""
        try:
            return self._members.open(_path(item))
        except FileNotFoundError:
            raise FormatError(
                f"'{self._title}' lacks its blob '{item.digest}'", hint="copy the image again"
            ) from None


def _path(item: Descriptor) -> str:
    return f"blobs/{item.digest.algorithm}/{item.digest.hex}"
