"""Named images: `images/<name>.json` says which manifest a name stands for on every platform it was made for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from corten.errors import CortenError, ImageNotFound, UsageError, listed
from corten.lazy import regex
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Index, Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.store.blobs import Blobs
from corten.store.disk import explained, private_directory, write_atomically
from corten.store.locks import locked
from corten.values import dataclass

# The familiar form of a reference: [host[:port]/]path[:tag] (distribution-spec, "Pulling manifests").
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = regex(
    rf"(?:(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?)/)?(?P<path>{_PATH}(?:/{_PATH})*)(?::(?P<tag>[\w][\w.-]{{0,127}}))?",
    re.ASCII,
)
# A name is also the name of a file here, which has some characters more and at most 255 of them.
_LONGEST_NAME = 220


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store. `id` is the digest of its configuration (its identity, equal everywhere), `digest` that of
    its manifest over uncompressed layers, `size` the sum of its layers' tar streams in bytes."""

    name: str
    id: Digest
    digest: Digest
    config: ImageConfig
    size: int
    written: float


def _platform(image: Image) -> Platform:
    return image.config.platform


def full_name(name: str) -> str:
    """`name` with its tag, `latest` where it has none. Raises UsageError for what no registry would accept."""
    match = _NAME.fullmatch(name) if len(name) <= _LONGEST_NAME else None
    if not match:
        raise UsageError(
            f"'{name[:100]}' is not an image name",
            hint=f"use lower-case letters, digits and separators, at most {_LONGEST_NAME}, as in 'team/model:1.0'",
        )
    return name if match["tag"] else name + ":latest"


class Images:
    """The names of a store's images."""

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self.root = root
        self.directory = root / "images"
        self.blobs = blobs

    def set(self, name: str, platform: Platform, digest: Digest) -> None:
        """Let `name` stand for the manifest `digest` on `platform`; its other platforms stay."""
        path = self._path(full_name(name))
        with self._alone():
            record = self._read(path)
            private_directory(self.directory)
            self._write(path, {**record, str(platform): str(digest)})

    def replace(
        self, name: str, digests: Mapping[Platform, Digest], *, unless_there: bool = False
    ) -> list[str]:
        """Let `name` stand for these manifests and nothing else, in one step; `unless_there`: nothing changes where it stands
        for all of them already. Returns the platforms that it stood for before and does not any more, in their order."""
        path = self._path(full_name(name))
        record = {str(platform): str(digest) for platform, digest in digests.items()}
        with self._alone():
            before = self._read(path)
            if unless_there and record.items() <= before.items():
                return []
            private_directory(self.directory)
            self._write(path, record)
        return sorted(set(before) - set(record))

    def _write(self, path: Path, record: dict[str, str]) -> None:
        write_atomically(path, json.dumps(record, sort_keys=True).encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Changing a name is reading and writing it: two builds for two platforms must not forget one of them."""
        with explained(self.root), locked(self.root / "locks" / "images"):
            yield

    def get(self, name: str, platform: Platform | None = None) -> Image:
        """The image called `name`, or whose ID or digest begins with it (at least 6 digits), for `platform` or else
        this machine's, or the only one that it has. Raises ImageNotFound."""
        wanted = platform or Platform.host()
        found = self._by_name(name, wanted, platform is None) or self._by_digest(name, wanted)
        if found is None:
            known = sorted({image.name for image in self.all()})
            hint = f"known images: {listed(known)}" if known else "build one with 'corten build'"
            raise ImageNotFound(f"there is no image '{name}'", hint=hint)
        return found

    def _by_name(self, name: str, platform: Platform, any_platform: bool) -> Image | None:
        try:
            full = full_name(name)
        except UsageError:
            return None
        path = self._path(full)
        record = self._read(path)
        if not record:
            return None
        digest = record.get(str(platform))
        if digest is None and any_platform and len(record) == 1:
            digest = next(iter(record.values()))
        if digest is None:
            raise ImageNotFound(
                f"the image '{full}' is not there for {platform}",
                hint=f"it is there for {', '.join(sorted(record))}",
            )
        return self._load(full, Digest.parse(digest), path)

    def _by_digest(self, name: str, platform: Platform) -> Image | None:
        digits = name.removeprefix("sha256:").lower()
        if not re.fullmatch(r"[0-9a-f]{6,64}", digits):
            return None
        found = {
            image.id: image
            for image in self.all()
            if image.id.hex.startswith(digits) or image.digest.hex.startswith(digits)
        }
        if len(found) > 1:
            raise ImageNotFound(f"'{name}' begins the IDs of {len(found)} images", hint="give more digits")
        if not found:
            return self._by_index(digits).get(platform)
        return next(iter(found.values()), None)

    def _by_index(self, digits: str) -> dict[Platform, Image]:
        """The images of the name whose index has a digest that begins so; none where there is no such index."""
        for name, path, record in self._records() if re.fullmatch(r"[0-9a-f]{6,64}", digits) else ():
            with suppress(CortenError, FileNotFoundError):
                images = [self._load(name, Digest.parse(digest), path) for digest in record.values()]
                if len(images) > 1 and Digest.of(self.index(images).encode()).hex.startswith(digits):
                    return {image.config.platform: image for image in sorted(images, key=_platform)}
        return {}

    def all(self) -> list[Image]:
        """Every image under every name and platform, newest first, but for those whose manifest or configuration a
        power loss has damaged: they are as good as not built."""
        images: list[Image] = []
        for name, path, record in self._records():
            for _, digest in sorted(record.items()):
                with suppress(CortenError, FileNotFoundError):
                    images.append(self._load(name, Digest.parse(digest), path))
        return sorted(images, key=lambda image: -image.written)

    def platforms(self, name: str) -> dict[Platform, Image]:
        """The image called `name`, or whose index has that digest, for every platform that it is there for, in their order.
        Raises ImageNotFound."""
        path = self._path(full_name(name))
        record = self._read(path)
        if not record:
            images = self._by_index(name.removeprefix("sha256:").lower())
            return images or {(image := self.get(name)).config.platform: image}
        found = [self._load(full_name(name), Digest.parse(digest), path) for digest in record.values()]
        return {image.config.platform: image for image in sorted(found, key=_platform)}

    def present(self, name: str) -> dict[Platform, Image]:
        """The same; nothing where there is no such image, or a part of it is damaged."""
        try:
            return self.platforms(name)
        except CortenError:
            return {}

    def index(self, images: Iterable[Image]) -> Index:
        """The canonical index of one image for several platforms: equal images give equal bytes."""
        ordered = sorted(images, key=_platform)
        return Index(tuple(self._listed(image) for image in ordered))

    def _listed(self, image: Image) -> Descriptor:
        data = self.blobs.read(image.digest)
        return Descriptor(
            Manifest.decode(data).media_type,
            image.digest,
            len(data),
            platform=image.config.platform.to_json(),
        )

    def alias(self, source: str, name: str) -> str:
        """Let `name` stand for what `source` does: for all platforms of that name, in one step, or beside what it stands
        for already for the one image that `source` is the ID or digest of. Returns the whole name. Raises ImageNotFound,
        UsageError."""
        path = self._path(full_name(name))
        with self._alone():
            record = self._record(source)
            if not record:
                image = self.get(source)
                record = {**self._read(path), str(image.config.platform): str(image.digest)}
            self._write(path, record)
        return full_name(name)

    def _record(self, name: str) -> dict[str, str]:
        try:
            return self._read(self._path(full_name(name)))
        except UsageError:
            return {}

    def remove(self, name: str) -> list[str]:
        """Forget a name with all its platforms, or the image given by ID under all its names. Returns the names. Raises
        ImageNotFound."""
        with self._alone():
            try:
                path = self._path(full_name(name))
                if path.exists():
                    path.unlink()
                    return [full_name(name)]
            except UsageError:
                pass
            image = self.get(name)
            names = sorted({other.name for other in self.all() if other.id == image.id})
            for other in names:
                self._forget(self._path(other), image.digest)
            return names

    def _forget(self, path: Path, digest: Digest) -> None:
        left = {platform: text for platform, text in self._read(path).items() if text != digest}
        if left:
            self._write(path, left)
        else:
            path.unlink(missing_ok=True)

    def _records(self) -> Iterator[tuple[str, Path, dict[str, str]]]:
        if not self.directory.is_dir():
            return
        for path in sorted(self.directory.glob("*.json")):
            if path.name.startswith("."):
                continue
            record = self._read(path)
            if record:
                yield self.name_of(path), path, record

    def name_of(self, path: Path) -> str:
        """The name whose file `path` is."""
        return path.name.removesuffix(".json").replace("%", "/").replace("@", ":")

    def record_of(self, path: Path) -> dict[str, str]:
        """What the file of a name says: manifest digests by platform; nothing where it is damaged."""
        return self._read(path)

    def _path(self, name: str) -> Path:
        return self.directory / (name.replace("/", "%").replace(":", "@") + ".json")

    def _read(self, path: Path) -> dict[str, str]:
        """Digests by platform; none where there is no such name, or a power loss has left an empty file of it."""
        try:
            record = json.loads(path.read_bytes())
        except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
            return {}
        return {str(key): str(value) for key, value in record.items()} if isinstance(record, dict) else {}

    def _load(self, name: str, digest: Digest, path: Path) -> Image:
        manifest = Manifest.decode(self.blobs.read(digest))
        config = ImageConfig.decode(self.blobs.read(manifest.config.digest))
        size = sum(layer.size for layer in manifest.layers)
        return Image(name, manifest.config.digest, digest, config, size, path.stat().st_mtime)
