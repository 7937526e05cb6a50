"""Packed forms of layers: which blob a layer is in a registry, and which repositories are known to hold it.

    encodings/<diff ID>.json   a list of its forms

A layer is compressed once: the digest of what came out is remembered, so the next push asks a registry for it instead of
compressing. A layer may also be known without being here at all: then its forms say where it can be had.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corten.errors import FormatError
from corten.oci.digest import Digest
from corten.store.disk import explained, private_directory, write_atomically
from corten.store.locks import locked
from corten.values import asdict, dataclass, replace

_MOST_REPOSITORIES = 16
_MOST_FORMS = 12


@dataclass(frozen=True, slots=True)
class Encoding:
    """One packed form of a layer: a blob of `size` bytes. `compression` is `gzip`, `zstd` or `raw`; `maker` names the
    compressor that made it here, and is empty for one from elsewhere. `verified`: its bytes were seen to unpack to the
    layer; otherwise a registry has said so. `repositories` (`host/path`) hold it, the latest first."""

    compression: str
    digest: Digest
    size: int
    maker: str = ""
    verified: bool = False
    repositories: tuple[str, ...] = ()


class Encodings:
    """What is known of packed layers, by diff ID. What a power loss has damaged counts as unknown."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "encodings"

    def known(self, diff_id: Digest) -> tuple[Encoding, ...]:
        """The forms of a layer, the latest first."""
        try:
            value = json.loads(self._path(diff_id).read_bytes())
            return tuple(_decoded(item) for item in value)
        except (OSError, ValueError, TypeError, KeyError, FormatError, RecursionError):
            return ()

    def readable(self, value: Any) -> bool:
        """Whether `value`, out of a file, is a list of forms."""
        try:
            return isinstance(value, list) and all(_decoded(item) for item in value)
        except (ValueError, TypeError, KeyError, FormatError):
            return False

    def add(self, diff_id: Digest, encoding: Encoding) -> None:
        """Note a form, or that one that is known was made or verified here, or lies in more repositories."""
        with self._alone():
            forms = list(self.known(diff_id))
            same = next((form for form in forms if form.digest == encoding.digest), None)
            merged = encoding
            if same is not None:
                forms.remove(same)
                repositories = dict.fromkeys((*encoding.repositories, *same.repositories))
                merged = replace(
                    encoding,
                    # What was seen counts more than what a registry says.
                    compression=same.compression
                    if same.verified and not encoding.verified
                    else encoding.compression,
                    maker=encoding.maker or same.maker,
                    verified=encoding.verified or same.verified,
                    repositories=tuple(repositories)[:_MOST_REPOSITORIES],
                )
            if merged != same:
                self._write(diff_id, [merged, *forms][:_MOST_FORMS])

    def forget_place(self, diff_id: Digest, digest: Digest, repository: str) -> None:
        """Note that `repository` does not hold the blob `digest` any more."""
        with self._alone():
            forms = []
            for form in self.known(diff_id):
                if form.digest == digest:
                    left = tuple(name for name in form.repositories if name != repository)
                    form = replace(form, repositories=left)
                forms.append(form)
            self._write(diff_id, forms)

    def keep_only(self, diff_ids: Iterable[Digest]) -> None:
        """Forget what is known of every other layer."""
        if not self.directory.is_dir():
            return
        names = {f"{diff_id.hex}.json" for diff_id in diff_ids}
        for path in self.directory.iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _write(self, diff_id: Digest, forms: list[Encoding]) -> None:
        private_directory(self.directory)
        write_atomically(self._path(diff_id), json.dumps([asdict(form) for form in forms]).encode())

    def _path(self, diff_id: Digest) -> Path:
        return self.directory / f"{diff_id.hex}.json"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with explained(self.root), locked(self.root / "locks" / "encodings"):
            yield


def _decoded(value: dict[str, Any]) -> Encoding:
    return Encoding(
        compression=str(value["compression"]),
        digest=Digest.parse(value["digest"]),
        size=int(value["size"]),
        maker=str(value["maker"]),
        verified=bool(value["verified"]),
        repositories=tuple(str(name) for name in value["repositories"]),
    )
