"""A tar archive of the user's, from what `tree_stream` sends and into it, as `docker cp -` has it."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from corten.errors import UsageError
from corten.runtime.tree_stream import LEFT_OUT, PARENT, TOP


def from_tree(stream: BinaryIO, output: BinaryIO, name: str) -> tuple[str, ...]:
    """Write what `send` wrote as an archive in which it is called `name`; with an empty name its contents alone. Returns what was
    left out. Raises OSError, tarfile.TarError."""
    left_out = []
    with (
        tarfile.open(fileobj=stream, mode="r|") as archive,
        tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as own,
    ):
        for member in archive:
            below = member.name.partition("/")[2]
            if LEFT_OUT in member.pax_headers:
                left_out.append(below or ".")
                continue
            place = "/".join(filter(None, (name, below)))
            if not place:
                continue
            member.name, member.pax_headers = place, {}
            if member.islnk():
                linked = member.linkname.partition("/")[2]
                member.linkname = "/".join(filter(None, (name, linked)))
            own.addfile(member, archive.extractfile(member) if member.isreg() else None)
    output.flush()
    return tuple(left_out)


def to_tree(archive: BinaryIO, output: BinaryIO) -> tuple[str, ...]:
    """Write an archive as `receive` reads it. Folders that it has no entry for are made where they are missing. Returns what was
    left out: everything but files, folders, links and FIFOs. Raises UsageError for what is no archive, or leads out of its
    folder."""
    left_out = []
    known: set[str] = set()
    try:
        source = tarfile.open(fileobj=archive, mode="r|*")  # noqa: SIM115
    except tarfile.TarError as error:
        raise UsageError(
            "standard input is no tar archive", hint="as in: tar c DIR | corten cp - NAME:/PATH"
        ) from error
    with source, tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as own:
        for member in source:
            name = _inside(member.name)
            if not name:
                continue
            if not (member.isreg() or member.isdir() or member.issym() or member.islnk() or member.isfifo()):
                left_out.append(name)
                continue
            for parent in _parents(name, known):
                own.addfile(parent)
            known.add(name)
            member.name, member.pax_headers = f"{TOP}/{name}", {}
            if member.islnk():
                member.linkname = f"{TOP}/{_inside(member.linkname)}"
            if member.isreg():
                member.type = tarfile.REGTYPE
            own.addfile(member, source.extractfile(member) if member.isreg() else None)
    return tuple(left_out)


def _inside(name: str) -> str:
    """`name` below the folder that an archive is unpacked into. Raises UsageError where it leads out of that."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageError(
            f"the archive names '{name[:80]}', which leads out of it", hint="pack it without '..'"
        )
    return "/".join(parts)


def _parents(name: str, known: set[str]) -> Iterator[tarfile.TarInfo]:
    folder, missing = os.path.dirname(name), []
    while folder and folder not in known:
        missing.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(missing):
        known.add(folder)
        entry = tarfile.TarInfo(f"{TOP}/{folder}")
        entry.type, entry.mode, entry.pax_headers = tarfile.DIRTYPE, 0o755, {PARENT: "1"}
        yield entry
