"""Manifests and lists as registries answer them."""

from __future__ import annotations

import json
from typing import Any

from corten.errors import FormatError, RegistryError
from corten.network.connection import Answer
from corten.oci import media
from corten.oci.digest import Digest
from corten.registry.failures import printable
from corten.values import dataclass

LARGEST_MANIFEST = 4 << 20
"""Bytes of a manifest that registries have to accept (distribution-spec, "Pushing manifests"), and that are read here."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest as the registry has it: exactly its bytes, and the digest that they have."""

    media_type: str
    digest: Digest
    data: bytes


def json_object(data: bytes, host: str) -> dict[str, Any]:
    """The JSON object in `data`. Raises RegistryError, without any of it."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RegistryError(f"'{host}' answered with something that is not a JSON object")
    return document


def told_digest(answer: Answer) -> Digest | None:
    """The digest by which an answer calls its content; None if it does not, or by one of an unknown algorithm."""
    try:
        return Digest.parse(answer.headers.get("docker-content-digest"))
    except FormatError:
        return None


def referrers_tag(subject: Digest) -> str:
    """The tag of the index of a manifest's referrers (distribution-spec, "Referrers Tag Schema"): the digest, its digits cut
    to 64."""
    return f"{subject.algorithm}-{subject.hex[:64]}"


def is_list(data: bytes, key: str) -> bool:
    """Whether `data` is a JSON object with a list `key`."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get(key), list)


def entries(index: dict[str, Any]) -> list[object]:
    """The descriptors of an index, not parsed yet."""
    manifests = index.get("manifests")
    return manifests if isinstance(manifests, list) else []


def media_type_of(answer: Answer, data: bytes, host: str) -> str:
    """What a manifest is, by its header and by itself. Where the two differ, one reader would see another image than the
    next (CVE-2021-41190), so that is refused."""
    header = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    inside = json_object(data, host).get("mediaType")
    if not isinstance(inside, str):
        return header
    known = media.MANIFESTS | media.INDEXES
    if header != inside and header in known:
        raise RegistryError(f"'{host}' gives as '{header}' what calls itself '{printable(inside)}'")
    return inside
