"""Images that come as files: OCI layouts in folders, OCI archives, and what `docker save` writes; packed or not.

An archive is read where it lies when it can be, and is put on the store's disk first when it comes through a pipe or is
compressed as a whole; never into memory. Everything is checked before anything gets a name: documents and blobs by their
digests, layers by their diff IDs.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from corten.errors import CortenError, FormatError, UsageError
from corten.events import Note, Observer, TaskAdvanced, TaskFinished, TaskStarted
from corten.oci import media
from corten.oci.archive import Archive, Members
from corten.oci.compression import decompressed
from corten.oci.digest import Digest
from corten.oci.layout import Folder
from corten.oci.platform import Platform
from corten.store.adopt import adopt
from corten.store.contents import Blob, Content, contents_of
from corten.store.disk import explained
from corten.store.images import Image
from corten.store.store import Store

_PIECE = 1 << 20
_AT_A_TIME = 4
_PACKED = {b"\x1f\x8b": media.LAYER_GZIP, b"\x28\xb5\x2f\xfd": media.LAYER_ZSTD}
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "unzip"}


def load(
    store: Store,
    source: BinaryIO | Path,
    title: str,
    observe: Observer,
    *,
    name: str | None = None,
    platforms: Sequence[Platform] = (),
) -> list[Image]:
    """Take the images in `source`, a layout's folder or an open archive, into the store under the names that they have
    there: all platforms, or `platforms` only. `name` is for an archive of one image. `title` stands for the source in
    messages and, where the archive tells a tag at most, its stem becomes the name. As with docker, a name stands for what was loaded
    alone then, not for what it was on other platforms. Returns every image under every name.

    Names are given when everything has arrived and was checked: after an error or a kill none has changed. Raises
    FormatError for what is damaged, incomplete or hostile, UsageError where a name or a platform is lacking, StoreError."""
    waiting = Note("waiting for 'corten prune' to end")
    with (
        store.lock("store", shared=True, waiting=lambda: observe(waiting)),
        explained(store.root),
        _members(store, source, title, observe) as members,
    ):
        contents = contents_of(members, name, platforms, observe)
        _receive_all(store, contents, observe)
        return _named(store, contents, observe)


@contextmanager
def _members(store: Store, source: BinaryIO | Path, title: str, observe: Observer) -> Iterator[Members]:
    if isinstance(source, Path):
        yield Folder(source)
        return
    in_place = stat.S_ISREG(os.fstat(source.fileno()).st_mode) and source.tell() == 0
    head = os.pread(source.fileno(), 8, 0) if in_place else b""
    if in_place and _packed_as(head, title) == media.LAYER:
        yield Archive(source, title)
        return
    with _spooled(store, source, title, observe) as plain:
        yield Archive(plain, title)


@contextmanager
def _spooled(store: Store, source: BinaryIO, title: str, observe: Observer) -> Iterator[BinaryIO]:
    """The plain archive on the store's disk, in a file that has no name: nothing is left of it, however we end."""
    with store.temporary_directory("load") as directory, open(directory / "archive", "xb+") as plain:
        os.unlink(directory / "archive")
        observe(TaskStarted("copy", title))
        head = source.read(_PIECE)
        media_type = _packed_as(head, title)
        try:
            for piece in store.headroom.watched(
                decompressed(_pieces(head, source), media_type, store.unpacking.archive)
            ):
                plain.write(piece)
                observe(TaskAdvanced("copy", title, len(piece)))
        except FormatError as error:
            raise FormatError(f"'{title}' cannot be read: {error.message}", error.hint) from error
        plain.flush()
        observe(TaskFinished("copy", title))
        yield plain


def _pieces(head: bytes, source: BinaryIO) -> Iterator[bytes]:
    piece = head
    while piece:
        yield piece
        piece = source.read(_PIECE)


def _packed_as(head: bytes, title: str) -> str:
    """The media type of a tar stream that begins with `head`. Raises UsageError for other compressions."""
    for magic, media_type in _PACKED.items():
        if head.startswith(magic):
            return media_type
    for magic, program in _OTHERS.items():
        if head.startswith(magic):
            raise UsageError(
                f"'{title}' is packed by another program than gzip or zstd",
                hint=f"unpack it with {program} first",
            )
    return media.LAYER


def _receive_all(store: Store, contents: Sequence[Content], observe: Observer) -> None:
    """Unpack the layers that the store lacks, several at a time, the largest first. The first failure ends them all."""
    lacking: dict[Digest, Blob] = {}
    for content in contents:
        for diff_id, blob in zip(content.config.diff_ids, content.layers, strict=True):
            if not store.layers.has(diff_id):
                lacking.setdefault(diff_id, blob)
    if not lacking:
        return
    store.sweep()
    stop = threading.Event()

    def job(diff_id: Digest, blob: Blob) -> None:
        try:
            _receive(store, diff_id, blob, observe, stop)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="load") as pool:
        ordered = sorted(lacking.items(), key=lambda item: -item[1].size)
        futures = [pool.submit(job, diff_id, blob) for diff_id, blob in ordered]
        try:
            failures = [error for future in futures if (error := future.exception())]
        except BaseException:
            stop.set()
            raise
    for error in sorted(failures, key=lambda error: isinstance(error, _Stopped)):
        raise error


class _Stopped(CortenError):
    """Another layer has failed, and its error is the one to tell."""


def _receive(store: Store, diff_id: Digest, blob: Blob, observe: Observer, stop: threading.Event) -> None:
    observe(TaskStarted("copy", diff_id.short, blob.size))
    try:
        with store.temporary_directory("load") as directory, blob.open() as file:
            packed = _checked(file, blob, diff_id, observe, stop)
            store.layers.receive(
                directory, decompressed(packed, blob.media_type, store.unpacking.layer), diff_id
            )
            for _ in packed:  # what an archive's end mark hides counts for the blob's digest
                pass
    except FormatError as error:
        raise FormatError(f"the layer '{blob.title}' cannot be taken: {error.message}", error.hint) from error
    observe(TaskFinished("copy", diff_id.short))


def _checked(
    file: BinaryIO, blob: Blob, diff_id: Digest, observe: Observer, stop: threading.Event
) -> Iterator[bytes]:
    """The blob's bytes. Raises FormatError at their end when they are not what its digest says."""
    hashing, size = hashlib.new(blob.digest.algorithm if blob.digest else "sha256"), 0
    while piece := file.read(_PIECE):
        if stop.is_set():
            raise _Stopped("stopped")
        if blob.digest:
            hashing.update(piece)
        size += len(piece)
        yield piece
        observe(TaskAdvanced("copy", diff_id.short, len(piece)))
    if size != blob.size or (blob.digest and hashing.hexdigest() != blob.digest.hex):
        raise FormatError("its bytes are not those that its digest names")


def _named(store: Store, contents: Sequence[Content], observe: Observer) -> list[Image]:
    images = [_adopted(store, content, observe) for content in contents]
    wanted: dict[str, dict[Platform, Image]] = {}
    for content, image in zip(contents, images, strict=True):
        for name in content.names:
            wanted.setdefault(name, {})[image.config.platform] = image
    for name, found in wanted.items():
        before = store.images.present(name)
        gone = store.images.replace(name, {platform: image.digest for platform, image in found.items()})
        for platform, image in found.items():
            if platform in before and before[platform].id != image.id:
                observe(Note(f"'{name}' was '{before[platform].id.short}' until now"))
        if gone:
            observe(
                Note(
                    f"'{name}' stands for what was loaded now, and no longer for another image for {', '.join(gone)}"
                )
            )
    return [
        store.images.get(name, image.config.platform)
        for content, image in zip(contents, images, strict=True)
        for name in content.names
    ]


def _adopted(store: Store, content: Content, observe: Observer) -> Image:
    if not content.config.platform_told:
        title = content.names[0] if content.names else Digest.of(content.config_bytes).short
        observe(Note(f"'{title}' does not say its platform, and is taken for {content.config.platform}"))
    sizes = [store.layers.get(diff_id).size for diff_id in content.config.diff_ids]
    return adopt(store, content.config_bytes, [blob.annotations for blob in content.layers], sizes)
