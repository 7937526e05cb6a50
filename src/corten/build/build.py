"""Lock and project files → an image in the store.

Only layers whose key neither the store nor a registry that serves as a cache knows are made, and only their files are
fetched. What has not changed is neither read nor hashed again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from corten.build.config import created_at, image_config
from corten.build.job import BuildOptions, Job
from corten.build.known import BuiltLayer, Known, Offered, key_name
from corten.build.package_layers import ensure_package_layers
from corten.build.plan import LAYER_BUDGET, foreign_key
from corten.build.project_layers import ensure_code_layer, ensure_weight_layers
from corten.errors import BuildError
from corten.events import Note, Observer
from corten.lock.model import ImageBase, Lock
from corten.oci import media
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.project.model import Project, SourceFiles
from corten.store.disk import explained
from corten.store.images import Image, full_name
from corten.store.store import Store
from corten.values import dataclass, replace

if TYPE_CHECKING:
    from corten.build.base_image import BaseImage
    from corten.build.make import Supply


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made, bottom to top, and how long it took in seconds."""

    image: Image
    layers: tuple[BuiltLayer, ...]
    seconds: float


def build(
    project: Project,
    files: SourceFiles,
    lock: Lock,
    platforms: Sequence[Platform],
    store: Store,
    supply: Supply,
    observe: Observer,
    options: BuildOptions,
) -> list[Built]:
    """Make the images of `project` for `platforms`, and let its name in the store stand for them and nothing else: one name
    is one state of a project, as with docker. It changes when all of them are made.

    Raises BuildError, FetchError, FormatError, RegistryError, StoreError. Whatever happens, the store stays whole and keeps
    the layers that were finished."""
    name = full_name(options.name or project.name)
    if files.missing and not options.without_models:
        raise BuildError(
            f"the model '{files.missing[0]}' does not exist",
            hint="make it first, in the image itself: corten run -v .:/app . -- python train.py; "
            "or take it out of `models` in [tool.corten]",
        )
    if options.accepted.unauthenticated:
        lock = lock.apart()
    waiting = Note("waiting for 'corten prune' to end")
    with store.lock("store", shared=True, waiting=lambda: observe(waiting)), explained(store.root):
        made = {
            platform: _make(project, files, lock, platform, store, supply, observe, options)
            for platform in platforms
        }
        digests = {platform: one.manifest for platform, one in made.items()}
        gone = store.images.replace(name, digests, unless_there=options.in_passing)
        if gone:
            observe(
                Note(
                    f"'{name}' stands for this build alone, no longer for {', '.join(gone)} "
                    f"(for all of them: --platform {','.join(sorted({*map(str, platforms), *gone}))})"
                )
            )
        return [
            Built(store.images.get(name, platform), one.layers, one.seconds) for platform, one in made.items()
        ]


@dataclass(frozen=True, slots=True)
class _Made:
    """An image that has no name yet, by its manifest."""

    manifest: Digest
    layers: tuple[BuiltLayer, ...]
    seconds: float


def _make(
    project: Project,
    files: SourceFiles,
    lock: Lock,
    platform: Platform,
    store: Store,
    supply: Supply,
    observe: Observer,
    options: BuildOptions,
) -> _Made:
    started = time.monotonic()
    part, created = lock.for_platform(platform), created_at()
    part = lock.compiled_on(part, Platform.host().architecture)
    known = _known(platform, store, observe, options)
    job = Job(project, files, lock, part, store, known, supply, observe, options, created)
    base = _base_image(job)
    layers = _base_layers(job, base)
    layers += ensure_package_layers(job, len(layers))
    if lock.models:
        from corten.build.hub_layers import ensure_hub_layers

        layers += ensure_hub_layers(job)
    layers += ensure_weight_layers(job, LAYER_BUDGET - len(layers) - 1)
    layers.append(ensure_code_layer(job))
    # What was left in a registry may have been fetched for what was made later.
    layers = [replace(layer, absent=layer.absent and not store.layers.has(layer.digest)) for layer in layers]
    return _Made(_manifest(job, layers, base), tuple(layers), time.monotonic() - started)


def _known(platform: Platform, store: Store, observe: Observer, options: BuildOptions) -> Known:
    registries = options.registries
    if not options.cache_from or registries is None:
        return Known(store)

    def ask() -> Mapping[str, Offered]:
        from corten.registry.remote import offered_layers

        found: dict[str, Offered] = {}
        for reference in options.cache_from:
            found = {**offered_layers(reference, platform, store, registries(), observe), **found}
        return found

    def fetch(diff_ids: Iterable[Digest]) -> None:
        from corten.registry.pull import ensure_layers

        ensure_layers(store, diff_ids, registries(), observe)

    return Known(store, ask, fetch)


def _base_image(job: Job) -> BaseImage | None:
    if not isinstance(job.part.base, ImageBase):
        return None
    return job.bases().ensure(job.part.base, job.project, job.part.platform)


def _base_layers(job: Job, base: BaseImage | None) -> list[BuiltLayer]:
    """The base's own layers. They are fetched, but where an image in a registry says how large they are: then they are
    fetched by whoever needs them."""
    if base is None:
        return []
    layers, missing = [], []
    for diff_id in base.config.diff_ids:
        key = foreign_key(diff_id)
        if job.store.layers.has(diff_id):
            layers.append(BuiltLayer(diff_id, "base", job.store.layers.get(diff_id).size, True, key))
            continue
        offered = job.known.offered(key)
        if offered is None or offered.diff_id != diff_id:
            missing.append(diff_id)
        else:
            layers.append(BuiltLayer(diff_id, "base", offered.size, True, key, absent=True))
    if missing:
        job.bases().fetch(base, job.project, job.part.platform)
        return _base_layers(job, base)
    return layers


def _manifest(job: Job, layers: Sequence[BuiltLayer], base: BaseImage | None) -> Digest:
    project, part, store = job.project, job.part, job.store
    beneath = base.config if base else None
    own = layers[len(beneath.diff_ids) if beneath else 0 :]
    config = image_config(
        project,
        part,
        [(layer.digest, layer.title) for layer in own],
        job.created,
        beneath,
        bool(job.lock.models),
    )
    config_bytes = config.encode()
    manifest = Manifest(
        config=Descriptor(media.CONFIG, store.blobs.put(config_bytes), len(config_bytes)),
        layers=tuple(_described(layer) for layer in layers),
        annotations={} if project.compression == "gzip" else {media.COMPRESSION: project.compression},
    )
    return store.blobs.put(manifest.encode())


def _described(layer: BuiltLayer) -> Descriptor:
    annotations = {media.LAYER_KEY: key_name(layer.key), **layer.annotations}
    return Descriptor(media.LAYER, layer.digest, layer.size, annotations)
