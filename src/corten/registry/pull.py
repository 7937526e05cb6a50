"""From a registry into the store: whole images, and single layers that an image here lacks.

A layer is unpacked while it arrives. It counts when both digests are right, that of the packed blob and that of the plain
stream; until then nothing of it is visible, and afterwards it is never fetched again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from corten.errors import CortenError, FormatError, RegistryError, StoreError, UsageError
from corten.events import Note, Observer, TaskAdvanced, TaskFinished, TaskStarted
from corten.oci import media
from corten.oci.compression import detected, packed_as, unpacked
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.registry.client import Registries, RegistrySettings, Repository, open_repository
from corten.registry.failures import DigestMismatch
from corten.registry.remote import RemoteImage, find_image, find_images, note_places
from corten.registry.together import Together
from corten.store.adopt import adopt
from corten.store.disk import explained
from corten.store.encodings import Encoding
from corten.store.images import Image, full_name
from corten.store.locks import Busy
from corten.store.store import Store
from corten.values import dataclass

TRANSFERS = 4
"""Layers that are fetched at a time: a few hide the latency of one another, and more would only use memory."""

_POLL = 0.05
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer as blobs that hold it, in the repositories that have them; the first that works is taken."""

    diff_id: Digest
    forms: tuple[tuple[Repository, Encoding], ...]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did: the images by platform, the bytes fetched, and the layers that were here before."""

    images: tuple[Image, ...]
    fetched: int
    reused: int


def pull(
    reference: Reference,
    platforms: Sequence[Platform] | None,
    store: Store,
    settings: RegistrySettings,
    observe: Observer,
    *,
    name: str | None = None,
) -> Pulled:
    """Fetch the image at `reference` for `platforms` (None: all that there are) and name it, after its reference unless
    `name` says otherwise. As with docker, the name stands for this image alone then: of what it stood for, only other platforms of the same
    index stay. Only layers that the store lacks are fetched. Raises UsageError for a name that cannot be kept
    here before anything is asked, RegistryError, FormatError, StoreError; then no name has changed, and layers that
    arrived whole stay."""
    repository = open_repository(reference, settings)
    name = _kept_name(name or local_name(reference))
    waiting = Note("waiting for 'corten prune' to end")
    with store.lock("store", shared=True, waiting=lambda: observe(waiting)), explained(store.root):
        if platforms is None:
            found = find_images(repository, reference.target)
        else:
            found = [find_image(repository, reference.target, platform) for platform in platforms]
        lacking: dict[Digest, PackedLayer] = {}
        reused = 0
        for image in found:
            _check_types(image)
            if not image.config.platform_told:
                observe(
                    Note(f"'{reference}' does not say its platform, and is taken for {image.config.platform}")
                )
            note_places(store, image, verified=False)
            for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
                if store.layers.has(diff_id):
                    reused += 1
                    continue
                form = Encoding(media.COMPRESSIONS[layer.media_type], layer.digest, layer.size)
                lacking[diff_id] = PackedLayer(diff_id, ((repository, form),))
        fetch_layers(store, list(lacking.values()), observe)
        images = [_adopted(store, image) for image in found]
        for image, kept in zip(found, images, strict=True):
            for digest in dict.fromkeys((image.digest, image.root)):
                store.repo_digests.note(kept.id, f"{repository.name}@{digest}")
        _name(store, name, images, {f"{repository.name}@{image.root}" for image in found}, observe)
        images = [store.images.get(name, image.config.platform) for image in images]
    fetched = sum(item.forms[0][1].size for item in lacking.values())
    return Pulled(tuple(images), fetched, reused)


def _kept_name(name: str) -> str:
    """`name` as the store has it; found out before anything is fetched."""
    try:
        return full_name(name)
    except UsageError as error:
        raise UsageError(
            f"an image cannot be called '{name[:300]}' here", hint="give it another name with --name"
        ) from error


def local_name(reference: Reference) -> str:
    """What an image of `reference` is called here: as it is called there. By digest alone, the digest's beginning is
    its tag, because the name of an image here has one."""
    digest = reference.digest or Digest.of(b"")
    tag = reference.tag or f"{digest.algorithm}-{digest.short}"
    return f"{reference.name}:{tag}"


def ensure_layers(
    store: Store, diff_ids: Iterable[Digest], settings: RegistrySettings, observe: Observer
) -> None:
    """Fetch those of the layers that the store lacks from where they are known to be. The caller holds the store's
    lock shared. Raises RegistryError, and StoreError for a layer that nobody is known to have."""
    registries = Registries(settings)
    lacking = []
    for diff_id in dict.fromkeys(diff_ids):
        if store.layers.has(diff_id):
            continue
        forms = []
        for form in store.encodings.known(diff_id):
            places = (Reference.parse(name) for name in form.repositories)
            forms += [(registries.repository(place), form) for place in places]
        if not forms:
            raise StoreError(
                f"the layer '{diff_id.short}' is not in the store, and no registry is known to have it",
                hint="build or pull the image again",
            )
        lacking.append(PackedLayer(diff_id, tuple(forms)))
    fetch_layers(store, lacking, observe)


def fetch_layers(store: Store, layers: Sequence[PackedLayer], observe: Observer) -> None:
    """Fetch and unpack `layers`, several at a time, the largest first. Raises RegistryError, FormatError, StoreError."""
    if not layers:
        return
    store.sweep()
    together = Together(TRANSFERS)
    ordered = sorted(layers, key=lambda layer: -layer.forms[0][1].size)
    together.run(_job(store, layer, together, observe) for layer in ordered)


def _job(store: Store, layer: PackedLayer, together: Together, observe: Observer) -> Callable[[], None]:
    return lambda: _fetch(store, layer, together, observe)


def _fetch(store: Store, layer: PackedLayer, together: Together, observe: Observer) -> None:
    """One layer, from the first place that has it."""
    with _alone(store, layer.diff_id, together, observe):
        if store.layers.has(layer.diff_id):
            return
        failure: CortenError | None = None
        for repository, form in layer.forms:
            try:
                _receive(store, layer.diff_id, repository, form, together, observe)
                return
            except RegistryError as error:
                together.check()
                failure = failure or error
        raise failure or RegistryError(f"no registry has the layer '{layer.diff_id.short}'")


def _receive(
    store: Store,
    diff_id: Digest,
    repository: Repository,
    form: Encoding,
    together: Together,
    observe: Observer,
) -> None:
    """Fetch one blob and unpack it on the way. A blob that arrives damaged is asked for again."""
    name = f"{repository.name}@{form.digest.short}"
    media_type = media.LAYERS["oci", form.compression]
    for attempt in range(1, _ATTEMPTS + 1):
        observe(TaskStarted("pull", name, form.size))
        packed = together.watched(
            repository.pull_blob(form.digest, form.size),
            lambda amount: observe(TaskAdvanced("pull", name, amount)),
        )
        try:
            with store.temporary_directory("pull") as directory:
                kind, packed = detected(packed, packed_as(media_type))
                plain = unpacked(packed, kind, store.unpacking.layer)
                try:
                    store.layers.receive(directory, plain, diff_id)
                except FormatError as error:
                    # Damaged on its way, or made so? The rest of the blob tells: its digest is checked at the end.
                    for _ in packed:
                        pass
                    raise FormatError(f"'{name}' cannot be taken: {error.message}", error.hint) from error
        except DigestMismatch:
            if attempt == _ATTEMPTS:
                raise
            continue
        observe(TaskFinished("pull", name))
        places = (repository.name,)
        # What it is, whatever its media type says: so a push can never give it a wrong one.
        known = Encoding(kind, form.digest, form.size, verified=True, repositories=places)
        store.encodings.add(diff_id, known)
        return


@contextmanager
def _alone(store: Store, diff_id: Digest, together: Together, observe: Observer) -> Iterator[None]:
    """Hold the lock of those who fetch this layer, so that two processes do not fetch it twice."""
    told = False
    while True:
        together.check()
        with ExitStack() as stack:
            try:
                stack.enter_context(store.lock(f"pull-{diff_id.hex[:2]}", blocking=False))
            except Busy:
                if not told:
                    observe(Note(f"waiting for another pull of the layer '{diff_id.short}'", verbose=True))
                told = True
                time.sleep(_POLL)
                continue
            yield
            return


def _check_types(image: RemoteImage) -> None:
    for layer in image.manifest.layers:
        if layer.media_type not in media.COMPRESSIONS:
            reason = (
                "it is to be had elsewhere, which Corten does not follow"
                if media.is_elsewhere(layer.media_type)
                else "Corten does not know its type"
            )
            raise FormatError(
                f"the layer '{layer.digest.short}' of '{image.repository}' cannot be taken: {reason} ('{layer.media_type[:80]}')"
            )


def _name(store: Store, name: str, images: Sequence[Image], roots: set[str], observe: Observer) -> None:
    """Let `name` stand for `images`, and for what it stands for already on other platforms and was in one of the indexes `roots` too:
    that belongs together. What else it stood for could be an older version, and a push would mix the two."""
    digests = {
        platform: image.digest
        for platform, image in store.images.present(name).items()
        if roots.intersection(store.repo_digests.of(image.id))
    }
    digests |= {image.config.platform: image.digest for image in images}
    gone = store.images.replace(name, digests)
    if gone:
        observe(
            Note(
                f"'{name}' stands for what was pulled now, and no longer for another image for {', '.join(gone)} "
                "(--platform all pulls every platform)"
            )
        )


def _adopted(store: Store, image: RemoteImage) -> Image:
    sizes = [store.layers.get(diff_id).size for diff_id in image.config.diff_ids]
    annotations = [layer.annotations for layer in image.manifest.layers]
    return adopt(store, image.config_bytes, annotations, sizes)
