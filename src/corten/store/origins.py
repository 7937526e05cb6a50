"""Where the things of a store came from, and what uses them: for messages about what is damaged."""

from __future__ import annotations

import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from corten.errors import CortenError, FormatError
from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Manifest
from corten.oci.digest import Digest
from corten.oci.zipped import DAMAGED, Guarded
from corten.store.store import Store

_TITLE = "corten: "
_LARGEST_CONTROL = 1 << 20
KEY_DIGITS = 32
"""Digits of a key's sha256 by which images name it."""


class Origins:
    """What the names in `store` lead to. What is damaged leads nowhere."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._blobs: dict[Digest, list[str]] = defaultdict(list)
        self._layers: dict[Digest, list[str]] = defaultdict(list)
        self._images: dict[Digest, list[str]] = defaultdict(list)
        self.keys: dict[str, tuple[Digest, tuple[str, ...]]] = {}
        """The layer that images have for the name of a key, and those images."""
        for path in sorted(store.images.directory.glob("*.json")):
            name = store.images.name_of(path)
            for text in store.images.record_of(path).values():
                self._read(name, text)

    def _read(self, name: str, text: str) -> None:
        image = f"image '{name}'"
        try:
            digest = Digest.parse(text)
            self._images[digest].append(name)
            self._blobs[digest].append(f"the manifest of {image}")
            manifest = Manifest.decode(self._store.blobs.read(digest))
            self._images[manifest.config.digest].append(name)
            self._blobs[manifest.config.digest].append(f"the configuration of {image}")
            where = [f"registry '{text}'" for text in self._store.repo_digests.of(manifest.config.digest)]
            self._blobs[digest] += where
            self._blobs[manifest.config.digest] += where
            for layer in manifest.layers:
                self._layers[layer.digest].append(image)
                self._images[layer.digest].append(name)
                if key := layer.annotations.get(media.LAYER_KEY, "")[:KEY_DIGITS]:
                    known = self.keys.get(key, (layer.digest, ()))[1]
                    self.keys[key] = (layer.digest, (*known, image))
            config = ImageConfig.decode(self._store.blobs.read(manifest.config.digest))
            for diff_id, entry in zip(config.diff_ids, config.layer_history, strict=True):
                title = str(entry.get("created_by", ""))
                if title.startswith(_TITLE):
                    self._layers[diff_id].insert(0, title.removeprefix(_TITLE))
        except (CortenError, ValueError):
            return

    def images(self, digest: Digest) -> tuple[str, ...]:
        """The names of the images that a blob or a layer belongs to."""
        return _once(self._images.get(digest, ()))

    def blob(self, digest: Digest) -> tuple[str, ...]:
        """The images that have the blob as their manifest or configuration, and the registries that these are in."""
        return _once(self._blobs.get(digest, ()))

    def layer(self, diff_id: Digest) -> tuple[str, ...]:
        """What is in a layer, its images, and the repositories that hold it."""
        forms = self._store.encodings.known(diff_id)
        places = [f"registry '{place}'" for form in forms for place in form.repositories]
        return _once([*self._layers.get(diff_id, ()), *places])

    def file(self, digest: Digest, path: Path) -> tuple[str, ...]:
        """The wheel or Debian package that a cached file is, as far as it can be told, and its address."""
        found = []
        try:
            name = _deb_name(path) if path.parent.parent.name == "debs" else _wheel_name(path)
            found = [name] if name else []
        except (*DAMAGED, OSError, CortenError, tarfile.TarError):
            pass
        try:
            address = self._store.root / "caches" / "locations" / digest.hex
            found += [line for line in address.read_text(errors="replace").split("\n")[:1] if line]
        except OSError:
            pass
        return _once(found)

    def lacking(self, text: str, damaged: set[str]) -> Iterator[str]:
        """What the image with the manifest `text` lacks, each as the end of a sentence. What is `damaged` is there."""
        store = self._store
        try:
            digest = Digest.parse(text)
            if str(digest) in damaged:
                return
            if not store.blobs.path(digest).exists():
                yield f"lacks its manifest '{digest.short}'"
                return
            manifest = Manifest.decode(store.blobs.read(digest))
            if (
                str(manifest.config.digest) not in damaged
                and not store.blobs.path(manifest.config.digest).exists()
            ):
                yield f"lacks its configuration '{manifest.config.digest.short}'"
            for layer in manifest.layers:
                here = store.layers.has(layer.digest) or str(layer.digest) in damaged
                if not here and not any(form.repositories for form in store.encodings.known(layer.digest)):
                    yield f"lacks its layer '{layer.digest.short}'"
        except FormatError as error:
            yield f"is damaged: {error.message}"


def _once(texts: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _wheel_name(path: Path) -> str:
    with Guarded(path) as file, zipfile.ZipFile(file) as wheel:
        folders = (name.partition("/")[0] for name in wheel.namelist())
        name = next((name for name in folders if name.endswith(".dist-info")), "")
    return f"wheel {name.removesuffix('.dist-info').replace('-', ' ')}" if name else ""


def _deb_name(path: Path) -> str:
    """The package and its version, out of the control file (deb(5))."""
    with path.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            return ""
        while header := file.read(60):
            size = int(header[48:58])
            if header.startswith(b"control.tar"):
                return _control(file)
            file.seek(size + size % 2, 1)
    return ""


def _control(file: BinaryIO) -> str:
    with tarfile.open(fileobj=file, mode="r|*") as control:
        for member in control:
            if member.name.removeprefix("./") == "control" and member.size < _LARGEST_CONTROL:
                text = control.extractfile(member)
                fields = dict(
                    line.split(": ", 1)
                    for line in (text.read().decode(errors="replace") if text else "").split("\n")
                    if ": " in line and not line.startswith(" ")
                )
                return f"package {fields.get('Package', '?')} {fields.get('Version', '')}".rstrip()
    return ""
