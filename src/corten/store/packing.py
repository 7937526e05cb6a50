"""Layers as the blobs of an archive: as they are, or compressed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from corten.events import Observer, TaskAdvanced, TaskFinished, TaskStarted
from corten.oci import media
from corten.oci.compression import Compression, Compressors, maker
from corten.oci.descriptor import Descriptor
from corten.oci.digest import Digest
from corten.store.encodings import Encoding
from corten.store.store import Store
from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Packing:
    """How the layers of a store are packed."""

    store: Store
    compression: Compression
    compressors: Compressors
    observe: Observer

    def packed(self, layer: Descriptor) -> Descriptor:
        """The blob that a layer, given by the descriptor of its plain form, becomes. One that is compressed for the first
        time is compressed to learn that, and remembered."""
        if self.compression == "raw":
            return layer
        made_by = maker(self.compression)
        known = self.store.encodings.known(layer.digest)
        form = next(
            (item for item in known if item.compression == self.compression and item.maker == made_by), None
        )
        if form is None:
            form = self._measured(layer, made_by)
            self.store.encodings.add(layer.digest, form)
        notes = layer.annotations | {media.LAYER_SIZE: str(layer.size)}
        return Descriptor(media.LAYERS["oci", self.compression], form.digest, form.size, notes)

    def _measured(self, layer: Descriptor, made_by: str) -> Encoding:
        name = layer.digest.short
        self.observe(TaskStarted("hash", name, layer.size))
        sha256, size = hashlib.sha256(), 0
        for piece in self.compressors.compress(self._plain(layer.digest, name), self.compression):
            sha256.update(piece)
            size += len(piece)
        self.observe(TaskFinished("hash", name))
        digest = Digest.from_hex(sha256.hexdigest())
        return Encoding(self.compression, digest, size, maker=made_by, verified=True)

    def _plain(self, diff_id: Digest, name: str) -> Iterator[bytes]:
        for piece in self.store.layers.stream(diff_id):
            yield piece
            self.observe(TaskAdvanced("hash", name, len(piece)))

    def stream(self, diff_id: Digest, packed: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob that `packed` gave."""
        compression = media.COMPRESSIONS[packed.media_type]
        return self.compressors.compress(self.store.layers.stream(diff_id), compression)  # type: ignore[arg-type]
