"""An image made elsewhere becomes one of this store: its configuration as it came, and a manifest of Corten's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corten.errors import FormatError
from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.digest import Digest
from corten.store.images import Image
from corten.store.store import Store

_KEPT = "dev.corten."
_OF_PACKED_LAYERS = frozenset({media.LAYER_SIZE})


def local_manifest(
    config: bytes, annotations: Sequence[Mapping[str, str]], sizes: Sequence[int]
) -> tuple[ImageConfig, Manifest]:
    """The configuration in `config` and the manifest of its uncompressed layers, whose tar streams have `sizes` bytes:
    equal wherever the image came from. Of `annotations`, one mapping for each layer, Corten's own are kept. Raises
    FormatError when the configuration is not one, or names another number of layers."""
    decoded = ImageConfig.decode(config)
    if not len(decoded.diff_ids) == len(annotations) == len(sizes):
        raise FormatError(
            f"the image has {len(sizes)} layers, and its configuration names {len(decoded.diff_ids)}"
        )
    layers = tuple(
        Descriptor(media.LAYER, diff_id, size, _own(notes))
        for diff_id, size, notes in zip(decoded.diff_ids, sizes, annotations, strict=True)
    )
    return decoded, Manifest(Descriptor(media.CONFIG, Digest.of(config), len(config)), layers)


def _own(annotations: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in annotations.items()
        if key.startswith(_KEPT) and key not in _OF_PACKED_LAYERS
    }


def adopt(
    store: Store, config: bytes, annotations: Sequence[Mapping[str, str]], sizes: Sequence[int]
) -> Image:
    """Keep the image whose configuration is exactly `config` (its digest is the image ID). `annotations` and `sizes` (bytes of
    the tar streams) belong to its layers, bottom to top; the layers themselves may be absent. Returns the image, which has no name
    yet. The caller holds the store's lock shared. Idempotent. Raises FormatError for a configuration that does not fit."""
    decoded, manifest = local_manifest(config, annotations, sizes)
    store.blobs.put(config)
    digest = store.blobs.put(manifest.encode())
    written = store.blobs.path(digest).stat().st_mtime
    return Image("", manifest.config.digest, digest, decoded, sum(sizes), written)
