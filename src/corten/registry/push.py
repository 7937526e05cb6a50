"""From the store into a registry: only what the registry lacks, packed on the way.

A layer is packed while it is sent, never on disk, and what it became is remembered. Before that a registry is asked for what
is known: the blob that the layer was the last time, there or in another repository of the registry that it can be mounted
from. Layers that are not here (an image made from a registry as a cache) are mounted, or streamed from where they are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from corten.errors import CortenError, NotInRegistry, UsageError
from corten.events import Note, Observer
from corten.oci import media
from corten.oci.compression import Compressors
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.reference import Reference
from corten.registry.client import Registries, RegistrySettings
from corten.registry.failures import Unsupported
from corten.registry.forms import PushOptions
from corten.registry.placing import Placing
from corten.registry.remote import listed_blobs
from corten.store.images import Image
from corten.store.store import Store
from corten.values import dataclass

__all__ = ["PushOptions", "Pushed", "push"]

_AGAIN = 2
_OTHER_REASONS = frozenset(
    {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "DIGEST_INVALID", "NAME_INVALID", "TAG_INVALID", "SIZE_INVALID"}
)
"""Codes of a refused manifest that another format would not help."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did. `digest` is that of the manifest, or the index, that the reference leads to now; `sent` counts the
    bytes of blobs and manifests that went over the wire; `layers` how every layer got there."""

    reference: Reference
    digest: Digest
    sent: int
    layers: dict[str, int]


def push(
    images: Sequence[Image],
    reference: Reference,
    store: Store,
    settings: RegistrySettings,
    observe: Observer,
    options: PushOptions,
) -> Pushed:
    """Bring `images`, one for each platform, to `reference`: as one manifest, or as an index of several. The reference
    leads to them when everything else has arrived. Raises RegistryError, StoreError; what arrived whole is not sent
    again the next time."""
    if reference.digest is not None:
        raise UsageError(f"'{reference}' names a digest, and a push makes its own", hint="name a tag")
    registries = Registries(settings)
    repository = registries.repository(reference).for_pushing()
    waiting = Note("waiting for 'corten prune' to end")
    with store.lock("store", shared=True, waiting=lambda: observe(waiting)), Compressors() as compressors:
        listed = listed_blobs(repository, reference)
        placing = Placing(
            repository, store, observe, options, compressors, registries, listed, layer_titles(images)
        )
        manifests = [Manifest.decode(store.blobs.read(image.digest)) for image in images]
        again = 0
        while True:
            packed = _packed(placing, manifests)
            try:
                digest = _named(placing, images, packed, reference.target)
                return Pushed(reference, digest, placing.sent, dict(placing.ways))
            except (NotInRegistry, Unsupported) as error:
                if again == _AGAIN:
                    _propose_format(error, options)
                    raise
            # Only a manifest was refused. The one that was there may list what its registry has lost; another push may
            # have been writing the same blobs. Ask for every blob.
            again += 1
            placing.listed.clear()
            time.sleep(settings.patience.pause)


def _propose_format(error: CortenError, options: PushOptions) -> None:
    """Say how an older registry may take the image, if it has refused OCI's manifest as such."""
    if not isinstance(error, Unsupported) or options.format != "oci" or error.hint is not None:
        return
    if error.status in {400, 406, 415, 422} and not _OTHER_REASONS & set(error.codes):
        other = " --compression gzip" if options.compression == "zstd" else ""
        error.hint = f"if it does not know OCI's manifests, push with --format docker{other}"


def layer_titles(images: Sequence[Image]) -> dict[Digest, str]:
    """What every layer is called for people, by its history: two with one name, as a package for two platforms, are told
    apart."""
    titles: dict[Digest, str] = {}
    taken: set[str] = set()
    for image in images:
        for diff_id, entry in zip(image.config.diff_ids, image.config.layer_history, strict=True):
            if diff_id not in titles:
                title = str(entry.get("created_by", "")).removeprefix("corten: ")[:60] or diff_id.short
                titles[diff_id] = title if title not in taken else f"{title} ({diff_id.short})"
                taken.add(titles[diff_id])
    return titles


def _packed(placing: Placing, manifests: Sequence[Manifest]) -> list[Manifest]:
    """Bring every blob to the repository; the manifests of what is there then."""
    placed = placing.layers({layer.digest: layer for manifest in manifests for layer in manifest.layers})
    packed = []
    for local in manifests:
        if not placing.has(local.config.digest):
            data = placing.store.blobs.read(local.config.digest)
            placing.repository.push_blob(
                lambda data=data: iter([data]),  # type: ignore[misc]
                digest=local.config.digest,
                size=len(data),
            )
            placing.count(len(data))
        packed.append(packed_manifest(local, placed, placing.options.format))
    return packed


def packed_manifest(local: Manifest, placed: Mapping[Digest, Descriptor], form: str) -> Manifest:
    """The manifest over packed layers; `placed` says what each became, by diff ID. Docker's format has no annotations."""
    if form == "docker":
        config = Descriptor(media.DOCKER_CONFIG, local.config.digest, local.config.size)
        layers = tuple(placed[layer.digest] for layer in local.layers)
        return Manifest(config, layers, media_type=media.DOCKER_MANIFEST)
    noted = []
    for layer in local.layers:
        packed = placed[layer.digest]
        notes = dict(layer.annotations)
        if packed.media_type != media.LAYER:
            notes[media.LAYER_SIZE] = str(layer.size)
        noted.append(Descriptor(packed.media_type, packed.digest, packed.size, notes))
    config = Descriptor(media.CONFIG, local.config.digest, local.config.size)
    return Manifest(config, tuple(noted), dict(local.annotations))


def _named(placing: Placing, images: Sequence[Image], packed: Sequence[Manifest], target: str) -> Digest:
    """Put the manifests, the one that `target` leads to last, and note where the images are now."""
    entries = []
    for image, manifest in zip(images, packed, strict=True):
        data = manifest.encode()
        place = target if len(images) == 1 else str(Digest.of(data))
        digest = _put(placing, place, data, manifest.media_type, [image])
        entries.append(
            Descriptor(manifest.media_type, digest, len(data), platform=image.config.platform.to_json())
        )
    if len(entries) == 1:
        return entries[0].digest
    kind = media.INDEX if placing.options.format == "oci" else media.DOCKER_INDEX
    return _put(placing, target, Index(tuple(entries), kind).encode(), kind, images)


def _put(placing: Placing, target: str, data: bytes, media_type: str, images: Sequence[Image]) -> Digest:
    digest = placing.repository.put_manifest(target, data, media_type)
    placing.count(len(data))
    for image in images:
        placing.store.repo_digests.note(image.id, f"{placing.repository.name}@{digest}")
    return digest
