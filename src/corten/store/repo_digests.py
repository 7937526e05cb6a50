"""Where images have been pushed to or pulled from: `HOST/PATH@DIGEST` by image ID, as `docker images --digests` has them.

repo-digests/<image ID>.json   a list of those texts, the latest first
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from corten.oci.digest import Digest
from corten.store.disk import explained, private_directory, write_atomically
from corten.store.locks import locked

_MOST = 32


class RepoDigests:
    """The digests that images have in registries. A pushed manifest is an encoding of an image: an image has several."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "repo-digests"

    def of(self, image_id: Digest) -> tuple[str, ...]:
        """Where the image with this ID is known to be."""
        try:
            value = json.loads(self._path(image_id).read_bytes())
        except (OSError, ValueError, RecursionError):
            return ()
        return tuple(str(item) for item in value) if isinstance(value, list) else ()

    def note(self, image_id: Digest, repo_digest: str) -> None:
        """Note that the image is at `repo_digest`."""
        with self._alone():
            known = self.of(image_id)
            if known[:1] != (repo_digest,):
                private_directory(self.directory)
                kept = list(dict.fromkeys((repo_digest, *known)))[:_MOST]
                write_atomically(self._path(image_id), json.dumps(kept).encode())

    def find(self, repo_digest: str) -> tuple[Digest, ...]:
        """The IDs of the images that are known to be at `repo_digest`: several for an index."""
        if not self.directory.is_dir():
            return ()
        names = (path.stem for path in sorted(self.directory.glob("*.json")) if not path.name.startswith("."))
        ids = (Digest.from_hex(name) for name in names)
        return tuple(image_id for image_id in ids if repo_digest in self.of(image_id))

    def keep_only(self, image_ids: Iterable[Digest]) -> None:
        """Forget what is known of every other image."""
        if not self.directory.is_dir():
            return
        names = {f"{image_id.hex}.json" for image_id in image_ids}
        for path in self.directory.iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _path(self, image_id: Digest) -> Path:
        return self.directory / f"{image_id.hex}.json"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with explained(self.root), locked(self.root / "locks" / "repo-digests"):
            yield
