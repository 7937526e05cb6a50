"""Reading an OCI image layout on disk (image-spec, image-layout.md)."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from corten.errors import FormatError, UsageError
from corten.oci import media
from corten.oci.config import parse_json_object
from corten.oci.descriptor import Descriptor, Index
from corten.oci.digest import Digest
from corten.oci.platform import Platform

_LARGEST_DOCUMENT = 16 << 20
_MOST_INDEXES = 100


class Layout:
    """The layout at `directory`. Raises UsageError where there is none."""

    def __init__(self, directory: Path) -> None:
        if not (directory / "oci-layout").is_file():
            raise UsageError(
                f"'{directory}' is not an OCI layout", hint="make one with 'skopeo copy … oci:DIR:TAG'"
            )
        self._directory = directory
        version = parse_json_object(self._document("oci-layout"), "oci-layout").get("imageLayoutVersion")
        if not str(version).startswith("1."):
            raise FormatError(
                f"'{directory}' is an OCI layout of version '{version}', which this Corten does not know"
            )

    def _document(self, name: str) -> bytes:
        try:
            with open(self._directory / name, "rb") as file:
                data = file.read(_LARGEST_DOCUMENT + 1)
        except FileNotFoundError:
            raise FormatError(f"the OCI layout '{self._directory}' has no '{name}'") from None
        if len(data) > _LARGEST_DOCUMENT:
            raise FormatError(f"'{name}' of the OCI layout '{self._directory}' is too large")
        return data

    def find(self, tag: str | None, platform: Platform) -> Descriptor:
        """The manifest called `tag`, or the only one, for `platform`. Raises UsageError naming what there is."""
        index = Index.decode(self._document("index.json"))
        named = [
            item for item in index.manifests if tag is None or item.annotations.get(media.REF_NAME) == tag
        ]
        seen: set[Digest] = set()
        found = [manifest for item in named for manifest in self._manifests(item, platform, seen)]
        if len({item.digest for item in found}) == 1:
            return found[0]
        tags = sorted({item.annotations.get(media.REF_NAME, "") for item in index.manifests} - {""})
        what = f"'{tag}'" if tag else "image"
        if found:
            raise UsageError(
                f"'{self._directory}' has several images for {platform}", hint=f"name one: {', '.join(tags)}"
            )
        raise UsageError(
            f"'{self._directory}' has no {what} for {platform}",
            hint=f"its tags are {', '.join(tags)}" if tags else "it has no tags",
        )

    def _manifests(self, item: Descriptor, platform: Platform, seen: set[Digest]) -> list[Descriptor]:
        """The manifests for `platform` that `item` is or leads to. `seen` are the indexes that were read."""
        if item.media_type in media.INDEXES:
            if item.digest in seen:
                return []
            if len(seen) == _MOST_INDEXES:
                raise FormatError(f"'{self._directory}' has too many indexes within indexes")
            seen.add(item.digest)
            inner = Index.decode(self.read(item)).manifests
            return [found for other in inner for found in self._manifests(other, platform, seen)]
        fits = item.platform is None or item.is_for(platform)
        return [item] if item.media_type in media.MANIFESTS and fits else []

    def read(self, item: Descriptor) -> bytes:
        """A small blob, verified. Raises FormatError."""
        if item.size > _LARGEST_DOCUMENT:
            raise FormatError(f"the document '{item.digest.short}' has {item.size} bytes, which is too many")
        with self.open(item) as file:
            data = file.read(item.size + 1)
        if Digest.of(data) != item.digest:
            raise FormatError(f"the blob '{item.digest}' in '{self._directory}' is damaged")
        return data

    def open(self, item: Descriptor) -> BinaryIO:
        """A blob's file, unverified. Raises FormatError when it is not there."""
        path = self._directory / "blobs" / "sha256" / item.digest.hex
        try:
            return open(path, "rb")
        except FileNotFoundError:
            raise FormatError(
                f"'{self._directory}' lacks its blob '{item.digest}'", hint="copy the image again"
            ) from None
