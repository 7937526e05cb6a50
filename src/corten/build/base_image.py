"""A base that is an image itself: brought into the store, and its Python found.

The `Image` of a base is a value: its configuration and its layers in the store. An OCI layout on disk supplies it now;
a registry supplies the same (`base = "registry/name@sha256:…"`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corten.errors import BuildError, FormatError, ProjectError
from corten.events import Observer, TaskFinished, TaskStarted
from corten.lock.model import ImageBase
from corten.lock.resolve import ResolvedImage
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.digest import Digest
from corten.oci.layout import Layout
from corten.oci.platform import Platform
from corten.oci.unpack import decompressed
from corten.store.disk import explained, remove_tree
from corten.store.store import Store

LARGEST_LAYER = 64 << 30
"""Bytes of one base layer when it is unpacked."""

_MINOR = re.compile(r"python(3\.[0-9]{1,2})")
_PATCHLEVEL = re.compile(rb'#define\s+PY_VERSION\s+"([0-9]+\.[0-9]+\.[0-9]+)"')
_DPKG = re.compile(
    r"^Package: (?:libpython|python)3\.[0-9]+-minimal$.*?^Version: ([0-9]+\.[0-9]+\.[0-9]+)", re.M | re.S
)
_GLIBC = re.compile(rb"GNU C Library [^\n]*? version ([0-9]+)\.([0-9]+)")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image whose layers are all in the store."""

    digest: Digest
    config: ImageConfig


class BaseImages:
    """Finds and keeps base images; the lock's `BaseResolver`."""

    def __init__(self, store: Store, observe: Observer) -> None:
        self._store, self._observe = store, observe

    def resolve(self, reference: str, root: Path, platform: Platform) -> ResolvedImage:
        """The image that `reference` names, with its Python. Raises ProjectError, UsageError, FormatError."""
        with self._store.lock("store", shared=True):
            return self._resolve(reference, root, platform)

    def _resolve(self, reference: str, root: Path, platform: Platform) -> ResolvedImage:
        layout, item = self._find(reference, root, platform)
        image = self._keep(layout, item, reference)
        merged = merged_tree(self._store, image)
        interpreter, version = find_python(merged, image.config, reference)
        return ResolvedImage(
            ImageBase(reference, item.digest, version, interpreter), find_glibc(merged, reference)
        )

    def ensure(self, base: ImageBase, root: Path, platform: Platform) -> BaseImage:
        """The image that a lock names, taken from the store, or again from where the project says it is. Raises
        BuildError when another one lies there by now."""
        image = self._kept(base.digest)
        if image is None:
            layout, item = self._find(base.reference, root, platform)
            if item.digest != base.digest:
                raise BuildError(
                    f"the base '{base.reference}' is '{item.digest.short}' now, and the lock names '{base.digest.short}'",
                    hint="run 'corten lock --upgrade' to take the new one",
                )
            image = self._keep(layout, item, base.reference)
        return image

    def _find(self, reference: str, root: Path, platform: Platform) -> tuple[Layout, Descriptor]:
        kind, _, place = reference.partition(":")
        if kind != "oci":
            raise ProjectError(
                f"the base '{reference}' is in a registry, and this Corten takes base images from OCI layouts only",
                hint="copy it with 'skopeo copy docker://… oci:DIR:TAG' and write base = \"oci:DIR:TAG\"",
            )
        directory, tag = root / place, None
        if not directory.exists() and ":" in place:
            path, _, tag = place.rpartition(":")
            directory = root / path
        layout = Layout(directory)
        return layout, layout.find(tag, platform)

    def _kept(self, digest: Digest) -> BaseImage | None:
        if not self._store.blobs.path(digest).exists():
            return None
        manifest = Manifest.decode(self._store.blobs.read(digest))
        if not self._store.blobs.path(manifest.config.digest).exists():
            return None
        config = ImageConfig.decode(self._store.blobs.read(manifest.config.digest))
        whole = all(self._store.layers.has(diff_id) for diff_id in config.diff_ids)
        return BaseImage(digest, config) if whole else None

    def _keep(self, layout: Layout, item: Descriptor, reference: str) -> BaseImage:
        manifest_bytes = layout.read(item)
        manifest = Manifest.decode(manifest_bytes)
        config_bytes = layout.read(manifest.config)
        config = ImageConfig.decode(config_bytes)
        if len(config.diff_ids) != len(manifest.layers):
            raise FormatError(
                f"the base '{reference}' has {len(manifest.layers)} layers and {len(config.diff_ids)} diff IDs"
            )
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
            if not self._store.layers.has(diff_id):
                self._keep_layer(layout, layer, diff_id)
        self._store.blobs.put(config_bytes)
        self._store.blobs.put(manifest_bytes)
        return BaseImage(item.digest, config)

    def _keep_layer(self, layout: Layout, layer: Descriptor, diff_id: Digest) -> None:
        self._observe(TaskStarted("install", f"base layer {diff_id.short}"))
        with (
            explained(self._store.root),
            self._store.temporary_directory("base") as outer,
            layout.open(layer) as packed,
        ):
            with open(outer / "tar", "wb") as plain:
                for piece in decompressed(packed, layer.media_type, LARGEST_LAYER):
                    plain.write(piece)
            (outer / "layer").mkdir()
            self._store.layers.commit_foreign(outer / "layer", outer / "tar", diff_id)
        self._observe(TaskFinished("install", f"base layer {diff_id.short}"))


def merged_tree(store: Store, image: BaseImage) -> Path:
    """The base's layers as one tree of hard links, kept in the store's caches. It must not be changed."""
    place = store.cache_directory("merged") / image.digest.hex
    if not place.exists():
        with store.temporary_directory("merged") as directory:
            target = directory / "fs"
            target.mkdir()
            for diff_id in image.config.diff_ids:
                _merge(os.fspath(store.layers.tree(diff_id)), os.fspath(target))
            try:
                os.rename(target, place)
            except OSError:
                if not place.exists():
                    raise
    return place


def _merge(source: str, target: str) -> None:
    """Lay one layer's directory over what is there, as an overlay would."""
    for item in os.scandir(source):
        place = f"{target}/{item.name}"
        status = item.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            if os.path.islink(place) or (os.path.lexists(place) and not os.path.isdir(place)):
                os.unlink(place)
            elif "user.overlay.opaque" in os.listxattr(item.path, follow_symlinks=False):
                remove_tree(Path(place))
            os.makedirs(place, exist_ok=True)
            _merge(item.path, place)
            continue
        remove_tree(Path(place))
        if stat.S_ISREG(status.st_mode):
            os.link(item.path, place, follow_symlinks=False)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(item.path), place)


def resolve_inside(tree: Path, path: str) -> tuple[str, Path] | None:
    """Follow links as a process in the image would. Returns the final path in the image and its place, or None."""
    for _ in range(40):
        walked = ""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for index, part in enumerate(parts):
            walked = os.path.dirname(walked) if part == ".." else f"{walked}/{part}"
            place = f"{tree}{walked}"
            if os.path.islink(place):
                target = os.readlink(place)
                start = target if target.startswith("/") else f"{os.path.dirname(walked)}/{target}"
                path = "/".join([start, *parts[index + 1 :]])
                break
            if not os.path.lexists(place):
                return None
        else:
            return walked, Path(f"{tree}{walked}")
    return None


def find_python(tree: Path, config: ImageConfig, reference: str) -> tuple[str, str]:
    """The interpreter's path in the image and its exact version. Raises ProjectError when there is none."""
    path = next((item[5:] for item in config.env if item.startswith("PATH=")), _DEFAULT_PATH)
    for directory in path.split(":"):
        found = resolve_inside(tree, f"{directory}/python3")
        if found and found[1].is_file() and (match := _MINOR.fullmatch(os.path.basename(found[0]))):
            version = _exact_version(tree, found[0], match[1])
            if version is None:
                raise ProjectError(
                    f"the exact version of Python {match[1]} in the base '{reference}' cannot be told",
                    hint="use a base with Python's header files or Debian's package records",
                )
            return found[0], version
    raise ProjectError(
        f"the base '{reference}' has no python3 on its PATH",
        hint="use a base image with Python, or a Debian base",
    )


def _exact_version(tree: Path, interpreter: str, minor: str) -> str | None:
    prefix = interpreter.rsplit("/bin/", 1)[0]
    header = resolve_inside(tree, f"{prefix}/include/python{minor}/patchlevel.h")
    if header and (match := _PATCHLEVEL.search(header[1].read_bytes())):
        return match[1].decode()
    for text in _dpkg_records(tree, minor):
        if record := _DPKG.search(text):
            return record[1]
    return None


def _dpkg_records(tree: Path, minor: str) -> Iterator[str]:
    for name in ("status", f"status.d/python{minor}-minimal", f"status.d/libpython{minor}-minimal"):
        path = tree / "var/lib/dpkg" / name
        if path.is_file() and not path.is_symlink():
            text = path.read_text(errors="replace")
            yield from (part for part in text.split("\n\n") if f"python{minor}-minimal" in part[:200])


def find_glibc(tree: Path, reference: str) -> int:
    """The second number of the base's glibc version (36 for 2.36). Raises ProjectError for a base without glibc."""
    for directory in ("lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "usr/lib64", "lib"):
        found = resolve_inside(tree, f"{directory}/libc.so.6")
        if found and (match := _GLIBC.search(found[1].read_bytes())) and match[1] == b"2":
            return int(match[2])
    musl = any((tree / "lib").glob("ld-musl-*")) if (tree / "lib").is_dir() else False
    reason = "its C library is musl, for which few wheels exist" if musl else "it has no glibc"
    raise ProjectError(
        f"the base '{reference}' cannot be used: {reason}",
        hint="use a base with glibc, such as Debian's or Ubuntu's",
    )
