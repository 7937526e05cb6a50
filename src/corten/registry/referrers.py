"""Manifests that refer to another one (signatures, SBOMs), stored so that they are found again.

A registry of distribution-spec 1.1 lists them by itself. For one that does not, the client keeps an index under a tag that is
made of the subject's digest (distribution-spec, "Pushing Manifests with Subject", "Referrers Tag Schema").
"""

from __future__ import annotations

from typing import Any

from corten.errors import NotInRegistry
from corten.oci import media
from corten.oci.config import canonical_json, parse_json_object
from corten.oci.descriptor import Descriptor
from corten.oci.digest import Digest
from corten.registry.client import Repository
from corten.registry.manifests import referrers_tag


def subject_of(data: bytes) -> Digest | None:
    """The digest that a manifest refers to, None for one that refers to nothing. Raises FormatError."""
    subject = parse_json_object(data, "the manifest").get("subject")
    return None if subject is None else Descriptor.from_json(subject).digest


def put_referrer(
    repository: Repository, data: bytes, media_type: str, digest: Digest | None = None
) -> Digest:
    """Store a manifest that has a subject under its digest (its sha256 unless `digest` is another one), and see to it that the subject's referrers list it. Between
    two clients that do so at the same moment, with a registry that does not do it itself, one entry may be lost; the
    specification knows no remedy. Raises RegistryError, FormatError."""
    digest = repository.put_manifest(str(digest or Digest.of(data)), data, media_type)
    subject = subject_of(data)
    if subject is not None and digest not in {item.digest for item in repository.referrers(subject)}:
        _list(repository, subject, _entry(data, media_type, digest))
    return digest


def _entry(data: bytes, media_type: str, digest: Digest) -> dict[str, Any]:
    document = parse_json_object(data, "the manifest")
    config = document.get("config")
    kind = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    entry: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": len(data)}
    if kind:
        entry["artifactType"] = kind
    if document.get("annotations"):
        entry["annotations"] = document["annotations"]
    return entry


def _list(repository: Repository, subject: Digest, entry: dict[str, Any]) -> None:
    tag = referrers_tag(subject)
    try:
        known = parse_json_object(repository.manifest(tag).data, "the index of referrers").get("manifests")
    except NotInRegistry:
        known = []
    listed = [item for item in known if isinstance(item, dict)] if isinstance(known, list) else []
    if all(item.get("digest") != entry["digest"] for item in listed):
        index = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [*listed, entry]}
        repository.put_manifest(tag, canonical_json(index), media.INDEX)
