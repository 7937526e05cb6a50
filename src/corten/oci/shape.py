"""What a layer's tree must look like, told from its entries or its tar stream, and how a tree on the disk differs from that.

The digest of a layer covers the bytes of its stream. It says nothing about a file that was added to the tree, and of modes and
owners only what the list of entries says. So a tree is compared with its list as well: kinds, modes, sizes, targets of links, owners.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import Literal

from corten.oci import tar
from corten.oci.placing import HIDES_BELOW, OPAQUE, WHITEOUT, clean
from corten.oci.tar_stream import Member
from corten.values import dataclass, replace

_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE, _HARD_LINK, _SYMBOLIC_LINK, _DIRECTORY = b"0125"

Kind = Literal["file", "directory", "symlink", "whiteout"]


@dataclass(frozen=True, slots=True)
class Node:
    """One path of a tree. `mode` and `owner` are None where nothing is said about them. `opaque`: the directory hides those of
    the layers below."""

    kind: Kind
    mode: int | None = None
    size: int = 0
    link: str = ""
    owner: tuple[int, int] | None = None
    opaque: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """`path` is not as it should be: `what` says how, as in `'usr/bin/x' <what>`."""

    path: str
    what: str


Shape = dict[str, Node]


def shape_of_entries(entries: Iterable[tar.Entry]) -> Shape:
    """The tree of a layer in Corten's own form."""
    kinds: dict[tar.Kind, Kind] = {"file": "file", "directory": "directory", "symlink": "symlink"}
    return {
        entry.path: Node(kinds[entry.kind], entry.mode, entry.size, entry.link)
        for entry in entries
        if entry.kind in kinds
    }


class ShapeOfStream:
    """The tree that the members of a stream give, as `corten.oci.placing` makes it. The stream is one that was placed before, so
    nothing is refused here."""

    def __init__(self, *, owners: bool) -> None:
        self.nodes: Shape = {}
        self._owners = owners

    def add(self, member: Member) -> None:
        """The next member."""
        path = os.fsdecode(clean(member.path))
        parent, _, name = path.rpartition("/")
        if name.startswith(os.fsdecode(WHITEOUT)):
            self._whiteout(parent, name)
        elif path and member.flag in (_FILE, _HARD_LINK, _SYMBOLIC_LINK, _DIRECTORY):
            self._parents(parent)
            self._place(path, member)

    def _place(self, path: str, member: Member) -> None:
        owner = (member.uid, member.gid) if self._owners else None
        before = self.nodes.get(path)
        if member.flag == _DIRECTORY:
            hidden = before is not None and (before.kind == "whiteout" or before.opaque)
            self.nodes[path] = Node("directory", member.mode & 0o1777 | 0o700, owner=owner, opaque=hidden)
        elif member.flag == _SYMBOLIC_LINK:
            self.nodes[path] = Node("symlink", link=os.fsdecode(member.link), owner=owner)
        elif member.flag == _HARD_LINK:
            found = self.nodes.get(os.fsdecode(clean(member.link)))
            if found is not None:
                self.nodes[path] = found
        else:
            self.nodes[path] = Node("file", member.mode & 0o1777 | 0o400, member.size, owner=owner)

    def _parents(self, path: str) -> None:
        node = self.nodes.get(path)
        if not path or (node is not None and node.kind == "directory"):
            return
        self._parents(path.rpartition("/")[0])
        self.nodes[path] = Node("directory", 0o755, opaque=node is not None)

    def _whiteout(self, parent: str, name: str) -> None:
        self._parents(parent)
        hidden = name[len(WHITEOUT) :]
        path = parent if name == os.fsdecode(OPAQUE) else f"{parent}/{hidden}" if parent else hidden
        node = self.nodes.get(path)
        if node is None and path:
            self.nodes[path] = Node("whiteout")
        elif node is not None and node.kind == "directory":
            self.nodes[path] = replace(node, opaque=True)


def differences(expected: Shape, tree: str, owner: int | None = None) -> Iterator[Difference]:
    """How the directory `tree` differs from `expected`, which is used up. `owner`: the user ID of everything whose owner is not
    expected. No link is followed. Raises OSError for what cannot be read."""
    root = os.open(tree, _ENTER)
    try:
        yield from _compared(root, "", expected, owner)
    finally:
        os.close(root)
    for path in sorted(expected):
        yield Difference(path, "is missing")


def _compared(directory: int, prefix: str, expected: Shape, owner: int | None) -> Iterator[Difference]:
    with os.scandir(directory) as listing:
        items = sorted(listing, key=lambda item: item.name)
    for item in items:
        path = prefix + item.name
        status = os.stat(item.name, dir_fd=directory, follow_symlinks=False)
        node = expected.pop(path, None)
        if node is None:
            yield Difference(path, "was added")
            continue
        what = _difference(node, status, item.name, directory, owner)
        if what:
            yield Difference(path, what)
        if node.kind == "directory" and stat.S_ISDIR(status.st_mode):
            inner = os.open(item.name, _ENTER, dir_fd=directory)
            try:
                if node.opaque and HIDES_BELOW not in os.listxattr(inner):
                    yield Difference(path, "shows what it should hide of the layers below")
                yield from _compared(inner, path + "/", expected, owner)
            finally:
                os.close(inner)


def _difference(
    node: Node, status: os.stat_result, name: str, directory: int, owner: int | None
) -> str | None:
    kind, mode = _kind(status), stat.S_IMODE(status.st_mode)
    if kind != node.kind:
        return f"is a {kind} and should be a {node.kind}"
    if kind == "symlink" and os.readlink(name, dir_fd=directory) != node.link:
        return "is a link to something else"
    if kind == "file" and status.st_size != node.size:
        return f"has {status.st_size} bytes and should have {node.size}"
    if kind in ("file", "directory") and node.mode is not None and mode != node.mode:
        return f"has the mode {mode:o} and should have {node.mode:o}"
    if node.owner is not None and (status.st_uid, status.st_gid) != node.owner:
        return (
            f"belongs to {status.st_uid}:{status.st_gid} and should belong to {node.owner[0]}:{node.owner[1]}"
        )
    if node.owner is None and owner is not None and status.st_uid != owner:
        return f"belongs to the user {status.st_uid} and should belong to {owner}"
    return None


def _kind(status: os.stat_result) -> str:
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    if stat.S_ISLNK(status.st_mode):
        return "symlink"
    return "whiteout" if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0 else "special file"
