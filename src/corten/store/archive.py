"""One deterministic tar stream of an image's parts: headers as in `corten.oci.tar`, nothing on disk in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from corten.oci import tar
from corten.values import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """A file of an archive at `path`, `size` bytes long; `pieces` gives its bytes. With a `link` it is a symbolic link
    instead."""

    path: str
    size: int = 0
    pieces: Callable[[], Iterable[bytes]] = tuple
    link: str = ""


def document(path: str, data: bytes) -> Part:
    """A small part that is in memory."""
    return Part(path, len(data), lambda: (data,))


def write_archive(parts: Iterable[Part], out: BinaryIO) -> None:
    """Write `parts` to `out` in their order, every folder before what is in it. Equal parts give equal bytes. Raises
    what their `pieces` raise; the stream then ends without its end mark."""
    made: set[str] = set()
    for part in parts:
        for parent in _parents(part.path):
            if parent not in made:
                made.add(parent)
                out.write(tar.header(tar.Entry(parent, "directory", 0o755)))
        if part.link:
            out.write(tar.header(tar.Entry(part.path, "symlink", 0o777, link=part.link)))
            continue
        out.write(tar.header(tar.Entry(part.path, "file", 0o644, part.size)))
        for piece in part.pieces():
            out.write(piece)
        out.write(bytes(-part.size % 512))
    out.write(bytes(1024))
    out.flush()


def _parents(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
