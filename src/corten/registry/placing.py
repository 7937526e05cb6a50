"""One layer's way into a repository: found there, mounted, packed and sent, or passed on from another registry."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from corten.errors import CortenError, RegistryError, StoreError
from corten.events import Observer, TaskFinished, TaskStarted
from corten.oci import media
from corten.oci.compression import Compression, Compressors
from corten.oci.descriptor import Descriptor
from corten.oci.digest import Digest
from corten.oci.reference import Reference
from corten.registry.client import Registries, Repository
from corten.registry.forms import NOT_WORTH_IT, PushOptions, fits, maker_of
from corten.registry.progress import Progress
from corten.registry.pull import ensure_layers
from corten.registry.together import Together
from corten.registry.worth import worth_compressing
from corten.store.encodings import Encoding
from corten.store.store import Store

TRANSFERS = 4
"""Large layers that are packed and sent at a time."""

QUESTIONS = 8
"""Layers that are asked for, mounted, or sent because they are small: all that takes is the way to the registry."""

_SMALL = 1 << 20
"""Bytes of a layer that is packed in memory: its digest is known before it is sent, which saves a request."""

_REFUSALS = 2


@dataclass
class Placing:
    """Brings layers to one repository. `listed` are blobs that it is known to have, `titles` what layers are called for
    people; `sent` counts bytes, `ways` how layers got there."""

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
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _sending: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(TRANSFERS))
    _refused: dict[str, int] = field(default_factory=dict)

    def layers(self, layers: dict[Digest, Descriptor]) -> dict[Digest, Descriptor]:
        """Bring `layers`, descriptors of their plain forms by diff ID, and tell as what each is there now. Raises
        RegistryError, StoreError."""
        self.ways = {"sent": 0, "mounted": 0, "there": 0}
        self._fetch_unfit(layers)
        placed: dict[Digest, Descriptor] = {}
        together = Together(QUESTIONS)
        ordered = sorted(layers.values(), key=lambda layer: -layer.size)

        def job(layer: Descriptor) -> None:
            placed[layer.digest] = self._layer(layer, together)

        together.run(partial(job, layer) for layer in ordered)
        return placed

    def has(self, digest: Digest) -> bool:
        """Whether the repository has the blob."""
        return digest in self.listed or self.repository.has_blob(digest)

    def count(self, size: int, way: str | None = None) -> None:
        """Note that `size` bytes were sent, and for a layer how it got there."""
        with self._guard:
            self.sent += size
            if way:
                self.ways[way] += 1

    def _fetch_unfit(self, layers: Iterable[Digest]) -> None:
        """Fetch the layers that are not here and that registries have in no form that may be pushed."""
        has, known = self.store.layers.has, self.store.encodings.known
        lacking = [diff_id for diff_id in layers if not has(diff_id)]
        unfit = [
            diff_id
            for diff_id in lacking
            if (forms := known(diff_id))
            and not any(fits(form, diff_id, self.options, here=False) for form in forms)
        ]
        if unfit:
            ensure_layers(self.store, unfit, self.registries.settings, self.observe)

    def _layer(self, layer: Descriptor, together: Together) -> Descriptor:
        """Make sure that the registry has the layer `layer` (a descriptor of its plain form) and tell as what."""
        together.check()
        diff_id, here = layer.digest, self.store.layers.has(layer.digest)
        forms = [
            form
            for form in self.store.encodings.known(diff_id)
            if fits(form, diff_id, self.options, here=here)
        ]
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
            elif self.has(form.digest):
                return self._placed(diff_id, form, "there")
            elif noted:
                self.store.encodings.forget_place(diff_id, form.digest, self.repository.name)
        for form in forms:
            for source in sources[form.digest]:
                if self._mount(form.digest, source):
                    return self._placed(diff_id, form, "mounted")
        for form in later:
            if self.has(form.digest):
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

    def _send(self, layer: Descriptor, forms: Sequence[Encoding], together: Together) -> Descriptor:
        """Pack the layer and send it."""
        compression: Compression = self.options.compression
        made_by = maker_of(compression)
        digest, size = None, None
        if (
            compression != "raw"
            and self.options.format == "oci"
            and not worth_compressing(self.store, layer.digest)
        ):
            compression, made_by = "raw", NOT_WORTH_IT
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
        self.count(size)
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
                self.count(form.size)
                return self._placed(layer.digest, form, "sent")
        raise failure or StoreError(
            f"the layer '{layer.digest.short}' is neither in the store nor known to be in a registry",
            hint="build or pull the image again",
        )

    def _placed(self, diff_id: Digest, form: Encoding, way: str) -> Descriptor:
        self.count(0, way)
        known = Encoding(
            form.compression, form.digest, form.size, form.maker, form.verified, (self.repository.name,)
        )
        self.store.encodings.add(diff_id, known)
        return Descriptor(media.LAYERS[self.options.format, form.compression], form.digest, form.size)

    def _title(self, layer: Descriptor) -> str:
        return self.titles.get(layer.digest, layer.digest.short)
