"""Docker's archives, as `docker save` writes and `docker load` reads them: `manifest.json` names for every image its
configuration, its names and its layers' tar files (moby, image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset
Format"). Docker before version 25 wrote `ID/layer.tar`; later ones keep layers in `blobs/sha256/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from corten.errors import FormatError, UsageError
from corten.lazy import regex
from corten.oci.archive import Members
from corten.oci.config import canonical_json
from corten.oci.digest import Digest
from corten.oci.layout import read_document
from corten.values import dataclass

MANIFEST_NAME = "manifest.json"
_MOST_IMAGES = 1_000
_NAMED_BY_DIGEST = regex(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?")


@dataclass(frozen=True, slots=True)
class DockerImage:
    """An image of an archive: its configuration's bytes, its names, and its layers' places in the archive."""

    config: bytes
    names: tuple[str, ...]
    layers: tuple[str, ...]


def is_docker_archive(members: Members) -> bool:
    """Whether `members` are such an archive. Raises UsageError for one of docker before 1.10, which names no digests."""
    if members.has(MANIFEST_NAME):
        return True
    if members.has("repositories"):
        raise UsageError(
            f"'{members.title}' is an archive of docker before version 1.10, which Corten does not read",
            hint="load it with docker, and save it again",
        )
    return False


def read_images(members: Members) -> list[DockerImage]:
    """The images of the archive. Configurations whose names tell their digests are checked. Raises FormatError."""
    return [_read_image(members, item) for item in _listed(members)]


def _listed(members: Members) -> list[dict[str, Any]]:
    try:
        listed = json.loads(read_document(members, MANIFEST_NAME))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"'{MANIFEST_NAME}' of '{members.title}' is not JSON") from error
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise FormatError(f"'{MANIFEST_NAME}' of '{members.title}' is not a list of images")
    if len(listed) > _MOST_IMAGES:
        raise FormatError(f"'{members.title}' lists {len(listed)} images")
    return listed


def names_by_image(members: Members) -> dict[Digest, tuple[str, ...]]:
    """The names that `manifest.json`, where there is one, gives to images whose configurations it tells by digest. No
    other file is opened. Raises FormatError."""
    if not members.has(MANIFEST_NAME):
        return {}
    found: dict[Digest, tuple[str, ...]] = {}
    for item in _listed(members):
        place = item.get("Config")
        if isinstance(place, str) and (digest := digest_of_name(place)):
            found[digest] = _strings(item, "RepoTags", members)
    return found


def _read_image(members: Members, item: dict[str, Any]) -> DockerImage:
    place = item.get("Config")
    if not isinstance(place, str):
        raise FormatError(f"an image of '{members.title}' has no configuration")
    config = read_document(members, _clean(place))
    if (named := digest_of_name(place)) and Digest.of(config) != named:
        raise FormatError(f"the configuration '{place[:100]}' of '{members.title}' is damaged")
    layers = tuple(_clean(path) for path in _strings(item, "Layers", members))
    for path in layers:
        if not members.has(path):
            raise FormatError(
                f"'{members.title}' lacks its layer '{path[:100]}'", hint="save the image again"
            )
    return DockerImage(config, _strings(item, "RepoTags", members), layers)


def digest_of_name(path: str) -> Digest | None:
    """The digest that a member's name promises for its bytes, where it does."""
    match = _NAMED_BY_DIGEST.fullmatch(_clean(path))
    return Digest.from_hex(match[1]) if match else None


def _clean(path: str) -> str:
    return path.removeprefix("./")


def _strings(item: dict[str, Any], key: str, members: Members) -> tuple[str, ...]:
    value = item.get(key) or []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise FormatError(f"'{key}' in '{MANIFEST_NAME}' of '{members.title}' is not a list of names")
    return tuple(value)


def encode_manifest(images: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> bytes:
    """`manifest.json` for images given as the configuration's place, the names, and the layers' places."""
    return canonical_json(
        [
            {"Config": config, "RepoTags": list(names) or None, "Layers": list(layers)}
            for config, names, layers in images
        ]
    )


def encode_repositories(tops: Mapping[str, str]) -> bytes:
    """`repositories`: for every name the identifier of its uppermost layer (image/spec/v1.md)."""
    document: dict[str, dict[str, str]] = {}
    for name, top in tops.items():
        repository, _, tag = name.rpartition(":")
        document.setdefault(repository, {})[tag] = top
    return canonical_json(document)


def version_1_identifiers(config: Digest, diff_ids: Sequence[Digest]) -> list[str]:
    """Names for the layers' folders, which docker before 1.10 took for the layers' identity: each depends on those below,
    and the uppermost on the configuration."""
    found: list[str] = []
    for index, diff_id in enumerate(diff_ids):
        top = str(config) if index == len(diff_ids) - 1 else ""
        found.append(Digest.of(f"{found[-1] if found else ''} {diff_id} {top}".encode()).hex)
    return found


def encode_version_1(identifier: str, parent: str | None, config: Mapping[str, Any] | None) -> bytes:
    """`json` of a layer's folder; the uppermost one's has the image's configuration."""
    document: dict[str, Any] = {"created": "1970-01-01T00:00:00Z", "os": "linux"}
    document |= {key: value for key, value in (config or {}).items() if key not in ("rootfs", "history")}
    document["id"] = identifier
    if parent:
        document["parent"] = parent
    return canonical_json(document)
