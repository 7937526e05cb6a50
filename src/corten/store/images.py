"""Named images: `images/<name>.json` says which manifest a name stands for on every platform it was made for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corten.errors import FormatError, ImageNotFound, UsageError
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Manifest
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.store.blobs import Blobs
from corten.store.disk import explained, write_atomically

# The familiar form of a reference: [host[:port]/]path[:tag] (distribution-spec, "Pulling manifests").
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?)/)?(?P<path>{_PATH}(?:/{_PATH})*)(?::(?P<tag>[\w][\w.-]{{0,127}}))?"
)


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


def full_name(name: str) -> str:
    """`name` with its tag, `latest` where it has none. Raises UsageError for what no registry would accept."""
    match = _NAME.fullmatch(name)
    if not match or len(name) > 255:
        raise UsageError(
            f"'{name[:100]}' is not an image name",
            hint="use lower-case letters, digits and separators, as in 'team/model:1.0'",
        )
    return name if match["tag"] else name + ":latest"


class Images:
    """The names of a store's images."""

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self.directory = root / "images"
        self.blobs = blobs

    def set(self, name: str, platform: Platform, digest: Digest) -> None:
        """Let `name` stand for the manifest `digest` on `platform`; its other platforms stay."""
        path = self._path(full_name(name))
        record = self._read(path) or {}
        with explained(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            write_atomically(
                path, json.dumps({**record, str(platform): str(digest)}, sort_keys=True).encode()
            )

    def get(self, name: str, platform: Platform | None = None) -> Image:
        """The image called `name`, or whose ID or digest begins with it (at least 6 digits), for `platform` or else
        this machine's, or the only one that it has. Raises ImageNotFound."""
        wanted = platform or Platform.host()
        found = self._by_name(name, wanted, platform is None) or self._by_digest(name)
        if found is None:
            known = sorted({image.name for image in self.all()})
            hint = f"known images: {', '.join(known[:8])}" if known else "build one with 'corten build'"
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

    def _by_digest(self, name: str) -> Image | None:
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
        return next(iter(found.values()), None)

    def all(self) -> list[Image]:
        """Every image under every name and platform, newest first."""
        images: list[Image] = []
        for name, path, record in self._records():
            images.extend(
                self._load(name, Digest.parse(digest), path) for _, digest in sorted(record.items())
            )
        return sorted(images, key=lambda image: -image.written)

    def remove(self, name: str) -> list[str]:
        """Forget a name, or every name of an image given by ID. Returns the names. Raises ImageNotFound."""
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
            self._path(other).unlink(missing_ok=True)
        return names

    def _records(self) -> Iterator[tuple[str, Path, dict[str, str]]]:
        if not self.directory.is_dir():
            return
        for path in sorted(self.directory.glob("*.json")):
            if path.name.startswith("."):
                continue
            record = self._read(path)
            if record:
                yield path.name.removesuffix(".json").replace("%", "/").replace("@", ":"), path, record

    def _path(self, name: str) -> Path:
        return self.directory / (name.replace("/", "%").replace(":", "@") + ".json")

    def _read(self, path: Path) -> dict[str, str] | None:
        try:
            record = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise FormatError(f"'{path}' is damaged", hint="remove it and build the image again") from error
        return {str(key): str(value) for key, value in record.items()}

    def _load(self, name: str, digest: Digest, path: Path) -> Image:
        manifest = Manifest.decode(self.blobs.read(digest))
        config = ImageConfig.decode(self.blobs.read(manifest.config.digest))
        size = sum(layer.size for layer in manifest.layers)
        return Image(name, manifest.config.digest, digest, config, size, path.stat().st_mtime)
