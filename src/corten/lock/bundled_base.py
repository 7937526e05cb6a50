"""A base image in the folder of `corten lock --download`: an OCI layout in `base/`, in which each platform's image is called
by the hex digits of its manifest's digest. Its blobs are as the registry has them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from corten.errors import FormatError
from corten.events import Observer, TaskAdvanced, TaskFinished, TaskStarted
from corten.lock.model import ImageBase, Lock, PlatformLock
from corten.oci import media
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.layout import Layout
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.registry.client import RegistrySettings, Repository, open_repository
from corten.store.disk import explained

FOLDER = "base"
_LARGEST_CONFIG = 16 << 20


def bundled_base(directory: Path, digest: Digest, platform: Platform) -> tuple[Layout, Descriptor]:
    """The base with that manifest in a folder made by `lock --download`. Raises UsageError when it is not there."""
    layout = Layout(directory / FOLDER)
    return layout, layout.find(digest.hex, platform)


def download_base(
    lock: Lock, reference: str, directory: Path, settings: RegistrySettings, observe: Observer
) -> int:
    """Put the base images that `lock` has taken from `reference` into `directory`, every byte checked; what is there and
    right is not fetched again. Returns the bytes of their blobs. Raises RegistryError, FormatError, StoreError."""
    repository = open_repository(Reference.parse(reference), settings)
    parts = [part for part in lock.platforms if isinstance(part.base, ImageBase)]
    place = directory / FOLDER
    with explained(directory):
        blobs = place / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        listed, size = [], 0
        for part in parts:
            descriptor, amount = _download(repository, part, blobs, observe)
            listed.append(descriptor)
            size += amount
        _write(place / "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _write(place / "index.json", Index(tuple(listed)).encode())
    return size


def _download(
    repository: Repository, part: PlatformLock, blobs: Path, observe: Observer
) -> tuple[Descriptor, int]:
    fetched = repository.manifest(str(part.base.digest)) if isinstance(part.base, ImageBase) else None
    if fetched is None or fetched.media_type not in media.MANIFESTS:
        raise FormatError(f"the base for {part.platform} in '{repository.name}' is no image manifest")
    manifest = Manifest.decode(fetched.data)
    config = manifest.config
    if not _is_there(blobs, config):
        _write(blobs / config.digest.hex, repository.read_blob(config.digest, config.size, _LARGEST_CONFIG))
    for layer in manifest.layers:
        if not _is_there(blobs, layer):
            _fetch(repository, layer, blobs / layer.digest.hex, observe)
    _write(blobs / fetched.digest.hex, fetched.data)
    descriptor = Descriptor(
        fetched.media_type,
        fetched.digest,
        len(fetched.data),
        {media.REF_NAME: fetched.digest.hex},
        part.platform.to_json(),
    )
    return descriptor, _sum([config, *manifest.layers]) + len(fetched.data)


def _fetch(repository: Repository, layer: Descriptor, target: Path, observe: Observer) -> None:
    name = f"base layer {layer.digest.short}"
    observe(TaskStarted("download", name, layer.size))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            for piece in repository.pull_blob(layer.digest, layer.size):
                file.write(piece)
                observe(TaskAdvanced("download", name, len(piece)))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    observe(TaskFinished("download", name))


def _is_there(blobs: Path, item: Descriptor) -> bool:
    path = blobs / item.digest.hex
    if not path.is_file() or path.stat().st_size != item.size:
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == item.digest.hex


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _sum(items: Sequence[Descriptor]) -> int:
    return sum(item.size for item in items)
