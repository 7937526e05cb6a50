"""What programs wrote over an image's layers, as a layer: without what differs from one run to the next. The archive that it comes in is
hostile; nothing of it is extracted by its own names.

Left out: logs, what is only of use to dpkg and debconf, byte code, what a machine has for itself (machine IDs, host keys, a database cluster), backups, and
everything that only the tools of the sandbox have. The linker's cache is made anew, dates in shadow(5) and in Java's key store are set
to fixed ones, and nobody gains rights (set-user-ID bits).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corten.build.debian_linker import CACHE, write_cache
from corten.errors import BuildError, FormatError
from corten.lazy import regex
from corten.oci import tar
from corten.oci.digest import Digest
from corten.packages.debian.tree import Tree

_LEFT_OUT = regex(
    r"(?:dev|proc|sys|run|tmp|root|home|boot|mnt|media)(?:/|$)"
    r"|var/tmp/"
    r"|var/log/(?:.*/)?[^/]+\.(?:log|gz|old|err)$|var/log/(?:btmp|wtmp|lastlog|faillog|dmesg)$"
    r"|var/cache/(?:apt|debconf|ldconfig|man|dictionaries-common)(?:/|$)"
    r"|var/lib/texmf/.*\.log$"
    r"|var/lib/dpkg/(?!alternatives(?:/|$))"
    r"|var/lib/(?:apt|ucf|pam/seen|systemd/random-seed|dbus/machine-id)(?:/|$)"
    r"|etc/(?:machine-id|\.pwd\.lock|hostname|hosts|resolv\.conf|mtab|adduser[^/]*)$"
    r"|etc/(?:passwd|group|shadow|gshadow|subuid|subgid)-$"
    r"|var/lib/postgresql/.|etc/postgresql/."
    r"|etc/ssh/ssh_host_|etc/ssl/private/.|etc/ssl/certs/ssl-cert-snakeoil"
    r"|usr/sbin/policy-rc\.d$"
    r"|(?:.*/)?__pycache__(?:/|$)"
    r"|.*\.dpkg-(?:old|new|dist|tmp|bak)$"
    r"|usr/share/(?:man|info|locale|lintian|doc-base)/"
)
_PERSONAL = regex(r"etc/ssh/ssh_host_|etc/ssl/private/.|etc/ssl/certs/ssl-cert-snakeoil")
_SHADOWS = ("etc/shadow", "etc/gshadow")
_GIT = "etc/gitconfig"
_CACERTS = "etc/ssl/certs/java/cacerts"
_MOST_ENTRIES = 200_000
_LARGEST_KEYS = 16 << 20
_LAST_CHANGE = b"19000"


@dataclass(frozen=True)
class _Item:
    entry: tar.Entry
    uid: int
    gid: int


@dataclass(frozen=True)
class Captured:
    """The layer: its entries in order, and the directory `root` with the bytes of its files, each by its own path. `personal` are keys and
    certificates that were left out, because every machine has to have its own."""

    items: tuple[_Item, ...]
    root: Path
    personal: tuple[str, ...] = ()

    def stream(self) -> Iterator[bytes]:
        """The layer's tar stream, equal for equal entries and bytes."""
        for item in self.items:
            yield tar.header(item.entry, item.uid, item.gid)
            if item.entry.kind == "file" and item.entry.size:
                with (self.root / item.entry.path).open("rb") as file:
                    while piece := file.read(1 << 20):
                        yield piece
                yield bytes(-item.entry.size % 512)
        yield bytes(1024)

    def digest(self) -> Digest:
        """The diff ID."""
        sha256 = hashlib.sha256()
        for piece in self.stream():
            sha256.update(piece)
        return Digest.from_hex(sha256.hexdigest())


def capture(
    archive: Path,
    root: Path,
    lower: list[Path],
    tools: Path | None,
    *,
    owned: bool,
    spend: Callable[[int], None] | None = None,
) -> Captured:
    """Take what counts of `archive` into the empty directory `root`. `lower` are the image's layers below, `tools` the tree that only the
    sandbox had; `owned`: owners count, else all is root's. Raises FormatError for an archive that cannot be."""
    below = Tree(root, lower)
    beside = Tree(tools) if tools is not None else None
    items: dict[str, _Item] = {}
    personal: list[str] = []
    with tarfile.open(archive, "r:") as source:
        for count, member in enumerate(source):
            if count > _MOST_ENTRIES:
                raise FormatError("the scripts of Debian packages made too many files")
            path = _checked(member.name)
            if _LEFT_OUT.match(path):
                if _PERSONAL.match(path):
                    personal.append(path)
                elif path.startswith("var/lib/postgresql/") and "var/lib/postgresql" not in personal:
                    personal.append("var/lib/postgresql")  # a new cluster has an identity of its own
                continue
            hidden = _hidden(path)
            only_tools = (
                beside is not None and beside.added(hidden or path) and not _is_below(lower, hidden or path)
            )
            if only_tools and not member.isdir():
                continue
            item = _item(member, path, owned)
            if item is None:
                continue
            if hidden is not None and not _is_below(lower, hidden):
                continue
            if item.entry.kind == "file" and hidden is None:
                _place(source, member, root, path, spend)
            items[path] = item
    _normalise(items, root)
    _relink(items, root, below, lower)
    return Captured(tuple(_ordered(_worth(items, lower, beside))), root, tuple(personal))


def _checked(name: str) -> str:
    parts = name.split("/")
    if not name.isprintable() or any(part in ("", ".", "..") for part in parts) or len(parts) > 100:
        raise FormatError(f"the scripts of Debian packages made a file that is refused: {name[:100]!r}")
    return name


def _hidden(path: str) -> str | None:
    """The path that a whiteout hides."""
    above, _, name = path.rpartition("/")
    if not name.startswith(".wh."):
        return None
    if name == ".wh..wh..opq":
        return above
    return f"{above}/{name[4:]}" if above else name[4:]


def _is_below(lower: list[Path], path: str) -> bool:
    return any(os.path.lexists(place / path) for place in lower)


def _item(member: tarfile.TarInfo, path: str, owned: bool) -> _Item | None:
    uid, gid = (member.uid, member.gid) if owned else (0, 0)
    if not (0 <= uid <= 0o7777777 and 0 <= gid <= 0o7777777):
        raise FormatError(f"'{path}' belongs to a user ID that is not valid")
    if member.isdir():
        return _Item(tar.Entry(path, "directory", member.mode & 0o1777), uid, gid)
    if member.issym():
        return _Item(tar.Entry(path, "symlink", 0o777, 0, member.linkname), uid, gid)
    if member.isreg():
        if _hidden(path) is not None:
            return _Item(tar.Entry(path, "file", 0o644), 0, 0)
        return _Item(tar.Entry(path, "file", member.mode & 0o1777, member.size), uid, gid)
    return None


def _place(
    source: tarfile.TarFile,
    member: tarfile.TarInfo,
    root: Path,
    path: str,
    spend: Callable[[int], None] | None,
) -> None:
    """The bytes of a file, below directories of Corten's own: `root` has no links yet."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    file = source.extractfile(member)
    assert file is not None
    if spend is not None:
        spend(member.size)
    with target.open("xb") as out:
        shutil.copyfileobj(file, out, 1 << 20)


def _normalise(items: dict[str, _Item], root: Path) -> None:
    for path in _SHADOWS:
        if path in items and items[path].entry.kind == "file":
            lines = [line.split(b":") for line in (root / path).read_bytes().splitlines()]
            for fields in lines:
                if path == "etc/shadow" and len(fields) > 2:
                    fields[2] = _LAST_CHANGE
            _rewrite(items, root, path, b"".join(b":".join(fields) + b"\n" for fields in lines))
    if _GIT in items and items[_GIT].entry.kind == "file":
        _rewrite(items, root, _GIT, _sorted_sections((root / _GIT).read_bytes()))
    if _CACERTS in items and items[_CACERTS].entry.kind == "file":
        if items[_CACERTS].entry.size > _LARGEST_KEYS:
            raise FormatError("Java's key store is too large")
        _rewrite(items, root, _CACERTS, fixed_keys((root / _CACERTS).read_bytes()))


def _sorted_sections(data: bytes) -> bytes:
    """A file of git's settings with each section's in order: git-lfs writes them in any."""
    sections: list[list[bytes]] = [[]]
    for line in data.splitlines():
        if line.startswith(b"["):
            sections.append([])
        sections[-1].append(line)
    lines = [line for section in sections for line in [*section[:1], *sorted(section[1:])]]
    return b"".join(line + b"\n" for line in lines)


def _rewrite(items: dict[str, _Item], root: Path, path: str, data: bytes) -> None:
    item = items[path]
    (root / path).write_bytes(data)
    entry = tar.Entry(path, "file", item.entry.mode, len(data))
    items[path] = _Item(entry, item.uid, item.gid)


def fixed_keys(data: bytes, password: str = "changeit") -> bytes:  # noqa: S107  the one that everybody knows
    """A Java key store (JKS) of certificates in the order of their names, all of one date, signed anew. One of another form or
    with private keys is refused by BuildError: it would be another one in every build."""
    try:
        magic, version, count = struct.unpack_from(">III", data)
        if magic != 0xFEEDFEED or version != 2 or count > 10_000:
            raise ValueError
        at, entries = 12, []
        for _ in range(count):
            (kind,) = struct.unpack_from(">I", data, at)
            alias, at = _text(data, at + 4)
            if kind != 2:
                raise ValueError
            form, at = _text(data, at + 8)
            (size,) = struct.unpack_from(">I", data, at)
            certificate = data[at + 4 : at + 4 + size]
            at += 4 + size
            entries.append((alias, form, certificate))
        if len(data) != at + 20:
            raise ValueError
    except (struct.error, ValueError) as error:
        raise BuildError(
            "Java's key store has a format that Corten cannot make reproducible",
            hint="leave ca-certificates-java out of `system`",
        ) from error
    body = bytearray(struct.pack(">III", magic, version, count))
    for alias, form, certificate in sorted(entries):
        body += struct.pack(">I", 2) + struct.pack(">H", len(alias)) + alias
        body += struct.pack(">Q", tar.EPOCH * 1000) + struct.pack(">H", len(form)) + form
        body += struct.pack(">I", len(certificate)) + certificate
    # The form's own: a hash of the password, of these words and of all before (sun.security.provider.JavaKeyStore).
    seal = hashlib.sha1(
        password.encode("utf-16-be") + b"Mighty Aphrodite" + bytes(body), usedforsecurity=False
    )
    return bytes(body) + seal.digest()


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from(">H", data, at)
    if at + 2 + size > len(data):
        raise ValueError
    return data[at + 2 : at + 2 + size], at + 2 + size


def _relink(items: dict[str, _Item], root: Path, below: Tree, lower: list[Path]) -> None:
    """Make the symbolic links and the linker's cache, now that all files are there, and leave out alternatives to nothing."""
    items.pop(CACHE, None)
    (root / CACHE).unlink(missing_ok=True)
    for path, item in items.items():
        place = root / path
        if item.entry.kind == "directory":
            place.mkdir(parents=True, exist_ok=True)
        elif item.entry.kind == "symlink":
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(item.entry.link)
    for path, item in list(items.items()):
        if path.startswith("etc/alternatives/") and item.entry.kind == "symlink" and not below.exists(path):
            del items[path]
            (root / path).unlink()
    before = Tree(root, lower).read(CACHE)
    write_cache(below)
    if below.read(CACHE) == before:
        (root / CACHE).unlink(missing_ok=True)
    else:
        items[CACHE] = _Item(tar.Entry(CACHE, "file", 0o644, (root / CACHE).stat().st_size), 0, 0)


def _worth(items: dict[str, _Item], lower: list[Path], tools: Tree | None) -> list[_Item]:
    """Without directories that are as they were, unless something in them has changed."""
    needed: set[str] = set()
    for path, item in items.items():
        plain = item.entry.kind == "directory" and (
            _same(lower, path, item)
            or (tools is not None and tools.added(path) and not _is_below(lower, path))
        )
        if plain:
            continue
        while path and path not in needed:
            needed.add(path)
            path = path.rpartition("/")[0]
    return [item for path, item in items.items() if path in needed]


def _same(lower: list[Path], path: str, item: _Item) -> bool:
    for place in reversed(lower):
        try:
            status = os.lstat(place / path)
        except OSError:
            continue
        return (item.uid, item.gid) == (0, 0) and status.st_mode & 0o1777 == item.entry.mode
    return False


def _ordered(items: list[_Item]) -> list[_Item]:
    return sorted(items, key=lambda item: item.entry.path.encode().replace(b"/", b"\0"))
