"""From the store into a registry: only what the registry lacks, packed on the way.

A layer is packed while it is sent, never on disk, and what it became is remembered. Before that a registry is asked for what
is known: the blob that the layer was the last time, there or in another repository of the registry that it can be mounted
from. Layers that are not here (an image made from a registry as a cache) are mounted, or streamed from where they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from corten.errors import CortenError, NotInRegistry, RegistryError, StoreError, UsageError
from corten.events import Note, Observer, TaskFinished, TaskStarted
from corten.oci import media
from corten.oci.compression import Compression, Compressors, maker
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.reference import Reference
from corten.registry.client import Registries, RegistrySettings, Repository
from corten.registry.failures import Unsupported
from corten.registry.progress import Progress
from corten.registry.pull import ensure_layers
from corten.registry.remote import listed_blobs
from corten.registry.together import Together
from corten.registry.worth import worth_compressing
from corten.store.encodings import Encoding
from corten.store.images import Image
from corten.store.store import Store

TRANSFERS = 4
"""Large layers that are packed and sent at a time."""

QUESTIONS = 8
"""Layers that are asked for, mounted, or sent because they are small: all that takes is the way to the registry."""

_SMALL = 1 << 20
"""Bytes of a layer that is packed in memory: its digest is known before it is sent, which saves a request."""

_REFUSALS = 2
_AGAIN = 2

_NOT_WORTH_IT = "plain, because compression gains nothing"


@dataclass(frozen=True, slots=True)
class PushOptions:
    """`compression` of the layers (`gzip`, `zstd`, `raw`); `format` of manifests and media types (`oci`, `docker`)."""

    compression: Compression = "gzip"
    format: str = "oci"

    def __post_init__(self) -> None:
        if ("oci" if self.format == "oci" else "docker", self.compression) not in media.LAYERS:
            raise UsageError(
                f"Docker's format has no layers in {self.compression}", hint="use --compression gzip"
            )


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
        job = _Push(repository, store, observe, options, compressors, registries, listed)
        for again in range(_AGAIN + 1):
            try:
                digest = job.images(images, reference.target)
                break
            except (NotInRegistry, Unsupported):
                if not job.complete or again == _AGAIN:
                    raise
                # Only the manifest was refused. The one that is there may list what its registry has lost; another push may
                # have been writing the same blobs. Ask for every blob.
                job.listed.clear()
                time.sleep(settings.patience.pause)
    return Pushed(reference, digest, job.sent, dict(job.ways))


@dataclass
class _Push:
    """One push to one repository."""

    repository: Repository
    store: Store
    observe: Observer
    options: PushOptions
    compressors: Compressors
    registries: Registries
    listed: set[Digest]
    titles: dict[Digest, str] = field(default_factory=dict)
    sent: int = 0
    ways: dict[str, int] = field(default_factory=dict)
    complete: bool = False
    """Whether all blobs were there when the manifests were sent."""
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _sending: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(TRANSFERS))
    _refused: dict[str, int] = field(default_factory=dict)

    def images(self, images: Sequence[Image], target: str) -> Digest:
        """Everything, the manifest that `target` leads to last."""
        self.ways = {"sent": 0, "mounted": 0, "there": 0}
        self.complete = False
        self._name_layers(images)
        manifests = [Manifest.decode(self.store.blobs.read(image.digest)) for image in images]
        layers = {layer.digest: layer for manifest in manifests for layer in manifest.layers}
        self._fetch_unfit(layers)
        placed = self._layers(layers)
        configs = [self._config(manifest.config) for manifest in manifests]
        self.complete = True
        entries = []
        for image, config, manifest in zip(images, configs, manifests, strict=True):
            packed = self._manifest(config, manifest, placed)
            data = packed.encode()
            place = target if len(images) == 1 else str(Digest.of(data))
            digest = self._put(place, data, packed.media_type)
            self.store.repo_digests.note(image.id, f"{self.repository.name}@{digest}")
            platform = image.config.platform.to_json()
            entries.append(Descriptor(packed.media_type, digest, len(data), platform=platform))
        if len(entries) == 1:
            return entries[0].digest
        index = Index(tuple(entries), media.INDEX if self.options.format == "oci" else media.DOCKER_INDEX)
        digest = self._put(target, index.encode(), index.media_type)
        for image in images:
            self.store.repo_digests.note(image.id, f"{self.repository.name}@{digest}")
        return digest

    def _name_layers(self, images: Sequence[Image]) -> None:
        """Name every layer by its history: what two have in common, as a package for two platforms, is told apart."""
        named: dict[str, Digest] = {}
        for image in images:
            for diff_id, entry in zip(image.config.diff_ids, image.config.layer_history, strict=True):
                title = str(entry.get("created_by", "")).removeprefix("corten: ")[:60] or diff_id.short
                if diff_id not in self.titles:
                    unique = title if title not in named else f"{title} ({diff_id.short})"
                    self.titles[diff_id], named[unique] = unique, diff_id

    def _put(self, target: str, data: bytes, media_type: str) -> Digest:
        self._count("", len(data))
        return self.repository.put_manifest(target, data, media_type)

    def _manifest(self, config: Descriptor, local: Manifest, placed: dict[Digest, Descriptor]) -> Manifest:
        """The manifest over packed layers. Docker's format has no annotations."""
        if self.options.format == "docker":
            layers = tuple(placed[layer.digest] for layer in local.layers)
            return Manifest(config, layers, media_type=media.DOCKER_MANIFEST)
        noted = []
        for layer in local.layers:
            packed = placed[layer.digest]
            notes = dict(layer.annotations)
            if packed.media_type != media.LAYER:
                notes[media.LAYER_SIZE] = str(layer.size)
            noted.append(Descriptor(packed.media_type, packed.digest, packed.size, notes))
        return Manifest(config, tuple(noted), dict(local.annotations))

    def _config(self, config: Descriptor) -> Descriptor:
        if not self._has(config.digest):
            data = self.store.blobs.read(config.digest)
            self.repository.push_blob(lambda: iter([data]), digest=config.digest, size=len(data))
            self._count("", len(data))
        kind = media.CONFIG if self.options.format == "oci" else media.DOCKER_CONFIG
        return Descriptor(kind, config.digest, config.size)

    def _fetch_unfit(self, layers: Iterable[Digest]) -> None:
        """Fetch the layers that are not here and that registries have in no form that may be pushed."""
        has, known = self.store.layers.has, self.store.encodings.known
        lacking = [diff_id for diff_id in layers if not has(diff_id)]
        unfit = [
            diff_id
            for diff_id in lacking
            if (forms := known(diff_id)) and not any(self._fits(diff_id, form, False) for form in forms)
        ]
        if unfit:
            ensure_layers(self.store, unfit, self.registries.settings, self.observe)

    def _layers(self, layers: dict[Digest, Descriptor]) -> dict[Digest, Descriptor]:
        placed: dict[Digest, Descriptor] = {}
        together = Together(QUESTIONS)
        ordered = sorted(layers.values(), key=lambda layer: -layer.size)

        def job(layer: Descriptor) -> None:
            placed[layer.digest] = self._layer(layer, together)

        together.run(partial(job, layer) for layer in ordered)
        return placed

    def _layer(self, layer: Descriptor, together: Together) -> Descriptor:
        """Make sure that the registry has the layer `layer` (a descriptor of its plain form) and tell as what."""
        together.check()
        diff_id, here = layer.digest, self.store.layers.has(layer.digest)
        forms = [form for form in self.store.encodings.known(diff_id) if self._fits(diff_id, form, here)]
        forms.sort(key=lambda form: form.compression != self.options.compression)
        found = self._found(diff_id, forms)
        if found is not None:
            return found
        if here and layer.size <= _SMALL:
            return self._send(layer, forms, together)
        with self._sending:
            together.check()
            return self._send(layer, forms, together) if here else self._pass_on(layer, forms, together)

    def _found(self, diff_id: Digest, forms: Sequence[Encoding]) -> Descriptor | None:
        """The layer where the registry has it in one of `forms`, there or to be mounted from another repository."""
        for form in forms:
            if form.digest in self.listed:
                return self._placed(diff_id, form, "there")
        sources = {form.digest: self._sources(form) for form in forms}
        later = []
        for form in forms:
            noted = self.repository.name in form.repositories
            if not noted and sources[form.digest]:
                later.append(form)  # a mount says at once that it is there
            elif self._has(form.digest):
                return self._placed(diff_id, form, "there")
            elif noted:
                self.store.encodings.forget_place(diff_id, form.digest, self.repository.name)
        for form in forms:
            for source in sources[form.digest]:
                if self._mount(form.digest, source):
                    return self._placed(diff_id, form, "mounted")
        for form in later:
            if self._has(form.digest):
                return self._placed(diff_id, form, "there")
        return None

    def _sources(self, form: Encoding) -> list[str]:
        """The repositories that the form may be mounted from."""
        places = (Reference.parse(name) for name in form.repositories if name != self.repository.name)
        return [place.repository for place in places if place.registry == self.repository.registry]

    def _mount(self, digest: Digest, source: str) -> bool:
        """Take the blob over from `source`, unless that has been refused before: who may not read there, or a registry
        that knows no mounts, refuses for every layer."""
        if self._refused.get(source, 0) >= _REFUSALS:
            return False
        mounted = self.repository.mount_blob(digest, source)
        with self._guard:
            self._refused[source] = -_REFUSALS if mounted else self._refused.get(source, 0) + 1
        return mounted

    def _fits(self, diff_id: Digest, form: Encoding, here: bool) -> bool:
        """Whether a form that is known may stand for the layer. For a layer that is here, only what was made or checked
        here counts, and of what was made here only what would be made again. For one that is not, what everything reads
        does that reads the form asked for."""
        asked = self.options.compression
        if (self.options.format, form.compression) not in media.LAYERS:
            return False
        if form.compression == "raw" and form.digest != diff_id:
            return False
        if form.compression == asked == "raw":
            return True
        if not here:
            return form.compression in (asked, "gzip", "raw" if self.options.format == "oci" else asked)
        if form.maker:
            if form.maker == _NOT_WORTH_IT:
                return self.options.format == "oci"
            return form.compression == self.options.compression and form.maker == _maker(form.compression)
        return form.verified and form.compression == self.options.compression

    def _send(self, layer: Descriptor, forms: Sequence[Encoding], together: Together) -> Descriptor:
        """Pack the layer and send it."""
        compression: Compression = self.options.compression
        made_by = _maker(compression)
        digest, size = None, None
        if (
            compression != "raw"
            and self.options.format == "oci"
            and not worth_compressing(self.store, layer.digest)
        ):
            compression, made_by = "raw", _NOT_WORTH_IT
            plain = Encoding("raw", layer.digest, layer.size, maker=made_by, verified=True)
            known = [form for form in self.store.encodings.known(layer.digest) if form.digest == layer.digest]
            places = tuple(name for form in known for name in form.repositories)
            found = self._found(layer.digest, [replace(plain, repositories=places)])
            if found is not None:
                return found
        made = next((form for form in forms if form.maker and form.compression == compression), None)
        if compression == "raw":
            digest, size = layer.digest, layer.size
        elif made is not None:
            digest, size = made.digest, made.size
        name = self._title(layer)
        self.observe(TaskStarted("push", name, layer.size))
        progress = Progress(self.observe, "push", name)

        def content() -> Iterator[bytes]:
            plain = together.watched(self.store.layers.stream(layer.digest), progress.of_attempt())
            return self.compressors.compress(plain, compression)

        if digest is None and layer.size <= _SMALL:
            packed = b"".join(content())
            digest, size = self.repository.push_blob(
                lambda: iter([packed]), digest=Digest.of(packed), size=len(packed)
            )
        else:
            digest, size = self.repository.push_blob(content, digest=digest, size=size)
        self.observe(TaskFinished("push", name))
        self._count("", size)
        return self._placed(
            layer.digest, Encoding(compression, digest, size, maker=made_by, verified=True), "sent"
        )

    def _pass_on(self, layer: Descriptor, forms: Sequence[Encoding], together: Together) -> Descriptor:
        """Stream a layer that is not here from another registry."""
        failure: CortenError | None = None
        name = self._title(layer)
        for form in forms:
            for place in form.repositories:
                source = self.registries.repository(Reference.parse(place))
                self.observe(TaskStarted("push", name, form.size))
                progress = Progress(self.observe, "push", name)

                def content(form: Encoding = form, source: Repository = source) -> Iterator[bytes]:
                    pieces = source.pull_blob(form.digest, form.size)
                    return together.watched(pieces, progress.of_attempt())  # noqa: B023 - used before the next turn

                try:
                    self.repository.push_blob(content, digest=form.digest, size=form.size)
                except RegistryError as error:
                    together.check()
                    failure = failure or error
                    continue
                self.observe(TaskFinished("push", name))
                self._count("", form.size)
                return self._placed(layer.digest, form, "sent")
        raise failure or StoreError(
            f"the layer '{layer.digest.short}' is neither in the store nor known to be in a registry",
            hint="build or pull the image again",
        )

    def _placed(self, diff_id: Digest, form: Encoding, way: str) -> Descriptor:
        self._count(way, 0)
        known = Encoding(
            form.compression, form.digest, form.size, form.maker, form.verified, (self.repository.name,)
        )
        self.store.encodings.add(diff_id, known)
        return Descriptor(media.LAYERS[self.options.format, form.compression], form.digest, form.size)

    def _has(self, digest: Digest) -> bool:
        return digest in self.listed or self.repository.has_blob(digest)

    def _title(self, layer: Descriptor) -> str:
        return self.titles.get(layer.digest, layer.digest.short)

    def _count(self, way: str, size: int) -> None:
        with self._guard:
            self.sent += size
            if way:
                self.ways[way] += 1


def _maker(compression: str) -> str:
    return maker(compression) or "plain"
