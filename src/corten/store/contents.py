"""Which images an archive or a layout holds: their names, configurations, and the blobs of their layers. Nothing is kept yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import BinaryIO

from corten.errors import CortenError, FormatError, UsageError
from corten.events import Note, Observer
from corten.lazy import regex
from corten.oci import docker_archive, media
from corten.oci.archive import Members
from corten.oci.compression import packed_as
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.digest import Digest
from corten.oci.layout import Folder, Layout
from corten.oci.platform import Platform
from corten.store.images import full_name
from corten.values import dataclass, field, replace

_CONFIGS = frozenset({media.CONFIG, media.DOCKER_CONFIG})
_DOCKER_HOSTS = ("docker.io/library/", "docker.io/")
_MOST_LAYERS = 500
_MOST_IMAGES = 1_000
_MOST_DOCUMENTS = 64 << 20
_ENDINGS = regex(r"\.(?:tar|tgz|tar\.gz|tar\.zst|oci|oci-archive)$")


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer's blob of `size` bytes; `digest` where the archive tells it. `title` is for messages."""

    title: str
    open: Callable[[], BinaryIO]
    media_type: str
    size: int
    digest: Digest | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """An image for one platform: its configuration, the names it gets, and one blob for each layer, bottom to top."""

    config: ImageConfig
    config_bytes: bytes
    names: tuple[str, ...]
    layers: tuple[Blob, ...]


def contents_of(
    members: Members, name: str | None, platforms: Sequence[Platform], observe: Observer
) -> list[Content]:
    """The images in `members`, for `platforms` or for all that Corten knows; under `name`, which is for archives of one
    image, else under their own names, else under the archive's. Raises FormatError, UsageError."""
    skipped: list[str] = []
    if members.has("oci-layout"):
        found = list(_of_layout(members, platforms, skipped))
    elif isinstance(members, Folder):
        raise UsageError(
            f"'{members.title}' is not an OCI layout", hint="load the archive that it was unpacked from"
        )
    elif docker_archive.is_docker_archive(members):
        found = list(_of_docker_archive(members, platforms, skipped))
    else:
        raise FormatError(
            f"'{members.title}' is neither an OCI archive nor one of 'docker save'",
            hint="it has neither 'oci-layout' nor 'manifest.json'",
        )
    if not found:
        what = f" for {', '.join(map(str, platforms))}" if platforms else ""
        there = f"it has {', '.join(dict.fromkeys(skipped))}" if skipped else None
        raise UsageError(f"'{members.title}' has no image{what}", hint=there)
    for platform in dict.fromkeys(skipped):
        observe(Note(f"'{members.title}' has an image for {platform} too, which was left out", verbose=True))
    return _with_names(members, found, name, observe)


def _of_layout(members: Members, platforms: Sequence[Platform], skipped: list[str]) -> Iterator[Content]:
    layout = Layout(members)
    tags = docker_archive.names_by_image(members)
    documents = count = 0
    for entry in layout.entries():
        for item in layout.manifests(entry):
            if not _is_wanted(item.platform, platforms):
                skipped.append(_platform_text(item.platform))
                continue
            if item is not entry and not layout.has(item):
                # Who saves one platform of an index keeps the index as it is.
                skipped.append(_platform_text(item.platform))
                continue
            content = _of_manifest(members, layout, item)
            count += 1
            documents += len(content.config_bytes)
            if documents > _MOST_DOCUMENTS or count > _MOST_IMAGES:
                raise FormatError(f"'{members.title}' has too many images, or too large configurations")
            if platforms and content.config.platform not in platforms:
                skipped.append(str(content.config.platform))
                continue
            names = _names_of(entry, tags.get(Digest.of(content.config_bytes), ()))
            yield replace(content, names=names)


def _of_manifest(members: Members, layout: Layout, item: Descriptor) -> Content:
    manifest = Manifest.decode(layout.read(item))
    if manifest.config.media_type not in _CONFIGS:
        raise FormatError(
            f"'{members.title}' holds an artifact of type '{manifest.config.media_type[:100]}', which is no image"
        )
    config = layout.read(manifest.config)
    decoded = _decoded(config, len(manifest.layers), members)
    for layer in manifest.layers:
        packed_as(layer.media_type)
        if not layout.has(layer):
            raise FormatError(
                f"'{members.title}' lacks its layer '{layer.digest}'", hint="save the image again"
            )
    blobs = [
        Blob(
            layer.digest.short,
            partial(layout.open, layer),
            layer.media_type,
            layer.size,
            layer.digest,
            layer.annotations,
        )
        for layer in manifest.layers
    ]
    return Content(decoded, config, (), tuple(blobs))


def _decoded(config: bytes, layers: int, members: Members) -> ImageConfig:
    decoded = ImageConfig.decode(config)
    if layers != len(decoded.diff_ids):
        raise FormatError(
            f"an image of '{members.title}' has {layers} layers, and its configuration names {len(decoded.diff_ids)}"
        )
    if layers > _MOST_LAYERS:
        raise FormatError(
            f"an image of '{members.title}' has {layers} layers, and {_MOST_LAYERS} are the most"
        )
    return decoded


def _of_docker_archive(
    members: Members, platforms: Sequence[Platform], skipped: list[str]
) -> Iterator[Content]:
    for image in docker_archive.read_images(members):
        config = _decoded(image.config, len(image.layers), members)
        if platforms and config.platform not in platforms:
            skipped.append(str(config.platform))
            continue
        layers = tuple(_docker_layer(members, path) for path in image.layers)
        yield Content(config, image.config, image.names, layers)


def _docker_layer(members: Members, path: str) -> Blob:
    with members.open(path) as file:
        head = file.read(4)
    media_type = media.LAYER
    if head.startswith(b"\x1f\x8b"):
        media_type = media.LAYER_GZIP
    elif head == b"\x28\xb5\x2f\xfd":
        media_type = media.LAYER_ZSTD
    promised = docker_archive.digest_of_name(path) if path.startswith("blobs/") else None
    return Blob(path[:100], partial(members.open, path), media_type, members.size(path), promised)


def _is_wanted(listed: Mapping[str, object] | None, platforms: Sequence[Platform]) -> bool:
    """Whether an entry is worth a look: its platform is not told, or one that was asked for or that Corten knows."""
    if listed is None:
        return True
    try:
        platform = Platform.parse(_platform_text(listed))
    except UsageError:  # `unknown/unknown`, too: statements about an image, as BuildKit writes them
        return False
    return not platforms or platform in platforms


def _platform_text(listed: Mapping[str, object] | None) -> str:
    parts = [str((listed or {}).get(key) or "") for key in ("os", "architecture", "variant")]
    return "/".join(part[:40] for part in parts if part) or "an unknown platform"


def _names_of(entry: Descriptor, tags: Sequence[str]) -> tuple[str, ...]:
    """What an entry of a layout's index is called: a full name if there is one, else its bare tag behind a colon."""
    notes = entry.annotations
    if name := notes.get(media.IMAGE_NAME):
        return (name,)
    if (name := notes.get(media.CONTAINERD_NAME)) and "@" not in name:
        return (_familiar(name),)
    if tags:
        return tuple(tags)
    reference = notes.get(media.REF_NAME, "")
    if ":" in reference or "/" in reference:
        return (_familiar(reference),)
    return (f":{reference}",) if reference else ()


def _familiar(name: str) -> str:
    """As docker writes names of its own registry."""
    for host in _DOCKER_HOSTS:
        if name.startswith(host):
            return name[len(host) :]
    return name


def _with_names(
    members: Members, found: Sequence[Content], name: str | None, observe: Observer
) -> list[Content]:
    """The images, each once, with names that are whole."""
    merged: dict[Digest, Content] = {}
    for content in found:
        identity = Digest.of(content.config_bytes)
        names = merged[identity].names if identity in merged else ()
        merged[identity] = replace(content, names=(*names, *content.names))
    given: dict[tuple[str, Platform], Digest] = {}
    result = []
    for identity, content in merged.items():
        names = (full_name(name),) if name else _whole_names(members, content.names, observe)
        for item in names:
            other = given.setdefault((item, content.config.platform), identity)
            if other != identity:
                raise UsageError(
                    f"'{members.title}' has several images for {content.config.platform} that would be called '{item}'",
                    hint="--name is for archives of one image"
                    if name
                    else "save them one by one, or with their names",
                )
        result.append(replace(content, names=names))
    return result


def _whole_names(members: Members, names: Sequence[str], observe: Observer) -> tuple[str, ...]:
    whole = []
    for text in dict.fromkeys(names or (":latest",)):
        if text.startswith(":"):
            derived = _stem(members) + text
            observe(Note(f"'{members.title}' has no name for its image, which is called '{derived}' now"))
            text = derived
        try:
            whole.append(full_name(text))
        except CortenError as error:
            raise FormatError(
                f"'{members.title}' calls an image '{text[:100]}', which is not an image name",
                hint="give --name NAME",
            ) from error
    return tuple(dict.fromkeys(whole))


def _stem(members: Members) -> str:
    stem = _ENDINGS.sub("", PurePath(members.title).name.lower())
    try:
        full_name(stem)
    except UsageError:
        stem = ""
    if not stem or ":" in stem:
        raise UsageError(f"'{members.title}' has no name for its image", hint="give --name NAME")
    return stem
