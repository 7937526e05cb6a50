"""An image written as an OCI image layout (image-spec, image-layout.md)."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from corten.errors import FormatError, UsageError
from corten.events import Observer, TaskAdvanced, TaskFinished, TaskStarted
from corten.oci import media
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.store.disk import explained, write_atomically
from corten.store.images import Image
from corten.store.store import Store


def save_layout(store: Store, image: Image, directory: Path, observe: Observer) -> None:
    """Write `image` into the OCI layout at `directory`, which is made, or added to if it is a layout already. Layers
    are uncompressed, so the manifest is the image's own `digest`. Raises UsageError for a folder that is neither empty
    nor a layout."""
    if (
        directory.exists()
        and not (directory / "oci-layout").is_file()
        and (not directory.is_dir() or any(directory.iterdir()))
    ):
        raise UsageError(
            f"'{directory}' is neither an OCI layout nor an empty folder",
            hint="give the name of a new folder",
        )
    blobs = directory / "blobs" / "sha256"
    with store.lock("store", shared=True), explained(directory, what=""):
        blobs.mkdir(parents=True, exist_ok=True)
        manifest_bytes = store.blobs.read(image.digest)
        manifest = Manifest.decode(manifest_bytes)
        for layer in manifest.layers:
            _save_layer(store, layer, blobs, observe)
        for digest in (manifest.config.digest, image.digest):
            write_atomically(blobs / digest.hex, store.blobs.read(digest))
        write_atomically(directory / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add_to_index(directory, image, len(manifest_bytes))


def _save_layer(store: Store, layer: Descriptor, blobs: Path, observe: Observer) -> None:
    target = blobs / layer.digest.hex
    if target.exists():
        return
    observe(TaskStarted("copy", layer.digest.short, layer.size))
    temporary = blobs / f".{layer.digest.hex}.{os.urandom(4).hex()}.tmp"
    try:
        sha256 = hashlib.sha256()
        with open(temporary, "wb", buffering=1 << 20) as file:
            for piece in store.layers.stream(layer.digest):
                file.write(piece)
                sha256.update(piece)
                observe(TaskAdvanced("copy", layer.digest.short, len(piece)))
        if sha256.hexdigest() != layer.digest.hex:
            raise FormatError(
                f"the layer '{layer.digest.short}' in the store was changed",
                hint="run 'corten rmi' on its images, 'corten prune', and build again",
            )
        os.rename(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    observe(TaskFinished("copy", layer.digest.short))


def _add_to_index(directory: Path, image: Image, size: int) -> None:
    path = directory / "index.json"
    present = Index.decode(path.read_bytes()).manifests if path.exists() else ()
    tag = image.name.rsplit(":", 1)[1]
    platform = {"os": image.config.platform.os, "architecture": image.config.platform.architecture}
    entry = Descriptor(media.MANIFEST, Digest(image.digest), size, {media.REF_NAME: tag}, platform)
    kept = [
        item for item in present if item.annotations.get(media.REF_NAME) != tag or item.platform != platform
    ]
    index = Index((*kept, entry))
    write_atomically(path, json.dumps(json.loads(index.encode()), indent=1).encode())
