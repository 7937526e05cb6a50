"""Lock and project files → an image in the store.

Only layers whose key the store does not know are made, and only their files are fetched. What has not changed is neither
read nor hashed again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from corten.build.config import created_at, image_config
from corten.build.plan import (
    LAYER_BUDGET,
    VENV,
    BucketLayer,
    PackageLayer,
    Weight,
    WheelLayer,
    compiler_identity,
    package_layers,
    weight_layers,
)
from corten.build.sources import Digests, is_settled, stamp
from corten.errors import BuildError, FormatError
from corten.events import Note, Observer, TaskAdvanced, TaskFinished, TaskStarted, Warned
from corten.lock.model import LAYER_FORMAT, ImageBase, Lock, PlatformLock
from corten.oci import media
from corten.oci.config import canonical_json
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.project.model import Project, SourceFile, SourceFiles
from corten.store.disk import explained, write_atomically
from corten.store.images import Image, full_name
from corten.store.store import Store

if TYPE_CHECKING:
    from corten.build.base_image import BaseImage
    from corten.build.make import Supply
    from corten.build.workshop import Workshop


LARGE_WEIGHT = 10 * 10**9
"""Bytes of a weight file from which on some registries refuse its layer."""


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A layer of a built image. `size` is that of its tar stream in bytes; `reused`: the store had it before."""

    digest: Digest
    title: str
    size: int
    reused: bool


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made, bottom to top, and how long it took in seconds."""

    image: Image
    layers: tuple[BuiltLayer, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """`name` of the image, the project's by default; `without_models`: declared weights may be missing, to train in
    the image that will serve; `server`: the files of `corten_serve`, path and place; `jobs`: compile servers, 0 for all cores."""

    name: str | None = None
    without_models: bool = False
    server: tuple[tuple[str, Path], ...] = ()
    jobs: int = 0


def build(
    project: Project,
    files: SourceFiles,
    lock: Lock,
    platform: Platform,
    store: Store,
    supply: Supply,
    observe: Observer,
    options: BuildOptions,
) -> Built:
    """Make the image of `project` for `platform` and name it in the store.

    Raises BuildError, FetchError, FormatError, StoreError. Whatever happens, the store stays whole and keeps the layers
    that were finished."""
    started = time.monotonic()
    name = full_name(options.name or project.name)
    if files.missing and not options.without_models:
        raise BuildError(
            f"the model '{files.missing[0]}' does not exist",
            hint="make it first, in the image itself: corten run . -v .:/app -- python train.py; "
            "or take it out of `models` in [tool.corten]",
        )
    created = created_at()
    job = _Job(project, files, lock, lock.for_platform(platform), store, supply, observe, options, created)
    waiting = Note("waiting for 'corten prune' to end")
    with store.lock("store", shared=True, waiting=lambda: observe(waiting)), explained(store.root):
        base = _base_image(job)
        layers = [*_base_layers(base, store), *_package_layers(job, base)]
        layers += _weight_layers(job, LAYER_BUDGET - len(layers) - 1)
        layers.append(_code_layer(job))
        image = _name(name, job, layers, base)
    return Built(image, tuple(layers), time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class _Job:
    """What the steps of one build share."""

    project: Project
    files: SourceFiles
    lock: Lock
    part: PlatformLock
    store: Store
    supply: Supply
    observe: Observer
    options: BuildOptions
    created: str

    def workshop(self) -> Workshop:
        # Imported when there is something to make: a build that finds everything never needs it.
        from corten.build.workshop import Workshop

        return Workshop(
            self.store,
            self.lock,
            self.part,
            self.supply,
            self.observe,
            jobs=self.options.jobs,
            server=self.options.server,
            root=self.project.root,
        )


def _base_image(job: _Job) -> BaseImage | None:
    if not isinstance(job.part.base, ImageBase):
        return None
    from corten.build.base_image import BaseImages

    return BaseImages(job.store, job.observe).ensure(job.part.base, job.project.root, job.part.platform)


def _base_layers(base: BaseImage | None, store: Store) -> list[BuiltLayer]:
    if base is None:
        return []
    return [BuiltLayer(item, "base", store.layers.get(item).size, True) for item in base.config.diff_ids]


def _package_layers(job: _Job, base: BaseImage | None) -> list[BuiltLayer]:
    # Two layers are kept free for weights and code.
    reserved = 2 + (len(base.config.diff_ids) if base else 0)
    plan = package_layers(job.part, job.lock.serving, reserved=reserved)
    made: set[str] = set()
    if any(job.store.layers.find(layer.key) is None for layer in plan):
        workshop = job.workshop()
        workshop.ensure(plan)
        made = workshop.made
    apart = _conflicting(plan, job.store, job.observe, job.project.strict)
    if apart and any(isinstance(layer, BucketLayer) for layer in plan):
        plan = package_layers(job.part, job.lock.serving, apart, reserved)
        workshop = job.workshop()
        workshop.ensure(plan)
        made |= workshop.made
    return [_built(job.store, layer.key, layer.title, layer.key not in made) for layer in plan]


def _built(store: Store, key: str, title: str, reused: bool) -> BuiltLayer:
    diff_id = store.layers.find(key)
    if diff_id is None:
        raise BuildError(f"the layer '{title}' vanished while it was used", hint="build again")
    return BuiltLayer(diff_id, title, store.layers.get(diff_id).size, reused)


def _conflicting(
    plan: Sequence[PackageLayer], store: Store, observe: Observer, strict: bool
) -> frozenset[str]:
    """The wheels that write a path differently; each pair is a warning, or an error with `strict`."""
    from corten.build.conflicts import conflicts

    wheels: list[WheelLayer] = []
    for layer in plan:
        wheels += (
            layer.wheels
            if isinstance(layer, BucketLayer)
            else [layer]
            if isinstance(layer, WheelLayer)
            else []
        )
    wheels.sort(key=lambda layer: layer.wheel.name)
    found = [(layer, store.layers.find(layer.key)) for layer in wheels]
    complete = [(layer, diff_id) for layer, diff_id in found if diff_id is not None]
    names: set[str] = set()
    for conflict in conflicts(store, complete):
        more = f" (and {conflict.count} more)" if conflict.count else ""
        message = f"'{conflict.loser}' and '{conflict.winner}' both write '{conflict.path}'{more} with different bytes"
        hint = "keep one of the two in the project's dependencies"
        if strict:
            raise BuildError(message, hint=hint)
        observe(Warned(f"{message}; '{conflict.winner}' wins", hint))
        names |= {conflict.loser, conflict.winner}
    return frozenset(names)


# The project's own files.


def _memory(store: Store, project: Project, kind: str) -> Path:
    return store.cache_directory("projects") / f"{Digest.of(os.fsencode(project.root)).hex[:32]}-{kind}.json"


def _weight_layers(job: _Job, room: int) -> list[BuiltLayer]:
    project, files, store, observe = job.project, job.files, job.store, job.observe
    if not files.weights:
        return []
    digests = Digests(project.root, _memory(store, project, "weights"))
    weights = []
    for file in files.weights:
        if file.link is not None:
            raise BuildError(
                f"the model '{file.path}' is a symbolic link",
                hint="declare the file that it points to in `models`",
            )
        weights.append(Weight(file.path, file.size, digests.known(file) or _hashed(file, digests, observe)))
    digests.save()
    by_path = {file.path: file for file in files.weights}
    built = []
    for layer in weight_layers(weights, room):
        reused = store.layers.find(layer.key) is not None
        if not reused:
            from corten.build.make import make_weights

            observe(TaskStarted("copy", layer.title, sum(weight.size for weight in layer.weights)))
            with store.temporary_directory("layer") as directory:
                make_weights(layer, by_path, project.root, directory / "fs")
                store.layers.commit(
                    directory,
                    layer.key,
                    lambda amount, title=layer.title: observe(TaskAdvanced("copy", title, amount)),  # type: ignore[misc]
                )
            observe(TaskFinished("copy", layer.title))
        built.append(_built(store, layer.key, layer.title, reused))
    return built


def _hashed(file: SourceFile, digests: Digests, observe: Observer) -> Digest:
    if file.size > LARGE_WEIGHT:
        gigabytes = LARGE_WEIGHT // 10**9
        observe(
            Warned(
                f"'{file.path}' has more than {gigabytes} GB, and some registries refuse a layer of that size",
                "split the weights into several files, where their format can be split",
            )
        )
    observe(TaskStarted("hash", file.path, file.size))
    digest = digests.of(file, lambda amount: observe(TaskAdvanced("hash", file.path, amount)))
    observe(TaskFinished("hash", file.path))
    return digest


def _code_layer(job: _Job) -> BuiltLayer:
    """The layer of /app. It is made again when any file of it has changed; `lstat` of the files says whether."""
    project, files, part, store = job.project, job.files, job.part, job.store
    state = canonical_json(
        {
            "layer-format": LAYER_FORMAT,
            "files": [_description(file) for file in files.code],
            "project": [project.name, project.version, project.scripts],
            "python": part.python,
            "compiler": compiler_identity(part),
            "prefix": VENV,
        }
    )
    memory = _memory(store, project, f"code-{part.platform.architecture}")
    remembered = _remembered(memory, Digest.of(state), store)
    if remembered is not None:
        return BuiltLayer(remembered, "code", store.layers.get(remembered).size, True)

    from corten.build.code import place_code
    from corten.build.environment import Environment

    read_at = time.time_ns()
    with closing(job.workshop()) as workshop, workshop.directory() as directory:
        environment = Environment(VENV, part.python)
        place_code(project, files.code, environment, directory / "fs", workshop.compiler())
        layer = store.layers.commit(directory, None)
    if all(is_settled(file, read_at) for file in files.code):
        write_atomically(memory, json.dumps([Digest.of(state), layer.diff_id]).encode())
    return BuiltLayer(layer.diff_id, "code", layer.size, not layer.new)


def _description(file: SourceFile) -> list[object]:
    return [file.path, file.executable, file.link, *stamp(file)]


def _remembered(memory: Path, state: Digest, store: Store) -> Digest | None:
    try:
        known, diff_id = json.loads(memory.read_bytes())
    except (OSError, ValueError, TypeError):
        return None
    with suppress(FormatError):
        if known == state and store.layers.has(Digest.parse(diff_id)):
            return Digest.parse(diff_id)
    return None


def _name(name: str, job: _Job, layers: Sequence[BuiltLayer], base: BaseImage | None) -> Image:
    project, part, store = job.project, job.part, job.store
    beneath = base.config if base else None
    own = layers[len(beneath.diff_ids) if beneath else 0 :]
    config = image_config(project, part, [(layer.digest, layer.title) for layer in own], job.created, beneath)
    config_bytes = config.encode()
    manifest = Manifest(
        config=Descriptor(media.CONFIG, store.blobs.put(config_bytes), len(config_bytes)),
        layers=tuple(Descriptor(media.LAYER, layer.digest, layer.size) for layer in layers),
    )
    digest = store.blobs.put(manifest.encode())
    store.images.set(name, part.platform, digest)
    return store.images.get(name, part.platform)
