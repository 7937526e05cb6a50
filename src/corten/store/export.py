"""Images written for others: as an OCI image layout (image-spec, image-layout.md) in a folder or a tar stream, or as docker's
archive. A tar stream of the OCI layout is docker's archive too: its `manifest.json` points at the same blobs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from corten.errors import FormatError, UsageError
from corten.events import Observer, TaskAdvanced, TaskFinished, TaskStarted
from corten.oci import docker_archive, media
from corten.oci.compression import Compression, Compressors
from corten.oci.config import parse_json_object
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.store.archive import Part, document, write_archive
from corten.store.disk import explained, write_atomically
from corten.store.images import Image
from corten.store.packing import Packing
from corten.store.store import Store
from corten.values import dataclass

_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_PREFERRED = Platform("linux", "amd64")
_PUBLIC = 0o644


@dataclass(frozen=True, slots=True)
class _Blobs:
    """What an OCI layout of some images holds: documents by digest, layers as packed, and the entries of its index."""

    documents: dict[Digest, bytes]
    layers: dict[Digest, tuple[Digest, Descriptor]]
    entries: list[Descriptor]
    manifests: dict[Digest, Manifest]


def save_layout(
    store: Store,
    images: Sequence[Image],
    directory: Path,
    observe: Observer,
    compression: Compression = "raw",
) -> list[str]:
    """Write `images` into the OCI layout at `directory`, which is made, or added to if it is a layout already; a name's
    platforms become one index. Returns the reference of every name in it. Uncompressed, a manifest is the image's own
    `digest`. The layout names an image only when it is complete. Raises UsageError for a folder that is neither empty
    nor a layout, FormatError when the store's layers were changed."""
    with (
        store.lock("store", shared=True),
        explained(directory, what=""),
        _alone(directory),
        Compressors() as compressors,
    ):
        packing = Packing(store, compression, compressors, observe)
        path = directory / "index.json"
        present = Index.decode(path.read_bytes()).manifests if path.exists() else ()
        blobs = _blobs(store, images, packing, present)
        for digest in (*blobs.layers, *blobs.documents):
            (directory / _blob(digest)).parent.mkdir(parents=True, exist_ok=True)
        for digest, (diff_id, packed) in sorted(blobs.layers.items()):
            if not (directory / _blob(digest)).exists():
                _write_whole(directory / _blob(digest), _copied(packing, diff_id, packed, observe))
        for digest, data in blobs.documents.items():
            write_atomically(directory / _blob(digest), data, _PUBLIC)
        write_atomically(directory / "oci-layout", _VERSION, _PUBLIC)
        kept = [item for item in present if not any(_replaces(new, item) for new in blobs.entries)]
        index = json.loads(Index((*kept, *blobs.entries)).encode())
        write_atomically(path, json.dumps(index, indent=1).encode(), _PUBLIC)
        return [item.annotations[media.REF_NAME] for item in blobs.entries]


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Make the folder of a layout, and hold it: adding to `index.json` is reading and writing it. Raises UsageError for a
    folder that is neither empty nor a layout."""
    refused = UsageError(
        f"'{directory}' is neither an OCI layout nor an empty folder", hint="give the name of a new folder"
    )
    if directory.exists() and not directory.is_dir():
        raise refused
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Some network file systems lock no folders.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not (directory / "oci-layout").is_file() and any(directory.iterdir()):
            raise refused
        yield
    finally:
        os.close(descriptor)


def save_archive(
    store: Store,
    images: Sequence[Image],
    out: BinaryIO,
    observe: Observer,
    *,
    compression: Compression = "raw",
    docker: bool = False,
) -> None:
    """Write `images` to `out` as one tar stream: an OCI layout that `docker load` takes too, or with `docker` the older
    form that knows nothing of OCI. Equal images and compressors give equal bytes. Memory does not grow with the images,
    and nothing is written elsewhere: a layer that is to be compressed for the first time is compressed twice, because its
    digest stands before its bytes. Raises FormatError when the store's layers were changed."""
    with store.lock("store", shared=True), Compressors() as compressors:
        packing = Packing(store, compression, compressors, observe)
        if docker:
            parts = _docker_parts(store, images, packing, observe)
        else:
            parts = _oci_parts(_blobs(store, images, packing), images, packing, observe)
        write_archive(parts, out)


def _by_name(images: Iterable[Image]) -> dict[str, list[Image]]:
    names: dict[str, list[Image]] = {}
    for image in images:
        names.setdefault(image.name, [])
        if all(other.id != image.id for other in names[image.name]):
            names[image.name].append(image)
    return {name: sorted(found, key=lambda image: image.config.platform) for name, found in names.items()}


def _blobs(
    store: Store, images: Sequence[Image], packing: Packing, present: Sequence[Descriptor] = ()
) -> _Blobs:
    blobs = _Blobs({}, {}, [], {})
    names = _by_name(images)
    references = _references(list(names), present)
    for name, found in names.items():
        listed = [_add_image(store, image, packing, blobs) for image in found]
        if len(listed) > 1:
            data = Index(tuple(listed)).encode()
            blobs.documents[Digest.of(data)] = data
            root = Descriptor(media.INDEX, Digest.of(data), len(data))
        else:
            root = listed[0]
        notes = {media.REF_NAME: references[name], media.IMAGE_NAME: name}
        with suppress(UsageError):  # not every name here is one that a registry takes
            notes[media.CONTAINERD_NAME] = str(Reference.parse(name))
        blobs.entries.append(Descriptor(root.media_type, root.digest, root.size, notes, root.platform))
    return blobs


def _add_image(store: Store, image: Image, packing: Packing, blobs: _Blobs) -> Descriptor:
    """Add an image's blobs. Returns its entry in an index."""
    local = Manifest.decode(store.blobs.read(image.digest))
    packed = [packing.packed(layer) for layer in local.layers]
    manifest = Manifest(local.config, tuple(packed), dict(local.annotations))
    data = manifest.encode()
    digest = Digest.of(data)
    blobs.documents[digest] = data
    blobs.documents[local.config.digest] = store.blobs.read(local.config.digest)
    blobs.manifests[image.id] = manifest
    for layer, form in zip(local.layers, packed, strict=True):
        blobs.layers[form.digest] = (layer.digest, form)
    return Descriptor(media.MANIFEST, digest, len(data), platform=image.config.platform.to_json())


def _references(names: Sequence[str], present: Sequence[Descriptor]) -> dict[str, str]:
    """What each name is called in a layout: its tag, or all of it where several images have that tag."""
    taken = {
        item.annotations.get(media.REF_NAME, ""): item.annotations.get(media.IMAGE_NAME) for item in present
    }
    tags = [name.rpartition(":")[2] for name in names]
    found = {}
    for name, tag in zip(names, tags, strict=True):
        free = tags.count(tag) == 1 and taken.get(tag) in (None, name)
        found[name] = tag if free else name
    return found


def _replaces(new: Descriptor, old: Descriptor) -> bool:
    """Whether `old` gives way to `new`: the same reference, but for one platform beside another."""
    if new.annotations[media.REF_NAME] != old.annotations.get(media.REF_NAME):
        return False
    beside = new.platform is not None and old.platform is not None and old.media_type in media.MANIFESTS
    return not beside or _architecture(new) == _architecture(old)


def _architecture(item: Descriptor) -> object:
    return (item.platform or {}).get("architecture")


def _oci_parts(blobs: _Blobs, images: Sequence[Image], packing: Packing, observe: Observer) -> Iterator[Part]:
    """The documents first: who reads the stream learns at once what comes."""
    yield document("oci-layout", _VERSION)
    yield document("index.json", Index(tuple(blobs.entries)).encode())
    listed = []
    for image, names in _for_docker(images):
        manifest = blobs.manifests[image.id]
        layers = [_blob(layer.digest) for layer in manifest.layers]
        listed.append((_blob(image.id), names, layers))
    yield document(docker_archive.MANIFEST_NAME, docker_archive.encode_manifest(listed))
    for digest, data in sorted(blobs.documents.items()):
        yield document(_blob(digest), data)
    for digest, (diff_id, packed) in sorted(blobs.layers.items()):
        yield _layer_part(_blob(digest), packing, diff_id, packed, observe)


def _for_docker(images: Sequence[Image]) -> list[tuple[Image, list[str]]]:
    """The images that docker's `manifest.json` lists, with their names: it has one platform for a name."""
    found: dict[Digest, tuple[Image, list[str]]] = {}
    for name, platforms in _by_name(images).items():
        chosen = next((image for image in platforms if image.config.platform == _PREFERRED), platforms[0])
        found.setdefault(chosen.id, (chosen, []))[1].append(name)
    return list(found.values())


def _docker_parts(
    store: Store, images: Sequence[Image], packing: Packing, observe: Observer
) -> Iterator[Part]:
    listed = []
    tops: dict[str, str] = {}
    configs: dict[str, bytes] = {}
    folders: dict[str, tuple[str, bytes, Descriptor]] = {}
    for image, names in _for_docker(images):
        manifest = Manifest.decode(store.blobs.read(image.digest))
        config = store.blobs.read(image.id)
        identifiers = docker_archive.version_1_identifiers(image.id, image.config.diff_ids)
        for index, (identifier, layer) in enumerate(zip(identifiers, manifest.layers, strict=True)):
            parent = identifiers[index - 1] if index else None
            top = (
                parse_json_object(config, "the image's configuration")
                if layer is manifest.layers[-1]
                else None
            )
            about = docker_archive.encode_version_1(identifier, parent, top)
            folders.setdefault(identifier, (identifier, about, layer))
        configs[f"{image.id.hex}.json"] = config
        listed.append((f"{image.id.hex}.json", names, [f"{item}/layer.tar" for item in identifiers]))
        tops |= dict.fromkeys(names, identifiers[-1]) if identifiers else {}
    yield document(docker_archive.MANIFEST_NAME, docker_archive.encode_manifest(listed))
    yield document("repositories", docker_archive.encode_repositories(tops))
    for path, config in sorted(configs.items()):
        yield document(path, config)
    written: dict[Digest, str] = {}
    for identifier, about, layer in sorted(folders.values(), key=lambda folder: folder[0]):
        yield document(f"{identifier}/VERSION", b"1.0")
        yield document(f"{identifier}/json", about)
        path = f"{identifier}/layer.tar"
        if layer.digest in written:
            yield Part(path, link=f"../{written[layer.digest]}")
        else:
            written[layer.digest] = path
            yield _layer_part(path, packing, layer.digest, layer, observe)


def _blob(digest: Digest) -> str:
    """Where a layout keeps a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _layer_part(path: str, packing: Packing, diff_id: Digest, packed: Descriptor, observe: Observer) -> Part:
    return Part(path, packed.size, lambda: _copied(packing, diff_id, packed, observe))


def _copied(packing: Packing, diff_id: Digest, packed: Descriptor, observe: Observer) -> Iterator[bytes]:
    """The blob `packed` of a layer, hashed on the way. Raises FormatError at its end when it is not what it should be."""
    observe(TaskStarted("copy", diff_id.short, packed.size))
    hashing = hashlib.new(packed.digest.algorithm)
    for piece in packing.stream(diff_id, packed):
        hashing.update(piece)
        yield piece
        observe(TaskAdvanced("copy", diff_id.short, len(piece)))
    if hashing.hexdigest() != packed.digest.hex:
        raise FormatError(
            f"the layer '{diff_id.short}' in the store was changed",
            hint="'corten store check --repair' removes it; then build or pull the image again",
        )
    observe(TaskFinished("copy", diff_id.short))


def _write_whole(target: Path, pieces: Iterable[bytes]) -> None:
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "wb", buffering=1 << 20) as file:
            for piece in pieces:
                file.write(piece)
        os.rename(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
