"""Images as a registry has them: which platforms a reference leads to, their manifests and configurations. No layer is moved.

Everything that comes is checked and bounded: documents by their digest, indexes in number, layers against diff IDs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from corten.errors import CortenError, FormatError, NotInRegistry, RegistryError
from corten.events import Note, Observer
from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.oci.reference import Reference
from corten.registry.client import Fetched, Interrupted, RegistrySettings, Repository, open_repository
from corten.store.encodings import Encoding
from corten.store.store import Store
from corten.values import dataclass, field

_LARGEST_CONFIG = 16 << 20
_MOST_MANIFESTS = 200
_DEEPEST_INDEX = 4
_MOST_INDEXES = 32
_MOST_UNNAMED = 16
# Among several builds for one architecture, the one that runs on every processor of it.
_VARIANTS = {"amd64": ("", "v1", "v2"), "arm64": ("", "v8")}


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """An image for one platform in a registry. `digest` is that of its manifest there, `size` what its configuration and
    layers have in bytes as they are packed."""

    repository: str
    digest: Digest
    manifest: Manifest
    config: ImageConfig
    manifest_bytes: bytes
    config_bytes: bytes
    root: Digest
    """What the reference led to: this manifest, or the index that lists it."""

    @property
    def id(self) -> Digest:
        """The image ID: the digest of its configuration."""
        return self.manifest.config.digest

    @property
    def size(self) -> int:
        return self.manifest.config.size + sum(layer.size for layer in self.manifest.layers)


@dataclass(frozen=True, slots=True)
class OfferedLayer:
    """A layer that a registry says it has for a key: `key` is the name of the key, `size` the bytes of the
    layer's plain tar stream, `annotations` what Corten has noted on it."""

    key: str
    diff_id: Digest
    size: int
    annotations: dict[str, str] = field(default_factory=dict)


def find_image(repository: Repository, target: str, platform: Platform) -> RemoteImage:
    """The image for `platform` at a tag or digest. Raises NotInRegistry naming the platforms there are, FormatError."""
    root = repository.manifest(target)
    if root.media_type in media.MANIFESTS:
        image = _image(repository, root, root.digest)
        if image.config.platform != platform:
            raise _no_platform(repository, target, platform, [str(image.config.platform)])
        return image
    items = _items(repository, root)
    fitting = [item for item in items if item.is_for(platform)]
    if not fitting:
        for unnamed in _unnamed(repository, root, items):
            if unnamed.config.platform == platform:
                return unnamed
        raise _no_platform(repository, target, platform, sorted({_platform_name(item) for item in items}))
    best = min(fitting, key=lambda item: _preference(item, platform))
    image = _image(repository, repository.manifest(best.digest), root.digest)
    if image.config.platform != platform:
        raise FormatError(
            f"the index of '{repository.name}' lists '{best.digest.short}' for {platform}, and it is for {image.config.platform}"
        )
    return image


def artifact_at(repository: Repository, target: str) -> Fetched | None:
    """The manifest at a tag or digest if it is one of an artifact: its configuration is not that of an image (image-spec,
    manifest.md, "Guidelines for Artifact Usage"). None for images and indexes. Raises RegistryError, FormatError."""
    root = repository.manifest(target)
    if root.media_type not in media.MANIFESTS:
        return None
    kind = Manifest.decode(root.data).config.media_type
    return root if kind not in (media.CONFIG, media.DOCKER_CONFIG) else None


def find_images(repository: Repository, target: str) -> list[RemoteImage]:
    """The images at a tag or digest for every platform that Corten knows; what else an index lists is left out. Raises
    NotInRegistry when there is none."""
    root = repository.manifest(target)
    if root.media_type in media.MANIFESTS:
        return [_image(repository, root, root.digest)]
    chosen: dict[Platform, Descriptor] = {}
    items = _items(repository, root)
    for item in items:
        for platform in (Platform("linux", "amd64"), Platform("linux", "arm64")):
            if item.is_for(platform):
                known = chosen.get(platform)
                if known is None or _preference(item, platform) < _preference(known, platform):
                    chosen[platform] = item
    if chosen:
        ordered = [item for _, item in sorted(chosen.items())]
        return [_image(repository, repository.manifest(item.digest), root.digest) for item in ordered]
    images = {image.config.platform: image for image in _unnamed(repository, root, items)}
    if not images:
        there = sorted({_platform_name(item) for item in items})
        raise _no_platform(repository, target, "a platform that Corten knows", there)
    return [image for _, image in sorted(images.items())]


def pull_config(
    reference: Reference, platform: Platform, store: Store, settings: RegistrySettings
) -> tuple[Digest, Manifest, ImageConfig]:
    """The image for `platform` at `reference`: the digest of its manifest there, the manifest and the configuration. Both
    documents are put into the store, and where its layers can be had is noted; no layer is fetched. The caller holds the
    store's lock."""
    image = find_image(open_repository(reference, settings), reference.target, platform)
    note_places(store, image, verified=False)
    store.blobs.put(image.config_bytes, image.id.algorithm)
    store.blobs.put(image.manifest_bytes, image.digest.algorithm)
    return image.digest, image.manifest, image.config


def offered_layers(
    reference: Reference, platform: Platform, store: Store, settings: RegistrySettings, observe: Observer
) -> dict[str, OfferedLayer]:
    """What the image at `reference` offers as a cache, trusted as far as the reference is: by key, its layers that say
    which inputs made them. Where they can be had is noted in the store. Nothing, with a note, where there is no such
    image. Raises RegistryError, FormatError naming the reference."""
    try:
        image = find_image(open_repository(reference, settings), reference.target, platform)
    except NotInRegistry as error:
        observe(Note(f"nothing to take from '{reference}': {error.message}"))
        return {}
    except FormatError as error:
        raise FormatError(f"'{reference}' cannot serve as a cache: {error.message}", error.hint) from error
    note_places(store, image, verified=False)
    offered = {}
    for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
        key = layer.annotations.get(media.LAYER_KEY)
        size = tar_size(layer)
        if key and size is not None:
            notes = {name: text for name, text in layer.annotations.items() if name.startswith(media.OURS)}
            offered[key] = OfferedLayer(key, diff_id, size, notes)
    return offered


def note_places(store: Store, image: RemoteImage, *, verified: bool) -> None:
    """Note in the store that the image's layers can be had from its repository."""
    for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
        compression = media.COMPRESSIONS.get(layer.media_type)
        if compression is not None:
            places = (image.repository,)
            form = Encoding(compression, layer.digest, layer.size, verified=verified, repositories=places)
            store.encodings.add(diff_id, form)


def tar_size(layer: Descriptor) -> int | None:
    """The bytes of a packed layer's plain tar stream, where its descriptor tells."""
    if layer.media_type in (media.LAYER, media.DOCKER_LAYER):
        return layer.size
    text = layer.annotations.get(media.LAYER_SIZE, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def listed_blobs(repository: Repository, reference: Reference) -> set[Digest]:
    """The blobs of the image that is at the reference now. A registry keeps what its manifests list, so one question
    answers for most layers of an image that has changed a little. Nothing where there is no image, or none that may be
    read. Raises RegistryError when the registry is not to be reached."""
    try:
        fetched = repository.manifest(reference.target)
        documents = [fetched.data]
        if fetched.media_type in media.INDEXES:
            items: Iterable[Descriptor] = Index.decode(fetched.data).manifests[:8]
            documents = [
                repository.manifest(item.digest).data for item in items if item.media_type in media.MANIFESTS
            ]
        found: set[Digest] = set()
        for document in documents:
            manifest = Manifest.decode(document)
            found |= {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
        return found
    except CortenError as error:
        if isinstance(error, Interrupted) and error.down:
            raise
        # Nothing there yet, or nothing that can be understood. Whether one may push at all shows soon enough.
        return set()


def _items(repository: Repository, root: Fetched) -> list[Descriptor]:
    """The manifests that an index leads to."""
    return list(_listed(repository, root, {root.digest}))


def _listed(repository: Repository, root: Fetched, seen: set[Digest], depth: int = 0) -> Iterator[Descriptor]:
    if root.media_type not in media.INDEXES:
        raise FormatError(
            f"'{repository.name}' has something of the type '{root.media_type[:80]}' there, which is not an image"
        )
    if depth == _DEEPEST_INDEX:
        raise FormatError(f"the indexes of '{repository.name}' lie too deep in each other")
    manifests = Index.decode(root.data).manifests
    if len(manifests) > _MOST_MANIFESTS:
        raise FormatError(f"an index of '{repository.name}' lists {len(manifests)} manifests")
    for item in manifests:
        if item.media_type in media.MANIFESTS:
            yield item
        elif item.media_type in media.INDEXES and item.digest not in seen:
            seen.add(item.digest)
            if len(seen) > _MOST_INDEXES:
                raise FormatError(
                    f"an index of '{repository.name}' leads to more than {_MOST_INDEXES} others"
                )
            yield from _listed(repository, repository.manifest(item.digest), seen, depth + 1)


def _unnamed(repository: Repository, root: Fetched, items: Sequence[Descriptor]) -> Iterator[RemoteImage]:
    """The images that an index lists without a platform, which it need not tell (image-index.md): their configurations
    do. What is no image for a platform that Corten knows is left out."""
    for item in [item for item in items if item.platform is None][:_MOST_UNNAMED]:
        fetched = repository.manifest(item.digest)
        with suppress(FormatError):
            yield _image(repository, fetched, root.digest)


def _image(repository: Repository, fetched: Fetched, root: Digest) -> RemoteImage:
    try:
        return _checked_image(repository, fetched, root)
    except FormatError as error:
        raise FormatError(
            f"'{repository.name}@{fetched.digest.short}' cannot be taken: {error.message}", error.hint
        ) from error


def _checked_image(repository: Repository, fetched: Fetched, root: Digest) -> RemoteImage:
    manifest = Manifest.decode(fetched.data)
    if manifest.config.media_type not in (media.CONFIG, media.DOCKER_CONFIG):
        raise FormatError(
            f"it is an artifact of the type '{manifest.config.media_type[:80]}', which is not an image"
        )
    config_bytes = repository.read_blob(manifest.config.digest, manifest.config.size, _LARGEST_CONFIG)
    config = ImageConfig.decode(config_bytes)
    if len(config.diff_ids) != len(manifest.layers):
        raise FormatError(f"it has {len(manifest.layers)} layers and {len(config.diff_ids)} diff IDs")
    return RemoteImage(repository.name, fetched.digest, manifest, config, fetched.data, config_bytes, root)


def _platform_name(item: Descriptor) -> str:
    listed = item.platform or {}
    names = [str(listed.get(key)) for key in ("os", "architecture", "variant") if listed.get(key)]
    return "/".join(names) or "unknown"


def _preference(item: Descriptor, platform: Platform) -> int:
    variant = str((item.platform or {}).get("variant") or "")
    known: Sequence[str] = _VARIANTS[platform.architecture]
    return known.index(variant) if variant in known else len(known)


def _no_platform(
    repository: Repository, target: str, platform: Platform | str, there: list[str]
) -> RegistryError:
    known = [name for name in there if "unknown" not in name]
    return NotInRegistry(
        f"'{repository.name}' has no image for {platform} at '{target}'",
        hint=f"it is there for {', '.join(known[:8])}" if known else "it is no image that runs",
    )
