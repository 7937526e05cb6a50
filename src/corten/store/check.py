"""Checking a store: everything is hashed again, and what is damaged can be removed, so that it is made or fetched again.

Blobs and fetched files are hashed as they are, layers as their tar stream; a layer's tree is also compared with its list, which
finds what was added. Names, keys and notes are read and compared with each other. Checking holds the store's lock shared: builds
and containers go on. Removing holds it alone, and looks once more at each thing before it goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from corten.errors import CortenError, FormatError
from corten.events import Note, Observer, TaskAdvanced, TaskFinished, TaskStarted, ignore
from corten.lazy import regex
from corten.oci.digest import Digest
from corten.oci.shape import Difference, ShapeOfStream, differences, shape_of_entries
from corten.oci.tar_stream import TarStream
from corten.store.blobs import Blobs
from corten.store.disk import explained
from corten.store.locks import locked
from corten.store.merged import prune_merged
from corten.store.origins import KEY_DIGITS, Origins
from corten.store.store import Store
from corten.values import dataclass, field, replace

Kind = Literal["layer", "blob", "file", "image", "key", "encoding", "repo-digest", "registry-blob"]

_HEX = regex(r"[0-9a-f]{64}|[0-9a-f]{128}")
_PIECE = 1 << 20
_MOST_PATHS = 20
_TASK = "the store"
_DAMAGED = "is damaged"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the store that is not what it should be. `name` is its digest or name, `path` where it lies, `problem` what is
    wrong, as in `layer … <problem>`. `details` say more, for example which files of a layer differ. `origin` says where it came
    from and what uses it, `images` are the names of the images that do. `removable`: removing it makes the store well again, or lets a build or a pull do so."""

    kind: Kind
    name: str
    path: Path
    problem: str
    details: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    removable: bool = True
    removed: bool = False
    in_use: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at: numbers by kind, and the bytes that were hashed. `incomplete` layers are leftovers that do not count."""

    numbers: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    incomplete: tuple[Digest, ...] = ()
    findings: tuple[Finding, ...] = ()


def check(store: Store, observe: Observer = ignore, *, quick: bool = False, jobs: int = 0) -> Checked:
    """Look at everything in the store. With `quick` layers and files are not hashed: what is there is compared with lists, sizes
    and modes. Nothing is changed. Raises StoreError where the store cannot be used."""
    if not store.root.is_dir():
        return Checked()
    waiting = Note("waiting for 'corten prune' to end")
    with store.lock("store", shared=True, waiting=lambda: observe(waiting)), explained(store.root):
        return _Check(store, observe, quick).run(jobs or len(os.sched_getaffinity(0)))


def repair(
    store: Store,
    checked: Checked,
    in_use: Callable[[], Iterable[Digest]] = tuple,
    observe: Observer = ignore,
) -> Checked:
    """Remove what `checked` found damaged, and incomplete layers. What is right by now stays, and so do layers that are `in_use`
    by containers. Waits for running builds, and keeps new ones waiting. Returns the findings with what became of them; those that
    are right by now are left out."""
    if not checked.findings and not checked.incomplete:
        return checked
    waiting = Note("waiting for builds on this machine to end")
    with store.lock("store", waiting=lambda: observe(waiting)), explained(store.root):
        again = _Check(store, observe, quick=False)
        used = set(in_use())
        for diff_id in checked.incomplete:
            if (store.layers.directory / diff_id.hex).exists() and not store.layers.has(diff_id):
                store.layers.remove(diff_id, store.root / "tmp")
        findings = [_repaired(again, finding, used) for finding in checked.findings]
        if any(finding and finding.removed and finding.kind == "layer" for finding in findings):
            # Trees of hard links share their files with the layers.
            prune_merged(store)
        return replace(checked, findings=tuple(finding for finding in findings if finding))


def _repaired(again: _Check, finding: Finding, used: set[Digest]) -> Finding | None:
    store = again.store
    if not finding.removable:
        return finding
    found = again.once_more(finding)
    if found is None:
        return None
    if found.kind == "layer":
        diff_id = Digest.parse(found.name)
        if diff_id in used:
            return replace(found, in_use=True)
        store.layers.remove(diff_id, store.root / "tmp")
    elif found.kind == "registry-blob":
        with locked(store.root / "registry" / "locks" / "contents"):
            found.path.unlink(missing_ok=True)
    else:
        found.path.unlink(missing_ok=True)
    return replace(found, removed=True)


class _Check:
    def __init__(self, store: Store, observe: Observer, quick: bool) -> None:
        self.store, self.observe, self.quick = store, observe, quick
        self.origins = Origins(store)
        self.bytes = 0
        self._guard = threading.Lock()

    def run(self, jobs: int) -> Checked:
        store = self.store
        layers = store.layers.all()
        whole = [diff_id for diff_id in layers if store.layers.has(diff_id)]
        hashed: list[tuple[Kind, Path]] = [
            *(("blob", path) for folder in store.blobs.directories for path in _hashed_files(folder)),
            *(("file", path) for path in _hashed_files(store.files.directory)),
            *(
                ("registry-blob", path)
                for folder in Blobs(store.root / "registry").directories
                for path in _hashed_files(folder)
            ),
        ]
        keys, encodings = _hashed_files(store.layers.keys), _documents(store.encodings.directory)
        notes, images = _documents(store.repo_digests.directory), _documents(store.images.directory)
        self.observe(TaskStarted("verify", _TASK, self._total(whole, hashed)))
        with ThreadPoolExecutor(jobs, thread_name_prefix="check") as pool:
            pending = [pool.submit(self.layer, diff_id) for diff_id in whole]
            pending += [pool.submit(self.hashed, kind, path) for kind, path in hashed]
            found = [future.result() for future in pending]
        self.observe(TaskFinished("verify", _TASK))
        found += [self.key(path) for path in keys]
        found += [self.encoding(path) for path in encodings]
        found += [self.repo_digest(path) for path in notes]
        damaged = {finding.name for finding in found if finding}
        for path in images:
            found += self.image(path, damaged)
        numbers = {
            "layers": len(whole),
            "blobs": sum(kind == "blob" for kind, _ in hashed),
            "files": sum(kind == "file" for kind, _ in hashed),
            "images": len(images),
            "keys": len(keys),
            "encodings": len(encodings),
            "repo-digests": len(notes),
            "registry-blobs": sum(kind == "registry-blob" for kind, _ in hashed),
        }
        incomplete = tuple(diff_id for diff_id in layers if diff_id not in set(whole))
        return Checked(numbers, self.bytes, incomplete, tuple(finding for finding in found if finding))

    def once_more(self, finding: Finding) -> Finding | None:
        """What is wrong now with what was found."""
        path = finding.path
        if not path.exists() and not path.is_symlink():
            return None
        if finding.kind == "layer":
            return self.layer(Digest.parse(finding.name))
        if finding.kind in ("blob", "file", "registry-blob"):
            return self.hashed(finding.kind, path)
        if finding.kind == "image":
            return finding if not self.store.images.record_of(path) else None
        look = {"key": self.key, "encoding": self.encoding, "repo-digest": self.repo_digest}[finding.kind]
        return look(path)

    # One thing each.

    def layer(self, diff_id: Digest) -> Finding | None:
        place = self.store.layers.directory / diff_id.hex
        details: list[str] = []
        problem = ""
        try:
            size = self.store.layers.get(diff_id).size
            found, found_size, different = self._streamed(diff_id, place)
            details = _listed(different)
            if details:
                problem = "does not have the files that its list names"
            if found is not None and found != diff_id:
                problem = "has other contents than its digest says"
                details += _listed(Difference(path, "was written later") for path in _later(place))
            elif found is not None and found_size != size:
                problem = f"has {found_size} bytes, and 'layer.json' says {size}"
        except CortenError as error:
            problem = f"cannot be read: {error.message}"
        except OSError as error:
            problem = f"cannot be read: {(error.strerror or 'error').lower()}"
        if not problem:
            return None
        origin, images = self.origins.layer(diff_id), self.origins.images(diff_id)
        return Finding("layer", str(diff_id), place, problem, tuple(details), origin, images)

    def _streamed(self, diff_id: Digest, place: Path) -> tuple[Digest | None, int, list[Difference]]:
        """The digest and the size of the layer's stream, no digest where it is not hashed, and how its tree differs."""
        tree, owner = os.fspath(place / "fs"), os.stat(place).st_uid
        if not (place / "recipe").exists():
            shape = shape_of_entries(self.store.layers.entries(diff_id))
            different = list(differences(shape, tree, owner))
            if self.quick:
                return None, 0, different
            hashing, size = hashlib.new(diff_id.algorithm), 0
            try:
                for piece in self._pieces(diff_id):
                    hashing.update(piece)
                    size += len(piece)
            except FormatError:
                if not different:
                    raise
                return None, 0, different  # a file is missing, as the differences say
            return Digest.from_hex(hashing.hexdigest()), size, different
        if self.quick:
            return None, 0, []
        stream = TarStream(self._pieces(diff_id), diff_id.algorithm)
        shaped = ShapeOfStream(owners=owner == 0)
        while member := stream.next():
            for _ in stream.data(member.size):
                pass
            stream.padding(member.size)
            shaped.add(member)
        for _ in stream.tail():
            pass
        different = list(differences(shaped.nodes, tree, None if owner == 0 else owner))
        return Digest.from_hex(stream.digest), stream.size, different

    def _pieces(self, diff_id: Digest) -> Iterator[bytes]:
        for piece in self.store.layers.stream(diff_id):
            self._advance(len(piece))
            yield piece

    def hashed(self, kind: Kind, path: Path) -> Finding | None:
        """A file that is called by its own digest."""
        problem = ""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                size = os.fstat(descriptor).st_size
                if kind == "blob" or not self.quick:
                    hashing = hashlib.new(Digest.from_hex(path.name).algorithm)
                    while piece := file.read(_PIECE):
                        hashing.update(piece)
                        self._advance(len(piece))
                    if hashing.hexdigest() != path.name:
                        problem = "has other contents than its digest says"
                elif not size:
                    problem = "is empty"
        except FileNotFoundError:
            return None  # removed meanwhile, as the registry does
        except OSError as error:
            problem = f"cannot be read: {(error.strerror or 'error').lower()}"
        if not problem:
            return None
        digest = Digest.from_hex(path.name)
        if kind == "blob":
            return Finding(
                kind, str(digest), path, problem, (), self.origins.blob(digest), self.origins.images(digest)
            )
        origin = self.origins.file(digest, path) if kind == "file" else ()
        return Finding(kind, str(digest), path, problem, (), origin)

    def key(self, path: Path) -> Finding | None:
        """A key: it must lead to the layer that images say it gives. One whose layer is gone is harmless."""
        expected = self.origins.keys.get(path.name[:KEY_DIGITS])
        try:
            diff_id = Digest.parse(path.read_text(encoding="utf-8", errors="replace").strip())
        except (OSError, FormatError):
            return Finding("key", path.name, path, _DAMAGED)
        if expected is None or expected[0] == diff_id:
            return None
        problem = f"leads to '{diff_id.short}', and images have '{expected[0].short}' for it"
        return Finding("key", path.name, path, problem, (), expected[1])

    def encoding(self, path: Path) -> Finding | None:
        """What is known of packed forms of a layer."""
        return self._document("encoding", path, self.store.encodings.readable)

    def repo_digest(self, path: Path) -> Finding | None:
        """Where an image is known to be."""
        return self._document("repo-digest", path, lambda value: isinstance(value, list))

    def _document(self, kind: Kind, path: Path, readable: Callable[[Any], bool]) -> Finding | None:
        try:
            if _HEX.fullmatch(path.stem) and readable(json.loads(path.read_bytes())):
                return None
        except (OSError, ValueError, RecursionError):
            pass
        return Finding(kind, path.stem, path, _DAMAGED)

    def image(self, path: Path, damaged: set[str]) -> list[Finding]:
        """What a name lacks: its documents, or layers that nobody is known to have. What is there and `damaged` is another
        finding, which names the image."""
        name = self.store.images.name_of(path)
        record = self.store.images.record_of(path)
        if not record:
            return [Finding("image", name, path, _DAMAGED, (), (), (name,))]
        problems = [text for digest in record.values() for text in self.origins.lacking(digest, damaged)]
        return [
            Finding("image", name, path, text, (), (), (name,), removable=False)
            for text in dict.fromkeys(problems)
        ]

    def _advance(self, amount: int) -> None:
        with self._guard:
            self.bytes += amount
        self.observe(TaskAdvanced("verify", _TASK, amount))

    def _total(self, layers: Iterable[Digest], files: Iterable[tuple[Kind, Path]]) -> int:
        """The bytes that will be hashed."""
        total = 0
        for diff_id in () if self.quick else layers:
            with suppress(CortenError):
                total += self.store.layers.get(diff_id).size
        for kind, path in files:
            if kind == "blob" or not self.quick:
                with suppress(OSError):
                    total += path.lstat().st_size
        return total


def _hashed_files(directory: Path) -> list[Path]:
    """The files below `directory` that are called by a digest, but for downloads that have not ended."""
    return sorted(
        Path(parent, name)
        for parent, _, names in os.walk(directory)
        for name in names
        if _HEX.fullmatch(name)
    )


def _documents(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.json") if not path.name.startswith("."))


def _listed(found: Iterable[Difference]) -> list[str]:
    lines = [f"'{item.path}' {item.what}" for item in found]
    more = len(lines) - _MOST_PATHS
    return [*lines[:_MOST_PATHS], f"and {more} more"] if more > 0 else lines


def _later(place: Path) -> Iterator[str]:
    """The files of a layer that were written after it was committed: where somebody has changed one, this is it."""
    committed = os.stat(place / "layer.json").st_mtime_ns
    root = os.fspath(place / "fs")
    for parent, _, names, directory in os.fwalk(root):
        for name in names:
            if os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns > committed:
                yield f"{parent[len(root) + 1 :]}/{name}".lstrip("/")
