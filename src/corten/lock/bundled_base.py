"""A base image in the folder of `corten lock --download`: an OCI layout in `base/`, in which each platform's image is called
by the hex digits of its manifest's digest. Its blobs are as the registry has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from corten.errors import FormatError, StoreError
from corten.events import Observer, TaskAdvanced, TaskFinished, TaskStarted
from corten.lock.bundle_folder import BundleFolder
from corten.lock.model import ImageBase, Lock, PlatformLock
from corten.oci import media
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.layout import Layout
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.registry.client import RegistrySettings, Repository, open_repository

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
    with BundleFolder(directory) as folder:
        _check_index(folder)
        listed, size = [], 0
        for part in parts:
            descriptor, amount = _download(repository, part, folder, observe)
            listed.append(descriptor)
            size += amount
        folder.write(f"{FOLDER}/oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        folder.write(f"{FOLDER}/index.json", Index(tuple(listed)).encode(), replace=True)
    return size


def _check_index(folder: BundleFolder) -> None:
    """Raises StoreError where the folder has a layout that is not of an earlier download: only those call every image by the
    digits of its digest."""
    data = folder.read(f"{FOLDER}/index.json", _LARGEST_CONFIG)
    if data is None:
        return
    try:
        images = Index.decode(data).manifests
        ours = all(image.annotations.get(media.REF_NAME) == image.digest.hex for image in images)
    except FormatError:
        ours = False
    if not ours:
        raise StoreError(
            f"'{folder.root / FOLDER}' is an OCI layout of something else, and is not overwritten",
            hint="choose an empty folder",
        )


def _download(
    repository: Repository, part: PlatformLock, folder: BundleFolder, observe: Observer
) -> tuple[Descriptor, int]:
    fetched = repository.manifest(str(part.base.digest)) if isinstance(part.base, ImageBase) else None
    if fetched is None or fetched.media_type not in media.MANIFESTS:
        raise FormatError(f"the base for {part.platform} in '{repository.name}' is no image manifest")
    manifest = Manifest.decode(fetched.data)
    config = manifest.config
    if not _is_there(folder, config):
        folder.write(_place(config), repository.read_blob(config.digest, config.size, _LARGEST_CONFIG))
    for layer in manifest.layers:
        if not _is_there(folder, layer):
            _fetch(repository, layer, folder, observe)
    descriptor = Descriptor(
        fetched.media_type,
        fetched.digest,
        len(fetched.data),
        {media.REF_NAME: fetched.digest.hex},
        part.platform.to_json(),
    )
    folder.write(_place(descriptor), fetched.data)
    return descriptor, _sum([config, *manifest.layers]) + len(fetched.data)


def _fetch(repository: Repository, layer: Descriptor, folder: BundleFolder, observe: Observer) -> None:
    name = f"base layer {layer.digest.short}"
    observe(TaskStarted("download", name, layer.size))

    def pieces() -> Iterator[bytes]:
        for piece in repository.pull_blob(layer.digest, layer.size):
            yield piece
            observe(TaskAdvanced("download", name, len(piece)))

    folder.receive(_place(layer), pieces())
    observe(TaskFinished("download", name))


def _place(item: Descriptor) -> str:
    return f"{FOLDER}/blobs/{item.digest.algorithm}/{item.digest.hex}"


def _is_there(folder: BundleFolder, item: Descriptor) -> bool:
    """Raises StoreError where another file has its name."""
    found = folder.hash(_place(item), item.digest.algorithm)
    if found not in (None, item.digest.hex):
        raise StoreError(
            f"'{folder.root / _place(item)}' is damaged, and is not overwritten",
            hint="remove it, and try again",
        )
    return found is not None


def _sum(items: Sequence[Descriptor]) -> int:
    return sum(item.size for item in items)
