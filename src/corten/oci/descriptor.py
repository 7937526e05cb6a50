"""Descriptors, manifests and indexes (image-spec: descriptor.md, manifest.md, image-index.md)."""

from __future__ import annotations

from typing import Any

from corten.errors import FormatError
from corten.oci import media
from corten.oci.config import canonical_json, parse_json_object
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Content by media type, digest and size in bytes. `platform` is set on the entries of an index."""

    media_type: str
    digest: Digest
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    platform: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON object of descriptor.md."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.platform is not None:
            value["platform"] = dict(self.platform)
        return value

    @classmethod
    def from_json(cls, value: object) -> Descriptor:
        """The descriptor in a JSON value. Raises FormatError."""
        if not isinstance(value, dict):
            raise FormatError("a descriptor is not a JSON object")
        media_type, size = value.get("mediaType"), value.get("size")
        if not isinstance(media_type, str):
            raise FormatError("a descriptor has no media type")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise FormatError("a descriptor has no valid size")
        annotations = value.get("annotations") or {}
        platform = value.get("platform")
        if not isinstance(annotations, dict) or not (platform is None or isinstance(platform, dict)):
            raise FormatError("a descriptor's annotations or platform are not objects")
        return cls(
            media_type=media_type,
            digest=Digest.parse(value.get("digest")),
            size=size,
            annotations={str(key): str(item) for key, item in annotations.items()},
            platform=platform,
        )

    def is_for(self, platform: Platform) -> bool:
        """Whether an index lists this descriptor for `platform`."""
        listed = self.platform or {}
        return (listed.get("os"), listed.get("architecture")) == (platform.os, platform.architecture)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest: a configuration and its layers, bottom to top."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict)

    media_type: str = media.MANIFEST

    def encode(self) -> bytes:
        """The canonical JSON of the manifest."""
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return canonical_json(value)

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The OCI or Docker schema 2 manifest in `data`. Raises FormatError."""
        value = parse_json_object(data, "the manifest")
        layers = value.get("layers")
        if value.get("schemaVersion") != 2 or not isinstance(layers, list):
            raise FormatError("the manifest is not an image manifest of schema version 2")
        annotations = value.get("annotations") or {}
        if not isinstance(annotations, dict):
            raise FormatError("the manifest's annotations are not an object")
        return cls(
            config=Descriptor.from_json(value.get("config")),
            layers=tuple(Descriptor.from_json(layer) for layer in layers),
            annotations={str(key): str(item) for key, item in annotations.items()},
            media_type=_kind(value, media.MANIFESTS, media.MANIFEST),
        )


def _kind(value: dict[str, Any], known: frozenset[str], default: str) -> str:
    """The media type that a document gives itself: optional, but never another's."""
    media_type = value.get("mediaType", default)
    if media_type not in known:
        raise FormatError(f"the document is of the type '{str(media_type)[:100]}'")
    return str(media_type)


@dataclass(frozen=True, slots=True)
class Index:
    """An image index: manifests for several platforms or names."""

    manifests: tuple[Descriptor, ...]
    media_type: str = media.INDEX

    def encode(self) -> bytes:
        """The canonical JSON of the index."""
        return canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "manifests": [item.to_json() for item in self.manifests],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Index:
        """The OCI index or Docker manifest list in `data`. Raises FormatError."""
        value = parse_json_object(data, "the index")
        manifests = value.get("manifests")
        if value.get("schemaVersion") != 2 or not isinstance(manifests, list):
            raise FormatError("the index is not an image index of schema version 2")
        return cls(
            manifests=tuple(Descriptor.from_json(item) for item in manifests),
            media_type=_kind(value, media.INDEXES, media.INDEX),
        )
