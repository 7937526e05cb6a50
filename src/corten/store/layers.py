"""Unpacked layers.

    layers/<diff ID>/fs            the tree, mounted read-only by containers, never written again
    layers/<diff ID>/entries       the entries of its canonical tar, as JSON lines; or, for a layer made elsewhere,
    layers/<diff ID>/recipe        what its tar stream holds beside the files' bytes (`corten.oci.recipe`), and
    layers/<diff ID>/replaced      files of that stream that its later entries replaced
    layers/<diff ID>/layer.json    sizes, and the boot in which it was written
    layers/<diff ID>/synced        present once the tree is known to have reached the disk
    keys/<sha256 of an input key>  the diff ID that these inputs give

A layer becomes visible by one rename, when it is complete. Against a kill that is all it takes. Against power loss a layer
counts only if it was synced, or was written since the machine started (DECISIONS 32); one `syncfs` covers a whole build.
A layer of which a part is missing does not exist: it is made or fetched again, and takes the place of what is left.

A committed layer is read-only as far as modes go: its directory is 0500 and its own files are 0400. Below `fs` modes are those
of the image, because containers see them. There the kernel mounts it read-only, and `corten store check` finds changes.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corten.errors import FormatError, StoreError
from corten.lazy import regex
from corten.oci import tar
from corten.oci.digest import Digest
from corten.oci.recipe import replay
from corten.store.disk import (
    boot_identity,
    explained,
    private_directory,
    remove_tree,
    sync_file_system,
    write_atomically,
    write_privately,
)
from corten.values import dataclass

if TYPE_CHECKING:
    from corten.store.unpacking import Headroom

_HEX = regex(r"[0-9a-f]{64}|[0-9a-f]{128}")
_SEALED = 0o500
_LONGEST = 1024
"""Bytes of a `layer.json`."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A complete layer. `size` is that of its tar stream in bytes, `files` the number of its entries; `new` says that a
    `commit` has just added it."""

    diff_id: Digest
    size: int
    files: int
    new: bool = False


class Layers:
    """The unpacked layers of a store."""

    def __init__(self, root: Path, headroom: Callable[[], Headroom] | None = None) -> None:
        self.root = root
        self._headroom = headroom
        self.directory = root / "layers"
        self.keys = root / "keys"
        self._boot: str | None = None

    def find(self, key: str) -> Digest | None:
        """The diff ID that the inputs named by `key` gave, if that layer is here and complete."""
        try:
            text = self._key_path(key).read_text(errors="replace")
        except OSError:
            return None
        try:
            diff_id = Digest.parse(text.strip())
        except FormatError:  # what a power loss has left of it: the layer is made again
            return None
        return diff_id if self.has(diff_id) else None

    def remember(self, key: str, diff_id: Digest) -> None:
        """Note that `key` gives `diff_id`."""
        path = self._key_path(key)
        with explained(self.root):
            private_directory(path.parent)
            write_atomically(path, f"{diff_id}\n".encode())

    def has(self, diff_id: Digest) -> bool:
        """Whether the layer is here, complete, and safe from a power loss that has happened since."""
        place = f"{self.directory}/{diff_id.hex}"
        about = _about(place)
        if about is None or not _is_whole(place):
            return False
        boot = about.get("boot")
        return (bool(boot) and boot == self._boot_identity()) or os.path.lexists(f"{place}/synced")

    def tree(self, diff_id: Digest) -> Path:
        """The unpacked tree of a complete layer. It must not be changed. Raises StoreError when it is not here."""
        if not self.has(diff_id):
            raise StoreError(
                f"the layer '{diff_id.short}' is not in the store", hint="build or pull the image again"
            )
        return self.directory / diff_id.hex / "fs"

    def get(self, diff_id: Digest) -> Layer:
        """The layer's sizes. Raises StoreError when it is not here."""
        value = _about(f"{self.directory}/{diff_id.hex}")
        if value is None:
            raise StoreError(
                f"the layer '{diff_id.short}' is not in the store", hint="build or pull the image again"
            )
        return Layer(diff_id, value["size"], value["files"])

    def entries(self, diff_id: Digest) -> Iterator[tar.Entry]:
        """The layer's entries in the order of its tar stream."""
        self.get(diff_id)
        with open(
            self.directory / diff_id.hex / "entries", encoding="utf-8", errors="surrogateescape"
        ) as lines:
            yield from tar.decode_entries(lines)

    def stream(self, diff_id: Digest) -> Iterator[bytes]:
        """The layer's exact tar stream in pieces; it hashes to `diff_id`."""
        recipe = self.directory / diff_id.hex / "recipe"
        if recipe.exists():
            return replay(recipe, self.tree(diff_id))
        return tar.stream(self.entries(diff_id), self.tree(diff_id))

    def commit(
        self,
        temporary: Path,
        key: str | None,
        advance: Callable[[int], None] | None = None,
        *,
        open_below: str = "",
    ) -> Layer:
        """Turn `temporary`, a directory of this store that holds a finished tree in `fs`, into a layer and note that
        `key` gives it. Idempotent: an equal layer that is already here stays. `temporary` is gone afterwards. In a container everybody
        may write to what is in `open_below`, a path in the tree."""
        with explained(self.root):
            entries = tar.settle(temporary / "fs", open_below)
            diff_id, size = tar.digest(entries, temporary / "fs", advance)
            layer = Layer(diff_id, size, len(entries), new=not self.has(diff_id))
            if layer.new:
                write_privately(temporary / "entries", tar.encode_entries(entries), 0o400)
                self._finish(temporary, layer)
            remove_tree(temporary)
        if key is not None:
            self.remember(key, diff_id)
        return layer

    def receive(self, temporary: Path, pieces: Iterable[bytes], diff_id: Digest) -> Layer:
        """Unpack `pieces`, the plain tar stream of a layer made elsewhere, and keep it as `diff_id`: in one pass, hashed on the
        way, visible when it is whole and right. `temporary` is an empty directory of this store, gone afterwards, however
        this ends. Raises FormatError when the stream is not safe or not that layer, StoreError when it would fill the disk, and
        whatever `pieces` raises."""
        from corten.oci.unpack import unpack  # starting a container never needs it

        try:
            with explained(self.root):
                if self._headroom is not None:
                    pieces = self._headroom().watched(pieces)
                unpacked = unpack(pieces, temporary, diff_id.algorithm)
                if unpacked.diff_id != diff_id:
                    raise FormatError(
                        f"a layer should be '{diff_id}' when it is unpacked, and is '{unpacked.diff_id}'"
                    )
                layer = Layer(diff_id, unpacked.size, unpacked.entries, new=not self.has(diff_id))
                if layer.new:
                    self._finish(temporary, layer)
        finally:
            remove_tree(temporary)
        return layer

    def _finish(self, temporary: Path, layer: Layer) -> None:
        about = {"size": layer.size, "files": layer.files, "boot": self._boot_identity()}
        write_privately(temporary / "layer.json", json.dumps(about).encode(), 0o400)
        if not about["boot"]:  # a kernel that does not tell: the layer counts once it is on the disk
            sync_file_system(temporary)
            write_privately(temporary / "synced", b"", 0o400)
        self._place(temporary, layer.diff_id)

    def _place(self, temporary: Path, diff_id: Digest) -> None:
        # Programs of an image may be set-uid: other users of this machine must not start them from here.
        private_directory(self.directory)
        place = self.directory / diff_id.hex
        for _ in range(3):
            try:
                os.rename(temporary, place)
                os.chmod(place, _SEALED)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            if self.has(diff_id):
                return
            # What lies there was written before a power loss and never synced, or is a part of a layer: it makes way.
            with suppress(FileNotFoundError):
                self.remove(diff_id, self.root / "tmp")
        raise StoreError(f"the layer '{diff_id.short}' cannot be put into the store", hint="build again")

    def unsynced(self) -> list[Digest]:
        """The complete layers that are not known to have reached the disk. What was written before a power loss is not
        complete, and no flush makes it so."""
        return [
            diff_id
            for diff_id in self.all()
            if not (self.directory / diff_id.hex / "synced").exists() and self.has(diff_id)
        ]

    def mark_synced(self, diff_ids: list[Digest]) -> None:
        """Note that these layers have reached the disk (after `syncfs`)."""
        for diff_id in diff_ids:
            place = self.directory / diff_id.hex
            # Where another process does the same at this moment, one of them succeeds.
            with suppress(PermissionError, FileExistsError):
                os.chmod(place, 0o700)
                try:
                    write_privately(place / "synced", b"", 0o400)
                finally:
                    os.chmod(place, _SEALED)

    def all(self) -> list[Digest]:
        """Every layer here, and what is left of one."""
        if not self.directory.is_dir():
            return []
        names = (place.name for place in self.directory.iterdir())
        return sorted(Digest.from_hex(name) for name in names if _HEX.fullmatch(name))

    def remove(self, diff_id: Digest, trash: Path) -> None:
        """Take the layer out of the store by one rename into `trash`, then delete it. The caller holds the store's
        lock alone and has checked that nothing reaches the layer, or that it is none."""
        place = self.directory / diff_id.hex
        private_directory(trash)
        target = trash / f"layer-{diff_id.hex}-{os.urandom(4).hex()}"
        if not place.is_symlink():
            os.chmod(place, 0o700)  # moving a directory changes its '..'
        os.rename(place, target)
        remove_tree(target)

    def _key_path(self, key: str) -> Path:
        digits = Digest.of(key.encode()).hex
        return self.keys / digits[:2] / digits

    def _boot_identity(self) -> str:
        if self._boot is None:
            self._boot = boot_identity()
        return self._boot


def _about(place: str) -> dict[str, Any] | None:
    """What `layer.json` of the layer at `place` says; None where it is missing or damaged."""
    try:
        descriptor = os.open(f"{place}/layer.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            value = json.loads(os.read(descriptor, _LONGEST))
        finally:
            os.close(descriptor)
    except (OSError, ValueError, RecursionError):
        return None
    if isinstance(value, dict) and isinstance(value.get("size"), int) and isinstance(value.get("files"), int):
        return value
    return None


def _is_whole(place: str) -> bool:
    """Whether all parts of a layer are at `place`."""
    try:
        return stat.S_ISDIR(os.lstat(f"{place}/fs").st_mode) and any(
            os.path.lexists(f"{place}/{part}") for part in ("entries", "recipe")
        )
    except OSError:
        return False
