"""A layer from elsewhere: its tar stream is unpacked in one pass, hashed on the way, and what it takes to produce the same
stream again is noted.

The diff ID covers every byte of the stream, and a tar may be written in any of many ways. A stream in the form that Corten
writes itself (`corten.oci.tar`) needs a list of its entries; of any other the bytes that are no file's go to a recipe
(`corten.oci.recipe`). No stream is kept, and none is read twice: that the tree tells the stream is certain, because a file's
bytes never change once it is placed, and one that a later entry replaces is set aside.

The stream is hostile: `tar_stream` bounds what is read, `placing` where it goes. Its length is for the caller to bound.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from corten.errors import FormatError
from corten.oci import tar
from corten.oci.digest import Digest
from corten.oci.placing import ITS_OWN_FAULT, WHITEOUT, Placing, clean
from corten.oci.recipe import REPLACED, RecipeWriter
from corten.oci.tar_stream import BLOCK, Member, TarStream
from corten.values import dataclass

_FILE, _SYMBOLIC_LINK, _DIRECTORY = b"025"
_CANONICAL: dict[tuple[int, int], tar.Kind] = {
    (_FILE, 0o644): "file",
    (_FILE, 0o755): "file",
    (_DIRECTORY, 0o755): "directory",
    (_DIRECTORY, 0o1777): "directory",
    (_SYMBOLIC_LINK, 0o777): "symlink",
}
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What arrived: the digest and the size in bytes of the stream, and the number of its entries."""

    diff_id: Digest
    size: int
    entries: int


def unpack(pieces: Iterable[bytes], directory: Path, algorithm: str = "sha256") -> Unpacked:
    """Unpack a plain tar stream into `directory`, which is empty: the tree into `fs`, and beside it `entries`, or `recipe` and
    perhaps `replaced`. The caller compares the digest, which is by `algorithm`. Raises FormatError for a stream that is damaged or not safe; something
    of it may then be left in `directory`, and nowhere else."""
    tree = directory / "fs"
    tree.mkdir()
    os.chmod(tree, 0o755)
    stream = TarStream(pieces, algorithm)
    with Placing(tree, directory / REPLACED) as placing, _Ledger(directory) as ledger:
        try:
            while member := stream.next():
                _entry(member, stream, placing, ledger)
        except OSError as error:
            if error.errno in ITS_OWN_FAULT:
                raise FormatError(f"the layer has an entry that cannot be: {error.strerror}") from error
            raise
        ledger.end(stream.tail())
    return Unpacked(Digest.from_hex(stream.digest), stream.size, stream.entries)


def _entry(member: Member, stream: TarStream, placing: Placing, ledger: _Ledger) -> None:
    path = clean(member.path)
    if not member.size:
        if path:  # the root's own mode and owner are not for a layer to say
            placing.other(path, member)
        ledger.entry(member, path, placing)
    elif path and not path.rpartition(b"/")[2].startswith(WHITEOUT):
        placing.file(path, member, stream.data(member.size))
        ledger.file(member, path, stream.padding(member.size), placing)
    else:  # bytes of no file
        if path:
            placing.other(path, member)
        ledger.entry(member, path, placing)
        for part in stream.data(member.size):
            ledger.raw(part)
        ledger.raw(stream.padding(member.size))


class _Ledger:
    """Writes `entries` while the stream is canonical, and a recipe from where it is not."""

    def __init__(self, directory: Path) -> None:
        self._entries_path = directory / "entries"
        self._recipe_path = directory / "recipe"
        self._out = open(self._entries_path, "wb")  # noqa: SIM115 (closed at the end of the block)
        self._recipe: RecipeWriter | None = None
        self._batch: list[tar.Entry] = []
        self._last = b""
        self._parents: list[bytes] = [b""]

    def __enter__(self) -> _Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()

    def entry(self, member: Member, path: bytes, placing: Placing) -> None:
        """An entry without bytes, or whose bytes come as `raw`."""
        if not self._canonical(member, path):
            recipe = self._with_recipe()
            recipe.raw(member.raw)
            self._note_moved(recipe, placing)

    def file(self, member: Member, path: bytes, padding: bytes, placing: Placing) -> None:
        """A file that was placed, and what followed it."""
        whole = len(padding) == -member.size % BLOCK and not padding.strip(b"\0")
        if not whole or not self._canonical(member, path):
            recipe = self._with_recipe()
            recipe.raw(member.raw)
            self._note_moved(recipe, placing)
            recipe.file(path, member.size)
            recipe.raw(padding)

    def raw(self, data: bytes | memoryview) -> None:
        """Bytes of the stream that are in no file."""
        if data:
            self._with_recipe().raw(bytes(data))

    def end(self, tail: Iterator[bytes]) -> None:
        """The rest of the stream."""
        first = next(tail)
        second = next(tail, b"")
        if self._recipe is None and not second and first == bytes(1024):
            self._write_batch()
            return
        recipe = self._with_recipe()
        recipe.raw(first)
        recipe.raw(second)
        for piece in tail:
            recipe.raw(piece)
        recipe.end()

    def _canonical(self, member: Member, path: bytes) -> bool:
        """Whether this entry stands as Corten would write it here: then it is noted."""
        kind = _CANONICAL.get((member.flag, member.mode))
        if self._recipe is not None or kind is None or not path:
            return False
        # Components compare one by one (`tar.settle`): sorted so, no path comes twice.
        order = path.replace(b"/", b"\0")
        parent, _, name = path.rpartition(b"/")
        while self._parents[-1] != parent:
            if len(self._parents) == 1:
                return False
            self._parents.pop()
        if order <= self._last or name.startswith(WHITEOUT):
            return False
        try:
            entry = tar.Entry(path.decode(), kind, member.mode, member.size, member.link.decode())
        except UnicodeDecodeError:
            return False
        if tar.header(entry) != member.raw:
            return False
        self._last = order
        if kind == "directory":
            self._parents.append(path)
        self._batch.append(entry)
        if len(self._batch) >= _BATCH:
            self._write_batch()
        return True

    def _write_batch(self) -> None:
        self._out.write(tar.encode_entries(self._batch))
        self._batch = []

    def _with_recipe(self) -> RecipeWriter:
        """The recipe; the first time, with all that was canonical until here."""
        if self._recipe is None:
            self._write_batch()
            self._out.close()
            self._out = open(self._recipe_path, "wb")  # noqa: SIM115
            self._recipe = RecipeWriter(self._out)
            with open(self._entries_path, encoding="utf-8") as lines:
                for entry in tar.decode_entries(lines):
                    self._recipe.raw(tar.header(entry))
                    if entry.size:
                        self._recipe.file(entry.path.encode(), entry.size)
                        self._recipe.raw(bytes(-entry.size % 512))
            self._entries_path.unlink()
        return self._recipe

    @staticmethod
    def _note_moved(recipe: RecipeWriter, placing: Placing) -> None:
        for path, number in placing.moved:
            recipe.moved(path, number)
        placing.moved.clear()
