"""Small images in a store, without building any."""

from __future__ import annotations

from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.store.store import Store

AMD64 = Platform("linux", "amd64")


def add_layer(store: Store, name: str, key: str | None = None) -> Digest:
    """A layer with the file `etc/NAME`, which holds its name a hundred times."""
    with store.temporary_directory() as directory:
        (directory / "fs/etc").mkdir(parents=True)
        (directory / "fs/etc" / name).write_text(name * 100)
        return store.layers.commit(directory, key).diff_id


def add_image(store: Store, name: str, *layers: Digest, platform: Platform = AMD64) -> Digest:
    """An image of `layers`, and the digest of its manifest."""
    config = ImageConfig(platform=platform, diff_ids=layers).encode()
    descriptors = tuple(Descriptor(media.LAYER, layer, store.layers.get(layer).size) for layer in layers)
    manifest = Manifest(Descriptor(media.CONFIG, store.blobs.put(config), len(config)), descriptors)
    digest = store.blobs.put(manifest.encode())
    store.images.set(name, platform, digest)
    return digest
