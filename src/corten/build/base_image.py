"""A base that is an image itself: brought into the store, from an OCI layout on disk or from a registry, and its Python
found. Its layers stay exactly as they are.

The lock pins the digest of the platform's manifest. Where the image is to be had is written in the project alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from corten.build.base_python import check_places, find_glibc, find_libraries, find_python
from corten.build.bytecode import Interpreter
from corten.errors import BuildError, CortenError, FormatError, NotInRegistry
from corten.events import Note, Observer, TaskFinished, TaskStarted
from corten.lock.base_places import check_registry, open_layout
from corten.lock.bundled_base import bundled_base
from corten.lock.model import ImageBase, Lock, PlatformLock
from corten.lock.resolve import ResolvedImage, lasting_name
from corten.oci.compression import decompressed
from corten.oci.config import ImageConfig, parse_json_object
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.digest import Digest
from corten.oci.layout import Layout
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.project.model import Project
from corten.store.disk import explained
from corten.store.merged import read_only_tree
from corten.store.store import Store
from corten.values import dataclass

if TYPE_CHECKING:
    from corten.registry.client import RegistrySettings

_LAYOUT = "oci:"


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image whose manifest and configuration are in the store; its layers may be absent."""

    digest: Digest
    config: ImageConfig


class BaseImages:
    """Finds and keeps base images; the lock's `BaseResolver`. `registries` says how registries are reached; `offline` is a
    folder made by `lock --download` that stands for them."""

    def __init__(
        self,
        store: Store,
        observe: Observer,
        registries: Callable[[], RegistrySettings] | None = None,
        offline: Path | None = None,
    ) -> None:
        self._store, self._observe, self._registries = store, observe, registries
        self._offline = offline

    def resolve(
        self, reference: str, root: Path, platform: Platform, pinned: Digest | None = None
    ) -> ResolvedImage:
        """The image that `reference` names, with its Python; the one that a lock has `pinned`, while its registry has it.
        Raises ProjectError, UsageError, FormatError, RegistryError, and NotConfirmed for a place that only the user can name."""
        with self._store.lock("store", shared=True):
            image = self._resolve(reference, root, platform, pinned)
            self._fetch(image, reference, root, platform)
            self._say(image, reference)
            merged = read_only_tree(self._store, image.config.diff_ids)
            check_places(merged, reference)
            glibc = find_glibc(merged, reference)
            python = find_python(merged, image.config, reference)
            base = ImageBase(lasting_name(reference), image.digest, python.version, python.path)
            return ResolvedImage(base, glibc, find_libraries(merged, python.path, image.config.env))

    def _resolve(self, reference: str, root: Path, platform: Platform, pinned: Digest | None) -> BaseImage:
        if pinned is not None and not reference.startswith(_LAYOUT):
            if kept := self._kept(pinned):
                return kept
            try:
                return self._asked(reference, root, platform, pinned)
            except NotInRegistry:
                note = f"the base '{reference}' is not in its registry any more as it was locked; taking what is there now"
                self._observe(Note(note))
        return self._found(reference, root, platform)

    def ensure(self, base: ImageBase, project: Project, platform: Platform) -> BaseImage:
        """The image that a lock names, taken from the store, or again from where the project says it is. Raises
        BuildError when another one, or none, lies there by now, NotConfirmed as `resolve`."""
        if kept := self._kept(base.digest):
            return kept
        hint = "run 'corten lock --upgrade' to take the new one"
        if self._offline is not None and not project.base.startswith(_LAYOUT):
            return self._laid_out(*bundled_base(self._offline, base.digest, platform), project.base)
        if not project.base.startswith(_LAYOUT):
            try:
                return self._asked(project.base, project.root, platform, base.digest)
            except NotInRegistry as error:
                raise BuildError(
                    f"the base '{project.base}' is not in its registry any more as it was locked, '{base.digest.short}'",
                    hint=hint,
                ) from error
        found = self._found(project.base, project.root, platform)
        if found.digest != base.digest:
            raise BuildError(
                f"the base '{project.base}' is '{found.digest.short}' now, and the lock names '{base.digest.short}'",
                hint=hint,
            )
        return found

    def fetch(self, image: BaseImage, project: Project, platform: Platform) -> None:
        """Bring those of the image's layers into the store that are not there. Raises RegistryError, FormatError,
        UsageError, StoreError."""
        self._fetch(image, project.base, project.root, platform)

    def interpreter(self, project: Project, lock: Lock, part: PlatformLock) -> Interpreter:
        """The Python that compiles for `part`: that of its base, or for another processor the same version from the base
        of this one. Raises BuildError, and what `fetch` raises."""
        parts = [part, *lock.platforms]
        for item in parts:
            if not isinstance(item.base, ImageBase) or item.platform != Platform.host():
                continue
            if item.base.python != part.base.python:
                continue
            image = self.ensure(item.base, project, item.platform)
            self.fetch(image, project, item.platform)
            merged = read_only_tree(self._store, image.config.diff_ids)
            check_places(merged, project.base)
            return Interpreter(merged, item.base.interpreter, item.base.python)
        raise BuildError(
            f"a base image for {part.platform} cannot compile bytecode on {Platform.host()}, "
            f"and the lock has no base with Python {part.base.python} for {Platform.host()}",
            hint=f"add \"{Platform.host()}\" to `platforms` and run 'corten lock', or build on such a machine",
        )

    def _found(self, reference: str, root: Path, platform: Platform) -> BaseImage:
        """What lies at the reference now."""
        if not reference.startswith(_LAYOUT):
            return self._asked(reference, root, platform)
        return self._laid_out(*self._layout(reference, root, platform), reference)

    def _laid_out(self, layout: Layout, item: Descriptor, reference: str) -> BaseImage:
        """The image in a layout, its documents taken into the store."""
        data = layout.read(item)
        manifest = Manifest.decode(data)
        config_bytes = layout.read(manifest.config)
        config = ImageConfig.decode(config_bytes)
        _check_layers(manifest, config, reference)
        self._store.blobs.put(config_bytes, manifest.config.digest.algorithm)
        self._store.blobs.put(data, item.digest.algorithm)
        return BaseImage(item.digest, config)

    def _asked(
        self, reference: str, root: Path, platform: Platform, digest: Digest | None = None
    ) -> BaseImage:
        """What the registry has, at the reference or by digest beside it."""
        from corten.registry.remote import pull_config

        parsed = Reference.parse(reference)
        check_registry(parsed.registry, root)
        place = parsed.at(digest) if digest else parsed
        found, manifest, config = pull_config(place, platform, self._store, self._settings())
        _check_layers(manifest, config, reference)
        return BaseImage(found, config)

    def _settings(self) -> RegistrySettings:
        if self._registries is None:
            raise BuildError("a base image in a registry cannot be had here")
        return self._registries()

    def _layout(self, reference: str, root: Path, platform: Platform) -> tuple[Layout, Descriptor]:
        layout, tag = open_layout(reference.removeprefix(_LAYOUT), root)
        return layout, layout.find(tag, platform)

    def _kept(self, digest: Digest) -> BaseImage | None:
        """The image where the store has its documents, undamaged."""
        try:
            manifest = Manifest.decode(self._store.blobs.read(digest))
            config = ImageConfig.decode(self._store.blobs.read(manifest.config.digest))
        except CortenError:
            return None
        return BaseImage(digest, config)

    def _fetch(self, image: BaseImage, reference: str, root: Path, platform: Platform) -> None:
        missing = [item for item in image.config.diff_ids if not self._store.layers.has(item)]
        if not missing:
            return
        if self._offline is not None and not reference.startswith(_LAYOUT):
            self._unpack(image, *bundled_base(self._offline, image.digest, platform))
            return
        if reference.startswith(_LAYOUT):
            layout, item = self._layout(reference, root, platform)
            if item.digest != image.digest:
                raise BuildError(
                    f"the base '{reference}' is '{item.digest.short}' now, and the lock names '{image.digest.short}'",
                    hint="run 'corten lock --upgrade' to take the new one",
                )
            self._unpack(image, layout, item)
            return
        from corten.registry.pull import ensure_layers

        # What is noted of its places may be old: the project says where the image is now.
        self._asked(reference, root, platform, image.digest)
        ensure_layers(self._store, missing, self._settings(), self._observe)

    def _unpack(self, image: BaseImage, layout: Layout, item: Descriptor) -> None:
        manifest = Manifest.decode(layout.read(item))
        for layer, diff_id in zip(manifest.layers, image.config.diff_ids, strict=True):
            if not self._store.layers.has(diff_id):
                self._unpack_layer(layout, layer, diff_id)

    def _unpack_layer(self, layout: Layout, layer: Descriptor, diff_id: Digest) -> None:
        self._observe(TaskStarted("install", f"base layer {diff_id.short}"))
        with (
            explained(self._store.root),
            self._store.temporary_directory("base") as directory,
            layout.open(layer) as packed,
        ):
            pieces = iter(lambda: packed.read(1 << 20), b"")
            plain = decompressed(pieces, layer.media_type, self._store.unpacking.layer)
            self._store.layers.receive(directory, plain, diff_id)
        self._observe(TaskFinished("install", f"base layer {diff_id.short}"))

    def _say(self, image: BaseImage, reference: str) -> None:
        """What of the base has no effect on the project's image."""
        manifest = Manifest.decode(self._store.blobs.read(image.digest))
        document = parse_json_object(self._store.blobs.read(manifest.config.digest), "the configuration")
        config = document.get("config")
        if isinstance(config, dict) and config.get("OnBuild"):
            self._observe(Note(f"the ONBUILD instructions of the base '{reference}' are not run"))
        if image.config.entrypoint or image.config.cmd:
            note = f"the entry point and the command of the base '{reference}' are not used"
            self._observe(Note(note, verbose=True))


def _check_layers(manifest: Manifest, config: ImageConfig, reference: str) -> None:
    if len(config.diff_ids) != len(manifest.layers):
        raise FormatError(
            f"the base '{reference}' has {len(manifest.layers)} layers and {len(config.diff_ids)} diff IDs"
        )
