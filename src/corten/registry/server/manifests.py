"""What a manifest refers to (image-spec 1.1: manifest.md, image-index.md; Docker's schema 2). Pure."""

from __future__ import annotations

from typing import Any

from corten.errors import FormatError
from corten.oci import media
from corten.oci.config import parse_json_object
from corten.oci.descriptor import Descriptor
from corten.oci.digest import Digest
from corten.values import dataclass

LARGEST = 4 << 20
"""Bytes of the largest manifest that is kept, and of a list of referrers (spec.md, "Pushing Manifests")."""
KNOWN = media.MANIFESTS | media.INDEXES
_MOST_DESCRIPTORS = 20_000


@dataclass(frozen=True, slots=True)
class Contained:
    """What a manifest of type `media_type` refers to: the `blobs` and child `manifests` that must be there, the `subject` that
    need not, and what a list of referrers says about it."""

    media_type: str
    blobs: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Digest | None
    artifact_type: str | None
    annotations: dict[str, str]


def contained(data: bytes, content_type: str | None = None) -> Contained:
    """What the manifest in `data` refers to. `content_type` is what it was sent as; without one, its own word counts. Raises
    FormatError for what is not a manifest of a known type, or says that it is another."""
    document = parse_json_object(data, "the manifest")
    own = document.get("mediaType")
    sent = (content_type or "").partition(";")[0].strip()
    media_type = sent or own or _guess(document)
    if not isinstance(media_type, str) or media_type not in KNOWN:
        raise FormatError(
            f"'{str(media_type)[:100]}' is not a type of manifest that this registry keeps: OCI's, and Docker's schema 2"
        )
    if own is not None and own != media_type:
        raise FormatError(f"the manifest says that it is '{str(own)[:100]}', and was sent as '{media_type}'")
    if document.get("schemaVersion") != 2:
        raise FormatError("the manifest is not of schema version 2")
    subject = document.get("subject")
    common = (
        Descriptor.from_json(subject).digest if subject is not None else None,
        _artifact_type(document, media_type),
        _annotations(document),
    )
    if media_type in media.INDEXES:
        return Contained(media_type, (), _descriptors(document, "manifests"), *common)
    config = Descriptor.from_json(document.get("config"))
    return Contained(media_type, (config, *_descriptors(document, "layers", foreign=False)), (), *common)


def _guess(document: dict[str, Any]) -> str:
    return media.INDEX if "manifests" in document and "config" not in document else media.MANIFEST


def _artifact_type(document: dict[str, Any], media_type: str) -> str | None:
    """As the referrers API gives it: of an image manifest without one, the type of its configuration."""
    declared = document.get("artifactType")
    if isinstance(declared, str) and declared:
        return declared
    config = document.get("config")
    if media_type in media.MANIFESTS and isinstance(config, dict):
        return str(config.get("mediaType", "")) or None
    return None


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    annotations = document.get("annotations")
    if annotations is None:
        return {}
    if not isinstance(annotations, dict):
        raise FormatError("the manifest's annotations are not an object")
    return {str(key): str(value) for key, value in annotations.items()}


def _descriptors(document: dict[str, Any], key: str, *, foreign: bool = True) -> tuple[Descriptor, ...]:
    """The descriptors in the list `key`; unless `foreign`, without those layers that lie elsewhere (they have `urls`)."""
    values = document.get(key)
    if not isinstance(values, list):
        raise FormatError(f"the manifest has no list of {key}")
    if len(values) > _MOST_DESCRIPTORS:
        raise FormatError(f"the manifest has more than {_MOST_DESCRIPTORS} {key}")
    return tuple(
        Descriptor.from_json(value)
        for value in values
        if foreign or not (isinstance(value, dict) and value.get("urls"))
    )
