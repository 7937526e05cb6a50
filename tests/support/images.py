"""Small images in a store, without building any."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.store.images import Image
from corten.store.store import Store

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


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


def bare_layer(store: Store, digest: Digest) -> Path:
    """The empty tree of a layer that is called `digest`, whatever a test puts into it."""
    place = store.layers.directory / digest.hex
    (place / "fs").mkdir(parents=True)
    (place / "layer.json").write_text('{"size": 1024, "files": 0}')
    (place / "entries").touch()
    (place / "synced").touch()
    return place / "fs"


def make_layer(store: Store, files: Mapping[str, bytes], key: str | None = None) -> Digest:
    """A layer of these files."""
    with store.temporary_directory() as directory:
        for path, data in files.items():
            place = directory / "fs" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return store.layers.commit(directory, key).diff_id


def make_image(
    store: Store,
    name: str,
    layers: Sequence[Mapping[str, bytes]],
    platform: Platform = AMD64,
    *,
    keys: bool = False,
) -> Image:
    """An image of layers with these files; with `keys` every layer says which key it has, as built ones do."""
    made = []
    for files in layers:
        key = f"key of {sorted(files.items())}"
        diff_id = make_layer(store, files, key)
        notes = {media.LAYER_KEY: hashlib.sha256(key.encode()).hexdigest()} if keys else {}
        made.append(Descriptor(media.LAYER, diff_id, store.layers.get(diff_id).size, notes))
    history = tuple({"created_by": f"corten: layer {number}"} for number in range(len(made)))
    diff_ids = tuple(layer.digest for layer in made)
    config = ImageConfig(platform, diff_ids, env=("A=1",), cmd=("true",), history=history).encode()
    manifest = Manifest(Descriptor(media.CONFIG, store.blobs.put(config), len(config)), tuple(made))
    store.images.set(name, platform, store.blobs.put(manifest.encode()))
    return store.images.get(name, platform)


def tree_of(store: Store, diff_id: Digest) -> dict[str, object]:
    """Every path of a layer: bytes of files, targets of links, None for folders."""
    root = store.layers.tree(diff_id)
    return {str(path.relative_to(root)): _content(path) for path in sorted(root.rglob("*"))}


def _content(path: Path) -> object:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_bytes() if path.is_file() else None
