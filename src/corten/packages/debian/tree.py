"""A directory tree that packages are unpacked into, perhaps above the trees of lower layers.

Every path is looked up as it will be in the container: through the symbolic links of this tree and of those below it, with
`/` at the tree's root. So `bin/sh` of an old package lands in `usr/bin/sh`, nothing can be written outside, and no
entry is made at or below a link of a lower layer. Modes are 0644 and 0755 (1777 for sticky directories), whatever the umask.

No path is handed to the kernel as a whole: every call is relative to the descriptor of a directory that was reached without
links (`corten.oci.inside`). So a mistake in the look-up is an error, and never a file of this machine.
"""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from corten.errors import BuildError, FormatError
from corten.oci.inside import Inside
from corten.packages.debian import deb, paragraph, relations
from corten.packages.debian.deb import Control, Member
from corten.store.disk import explained

_MOST_LINKS = 40
_LARGEST_READ = 64 << 20
_LONGEST = 2048

Keep = Callable[[str], bool]


class Tree:
    """The tree at `root`, which nobody else writes to, above `lower` trees (the lowest first). Its descriptors are closed when
    it is no longer used. `spend` hears the bytes that are written."""

    def __init__(
        self, root: Path, lower: Sequence[Path] = (), spend: Callable[[int], None] | None = None
    ) -> None:
        self.root = root
        self._spend = spend
        self._inside = Inside(root)
        self._lower = tuple(Inside(path) for path in reversed(lower))
        self._layers = (self._inside, *self._lower)
        for layer in self._layers:
            weakref.finalize(self, layer.close)
        self._resolved: dict[str, str] = {"": ""}
        self._owner: dict[str, Control] = {}

    # --- looking ---------------------------------------------------------------------------------------------

    def kind(self, path: str) -> str | None:
        """`file`, `directory`, `symlink`, or None for the entry at `path` itself, parents resolved."""
        real = self._real(path)
        return None if real is None else _kind(self._status(real))

    def exists(self, path: str) -> bool:
        """Whether `path` means something in the container."""
        return self._follow(path) is not None

    def added(self, path: str) -> bool:
        """Whether this layer itself, and not only one below, has an entry at `path`, without links on the way."""
        return self._inside.status(path) is not None

    def open(self, path: str) -> int | None:
        """A descriptor of the file that `path` means in the container, for reading; the caller closes it. None where there is
        no regular file."""
        real = self._follow(path)
        if real is None:
            return None
        for layer in self._layers:
            if (status := layer.status(real)) is not None:
                return layer.open(real) if stat.S_ISREG(status.st_mode) else None
        return None

    def read(self, path: str) -> bytes | None:
        """The bytes of the file that `path` means in the container, or None where there is none. Raises FormatError for one
        that is too large to be what it is read as: a record, a configuration, a certificate."""
        descriptor = self.open(path)
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(_LARGEST_READ + 1)
        if len(data) > _LARGEST_READ:
            raise FormatError(f"'/{path[:200].lstrip('/')}' is larger than {_LARGEST_READ} bytes")
        return data

    def listing(self, path: str) -> list[str]:
        """The sorted names in the directory that `path` means in the container; empty where there is none."""
        real = self._follow(path)
        names: set[str] = set()
        if real is not None:
            for layer in self._layers:
                status = layer.status(real)
                if status is not None and stat.S_ISDIR(status.st_mode):
                    names |= set(layer.listing(real))
        return sorted(names)

    def resolved(self, path: str) -> str | None:
        """The path, without links, of what `path` means in the container, or None where there is nothing."""
        return self._follow(path)

    # --- making ----------------------------------------------------------------------------------------------

    def directory(self, path: str, sticky: bool = False) -> None:
        """Make the directory `path`. Idempotent."""
        real = self._directory(path)
        if sticky:
            self._inside.chmod(real, 0o1777)

    def write(self, path: str, data: bytes, executable: bool = False) -> None:
        """Write a file of Corten's own, in place of what is there."""
        real = self._entry(path)
        self._remove(real)
        self._create(real, [data], executable)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link of Corten's own, in place of a file or link that is there."""
        real = self._entry(path)
        self._remove(real)
        self._inside.symlink(real, target)

    def remove_directory(self, path: str) -> None:
        """Remove the empty directory `path` of this tree, so that something else can take its place."""
        real = self._real(path)
        if real:
            self._inside.remove(real)
            # What was looked up through it has to be looked up again.
            self._resolved = {"": ""}

    def unpack(self, entries: deb.Entries, control: Control, keep: Keep) -> dict[str, str]:
        """Unpack a package, given by what `deb.contents` reads in it. Returns where its files landed, by the path in the package; for what was already there from
        a package that replaces this one, and for what `keep` refuses, there is no item. Raises FormatError, and
        BuildError when another package has the same path and neither replaces the other."""
        placed: dict[str, str] = {}
        with explained(self.root):
            for member, content in entries:
                if not member.path or not keep(member.path):
                    continue
                if member.kind == "directory":
                    self._directory(
                        member.path
                    )  # where there is a link to a directory, it stays, as with dpkg
                    continue
                real = self._entry(member.path)
                if self._give_way(real, member, control):
                    continue
                if member.kind == "file":
                    self._create(real, content(), member.executable)
                elif member.kind == "symlink":
                    self._inside.symlink(real, member.link)
                else:
                    self._hard_link(real, member, control)
                self._owner[real] = control
                if member.kind != "symlink":
                    placed[member.path] = real
        return placed

    def _hard_link(self, real: str, member: Member, control: Control) -> None:
        source = self._real(member.link)
        if source is None or self._owner.get(source) is not control or _kind(self._status(source)) != "file":
            raise FormatError(
                f"'{control.name}' has a link to '{member.link}', which it does not contain: '{member.path}'"
            )
        above, _, name = source.rpartition("/")
        parent, _, new = real.rpartition("/")
        # The second look-up may close what the first has opened.
        directory = os.dup(self._inside.directory(above))
        try:
            os.link(
                name,
                new,
                src_dir_fd=directory,
                dst_dir_fd=self._inside.directory(parent),
                follow_symlinks=False,
            )
        finally:
            os.close(directory)

    def _give_way(self, real: str, member: Member, control: Control) -> bool:
        """Settle who has `real`: True when what is there stays; otherwise it is gone, or was never there."""
        status = self._status(real)
        kind = _kind(status)
        if kind is None:
            return False
        if kind == "directory":
            if member.kind == "symlink":
                return True
            raise BuildError(
                f"'{control.name}' has a file where another package has a directory: '{member.path}'"
            )
        # The same link again, or one of those that merge /bin, /lib and /sbin into /usr: they are never moved.
        if kind == member.kind == "symlink" and ("/" not in real or self._readlink(real) == member.link):
            return True
        owner = self._owner.get(real) or self._lower_owner(real)
        if owner is not None and owner is not control and not _replaces(control, owner):
            if _replaces(owner, control):
                return True
            raise BuildError(
                f"the Debian packages '{owner.name}' and '{control.name}' both contain '/{member.path}'",
                hint="leave one of the two out of `system`",
            )
        self._remove(real)
        return False

    def _lower_owner(self, real: str) -> Control | None:
        """The package in a lower layer that has the file `real`, by the records that layers keep (dpkg's status.d)."""
        if self._inside.status(real) is not None:
            return None
        line_end = f"  {real}\n".encode()
        for name in self.listing("var/lib/dpkg/status.d"):
            if not name.endswith(".md5sums"):
                continue
            sums = self.read(f"var/lib/dpkg/status.d/{name}") or b""
            if line_end in sums:
                text = (self.read(f"var/lib/dpkg/status.d/{name.removesuffix('.md5sums')}") or b"").decode()
                return Control(text, paragraph.parse(text, "a package record"), {}, {})
        return None

    # --- paths -----------------------------------------------------------------------------------------------

    def _entry(self, path: str) -> str:
        """The resolved path of an entry to be made; its parents are made as needed."""
        head, _, name = path.rpartition("/")
        parent = self._directory(head)
        return f"{parent}/{name}" if parent else name

    def _directory(self, path: str) -> str:
        """The resolved path of the directory `path`, made in this tree where it is missing."""
        known = self._resolved.get(path)
        if known is not None:
            return known
        head, _, name = path.rpartition("/")
        real = self._step(self._directory(head), name, _Budget())
        self._resolved[path] = real
        return real

    def _step(self, parent: str, name: str, budget: _Budget) -> str:
        """The directory `name` in the resolved directory `parent`, through links, made where it is missing."""
        if name in ("", "."):
            return parent
        if name == "..":
            return parent.rpartition("/")[0]
        real = f"{parent}/{name}" if parent else name
        status = self._status(real)
        kind = _kind(status)
        if kind == "symlink":
            budget.spend(real)
            target = self._readlink(real)
            current = "" if target.startswith("/") else parent
            for part in target.split("/"):
                current = self._step(current, part, budget)
            return current
        if kind == "file":
            raise BuildError(f"a package needs a directory where there is a file: '/{real}'")
        self._make(real, status)
        return real

    def _make(self, real: str, status: os.stat_result | None) -> None:
        if len(real) > _LONGEST:  # through links it may become longer than any path in a package
            raise FormatError(f"the path '/{real[:200]}…' is too long")
        parent, _, name = real.rpartition("/")
        try:
            os.mkdir(name, 0o755, dir_fd=self._inside.directory(parent))
        except FileExistsError:
            return
        # A directory that a lower layer has too keeps its mode: the upper entry's counts.
        sticky = status is not None and status.st_mode & stat.S_ISVTX
        os.fchmod(self._inside.directory(real), 0o1777 if sticky else 0o755)

    def _real(self, path: str) -> str | None:
        """The resolved path of the entry `path` itself, or None where its parent does not exist. Makes nothing."""
        head, _, name = path.strip("/").rpartition("/")
        parent = self._follow(head)
        return None if parent is None else (f"{parent}/{name}" if parent else name)

    def _follow(self, path: str) -> str | None:
        """The resolved path of what `path` means, or None. Makes nothing."""
        budget = _Budget()
        pending = [part for part in path.split("/") if part][::-1]
        current = ""
        while pending:
            name = pending.pop()
            if name == ".":
                continue
            if name == "..":
                current = current.rpartition("/")[0]
                continue
            real = f"{current}/{name}" if current else name
            kind = _kind(self._status(real))
            if kind is None or (kind == "file" and pending):
                return None
            if kind == "symlink":
                budget.spend(real)
                target = self._readlink(real)
                if target.startswith("/"):
                    current = ""
                pending += [part for part in target.split("/") if part][::-1]
                continue
            current = real
        return current

    def _status(self, real: str) -> os.stat_result | None:
        for layer in self._layers:
            try:
                status = layer.status(real)
            except OSError as error:
                raise FormatError(f"'/{real[:200]}' cannot be a path: {error.strerror}") from error
            if status is not None:
                return status
        return None

    def _readlink(self, real: str) -> str:
        for layer in self._layers:
            if layer.status(real) is not None:
                return layer.readlink(real)
        raise AssertionError(real)  # `_status` has just seen it

    # --- bytes -----------------------------------------------------------------------------------------------

    def _remove(self, real: str) -> None:
        try:
            self._inside.unlink(real)
        except FileNotFoundError:
            return
        self._owner.pop(real, None)

    def _create(self, real: str, pieces: Iterable[bytes], executable: bool) -> None:
        descriptor = self._inside.create(real, 0o755 if executable else 0o644)
        try:
            for piece in pieces:
                if self._spend is not None:
                    self._spend(len(piece))
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)


class _Budget:
    """How many links one path may pass."""

    def __init__(self) -> None:
        self._left = _MOST_LINKS

    def spend(self, real: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise FormatError(f"too many symbolic links on the way to '/{real}'")


def _kind(status: os.stat_result | None) -> str | None:
    if status is None:
        return None
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(status.st_mode) else "file"


def _replaces(new: Control, old: Control) -> bool:
    """Whether `new` may take over files of `old` (Policy 7.6)."""
    field = new.fields.get("replaces", "")
    version = old.fields.get("version", "")
    return any(
        relation.name == old.name and relation.admits(version)
        for group in relations.parse(field, new.fields.get("architecture", ""))
        for relation in group
    )


def walk(root: Path) -> Iterator[str]:
    """The paths of all entries below `root`, relative and sorted. For tests and records."""
    for directory, names, files in os.walk(root):
        names.sort()
        base = os.path.relpath(directory, root)
        for name in sorted([*names, *files]):
            yield name if base == "." else f"{base}/{name}"
