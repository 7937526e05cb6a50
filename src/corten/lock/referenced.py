"""Requirements that name a source instead of a package: a repository, an archive by its address or its path, a folder that must be built.

Each becomes a file in the store (the archive as it is, a repository's commit and a folder as a canonical tar), whose sha256 the lock has, and a
wheel that is built from it as from any source. A lock says no hosts: the file's name has the commit, and a mark by which the lock knows the
requirement that it was made for.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from corten.errors import FetchError, HashMismatch, ProjectError, ResolutionError
from corten.events import Note, Observer
from corten.lazy import regex
from corten.lock.references import holds, local_place, marker_of
from corten.network.addresses import origin
from corten.oci import tar
from corten.oci.inside import Inside
from corten.oci.zipped import DAMAGED, Guarded
from corten.packages.compatibility import Target
from corten.packages.files import Sdist, Wheel
from corten.packages.git import Git
from corten.packages.http import Http
from corten.packages.indexes import Indexes
from corten.packages.repositories import COMMIT, Repository, commit_in, repository_of, version_of
from corten.packages.requirements import Requirement, normal_name, parse_requirement, without_credentials
from corten.packages.sdists import Built, check_target
from corten.packages.sources import Recorded, Source, WheelBuilder
from corten.packages.uv_lines import bare_line
from corten.project.source_tree import copy_source
from corten.store.store import Store
from corten.values import dataclass, replace

_LARGEST = 512 << 20
_SCM = regex(rb"setuptools[-_]scm|hatch[-_]vcs|use_scm_version|flit[-_]scm|vcs[-_]versioning")
_METADATA = regex(r"[^/]+\.dist-info/METADATA")
_LARGEST_METADATA = 1 << 20
_MOST_FURTHER = 200
_ARCHIVE = regex(r"\.(?:tar\.gz|tgz|zip|tar\.bz2|tbz|tar\.xz|txz|tar)$", re.IGNORECASE)


def is_reference(item: Requirement) -> bool:
    """Whether a requirement names a source."""
    return item.kind in ("vcs", "archive", "path")


def is_remote(item: Requirement) -> bool:
    """Whether a reference leads to another machine."""
    location = (item.location or "").lower()
    return item.kind == "vcs" or ("://" in location and not location.startswith("file:"))


def mark_of(item: Requirement, root: Path) -> str:
    """What stands for where a requirement leads, in the names of a lock's files: another place, ref or folder has another mark."""
    place = without_credentials((item.location or "").partition("#")[0])
    if not is_remote(item):
        place = os.path.relpath(local_place(place), root)  # the same on every machine
    inner = re.search(r"#(?:.*&)?subdirectory=([^&]*)", item.location or "")
    return hashlib.sha256(f"{place}#{inner[1] if inner else ''}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Given:
    """A source as a file of the store."""

    file: str
    sha256: str
    size: int
    place: Path


class Fetcher:
    """Brings sources into the store."""

    def __init__(self, root: Path, store: Store, indexes: Callable[[], Indexes], observe: Observer) -> None:
        self._root, self._store, self._observe = root, store, observe
        self._read_indexes = indexes

    @cached_property
    def _indexes(self) -> Indexes:
        return self._read_indexes()

    def fetch(self, item: Requirement, commit: str = "", version: str = "") -> Given:
        """The source that `item` leads to; a repository at `commit` where that is given, which is `version` where only git's tags tell it. Raises ResolutionError, ProjectError, FetchError,
        NotConfirmed, HashMismatch."""
        if item.kind == "vcs":
            return self._repository(item, repository_of(item), commit, version)
        self._store.headroom.need()
        location, _, fragment = (item.location or "").partition("#")
        if item.kind == "archive" and "subdirectory=" in fragment:
            raise ResolutionError(
                f"{_at(item)}'{_shown(item)}' names a folder inside an archive, and Corten installs only whole archives",
                hint="name the repository instead: git+https://…@REF#subdirectory=FOLDER",
            )
        if "://" in location and not location.lower().startswith("file:"):
            return self._archive(item, self._downloaded(item, location))
        path = local_place(location)
        if self._indexes.boundary is not None:
            path = self._indexes.boundary.permitted(path, item.where or "the project")
        if item.kind == "path":
            return self._folder(item, path)
        return self._archive(item, _read(item, path))

    def _repository(self, item: Requirement, repository: Repository, commit: str, version: str) -> Given:
        indexes = self._checked(item, repository)
        login = None
        if repository.scheme != "ssh":
            login = indexes.logins.for_url(repository.url)
        wanted = commit or (repository.ref if COMMIT.fullmatch(repository.ref) else "")
        with self._store.temporary_directory("reference") as directory:
            tree = directory / "tree"
            for name in ("work", "tree", "tree/source"):
                (directory / name).mkdir()
            git = Git(indexes.environment, login, headroom=self._store.headroom)
            work = directory / "work"
            try:
                made = git.check_out(repository, wanted, tree / "source", work)
                if _asks_for_tags(tree / "source"):
                    found = version or version_of(git.described(repository, made.commit, work), made.commit)
                    _write_version(tree / "source", repository.name or "source", found)
            except FetchError as error:
                raise FetchError(indexes.redacted(error.message), hint=error.hint) from None
            for note in made.notes:
                self._observe(Note(note))
            name = repository.name or "source"
            return self._packed(tree, f"{name}-{made.commit}.{mark_of(item, self._root)}.tar", directory)

    def _checked(self, item: Requirement, repository: Repository) -> Indexes:
        """The indexes with the login that is written in the repository's address. Raises NotConfirmed for an address that only the user
        can name, ResolutionError for one over plain http."""
        raw = (item.location or "").partition("#")[0].partition("://")[2]
        user = raw.partition("/")[0].rpartition("@")[0]
        rest = repository.url.partition("://")[2].rpartition("@")[2]
        scheme = "https" if repository.scheme == "ssh" else repository.scheme
        address = f"{scheme}://{user + '@' if user and repository.scheme != 'ssh' else ''}{rest}"
        indexes = self._indexes.with_direct([address])
        if repository.scheme == "http" and origin(repository.url) not in indexes.named:
            raise ResolutionError(
                f"{_at(item)}the repository '{repository.url}' uses plain http, which anyone on the network path can change",
                hint=f"use git+https://…, or confirm the host: CORTEN_TRUST_INDEX=http://{rest.partition('/')[0]}",
            )
        return indexes

    def _downloaded(self, item: Requirement, address: str) -> bytes:
        indexes = self._indexes.with_direct([address])
        bare = indexes.direct[-1]
        # Some servers call an archive's own compression that of the transfer, and it would be taken off.
        try:
            return Http(indexes.network()).get(bare, limit=_LARGEST, headers={"Accept-Encoding": "identity"})
        except FetchError as error:
            place = f" in {item.where}" if item.where else ""
            raise FetchError(
                error.message, hint=error.hint or f"check the address of '{_shown(item)}'{place}"
            ) from error

    def _archive(self, item: Requirement, data: bytes) -> Given:
        sha256 = hashlib.sha256(data).hexdigest()
        allowed = _allowed(item)
        if allowed and sha256 not in allowed:
            raise HashMismatch(
                f"{_at(item)}'{_shown(item)}' has the sha256 {sha256}, which is not the one that the requirement allows",
                hint="find out why it has changed, then write the new hash",
            )
        ending = _ARCHIVE.search((item.location or "").partition("#")[0].partition("?")[0])
        name = item.name or _ARCHIVE.sub("", _shown(item)) or "source"
        name = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".-_")[:100] or "source"
        file = f"{name}.{mark_of(item, self._root)}{ending[0].lower() if ending else '.tar.gz'}"
        with self._store.temporary_directory("reference") as directory:
            place = directory / "archive"
            place.write_bytes(data)
            return self._kept(place, file, sha256, len(data))

    def _folder(self, item: Requirement, folder: Path) -> Given:
        """The files of a folder, without what tools leave there."""
        with self._store.temporary_directory("reference") as directory:
            tree = directory / "tree"
            (tree / "source").mkdir(parents=True)
            if not folder.is_dir():
                raise ProjectError(f"{_at(item)}there is no folder '{_shown(item)}'", hint="correct its path")
            copy_source(folder, tree / "source")
            name = item.name or folder.name
            name = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".-_")[:100] or "source"
            return self._packed(tree, f"{name}.{mark_of(item, self._root)}.tar", directory)

    def _packed(self, tree: Path, file: str, directory: Path) -> Given:
        """`tree` as a canonical tar: equal files give equal bytes."""
        sha256, size, place = hashlib.sha256(), 0, directory / "packed"
        with place.open("wb") as packed:
            for piece in tar.stream(tar.scan(tree), tree):
                sha256.update(piece)
                size += packed.write(piece)
        return self._kept(place, file, sha256.hexdigest(), size)

    def _kept(self, place: Path, file: str, sha256: str, size: int) -> Given:
        if self._store.files.path(sha256, "sdist") is None:
            self._store.files.add(place, sha256, "sdist")
        found = self._store.files.path(sha256, "sdist")
        assert found is not None  # it was put there just now
        return Given(file, sha256, size, found)


def _allowed(item: Requirement) -> set[str]:
    """The sha256 that a requirement allows its archive; empty where it says none."""
    if item.kind != "archive":
        return set()
    fragment = (item.location or "").partition("#")[2]
    written = re.search(r"(?:^|&)sha256=([0-9a-fA-F]{64})(?:&|$)", fragment)
    return {*item.hashes, *([written[1].lower()] if written else [])}


def _asks_for_tags(tree: Path) -> bool:
    """Whether the source takes its version from git's tags by a tool that takes it from PKG-INFO where there is no git."""
    if os.path.lexists(tree / "PKG-INFO"):
        return False
    texts = (_start(tree / name) for name in ("pyproject.toml", "setup.py", "setup.cfg"))
    return any(_SCM.search(text) for text in texts)


def _start(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(1 << 20)


def _write_version(tree: Path, name: str, version: str) -> None:
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with Inside(tree) as inside:
        inside.write("PKG-INFO", text.encode())


class References:
    """The references of one platform's lock, and their wheels. `before` are wheels that the last lock has from sources; `builder` builds. `folder`
    is private, and lives as long as this: the wheels lie there under their own names, for uv."""

    def __init__(
        self,
        root: Path,
        fetcher: Fetcher,
        store: Store,
        folder: Path,
        observe: Observer,
        builder: WheelBuilder | None,
        before: Sequence[tuple[Wheel, Built]] = (),
    ) -> None:
        self._root, self._fetcher, self._store = root, fetcher, store
        self.folder, self._observe, self._builder = folder, observe, builder
        self._before = {mark_in(built.sdist.file): (wheel, built) for wheel, built in before}
        self.built: dict[str, tuple[Wheel, Built]] = {}
        self._lines: dict[str, str] = {}
        self._origins: dict[str, tuple[Requirement, Wheel]] = {}
        self._further: list[Requirement] = []

    @property
    def all(self) -> tuple[tuple[Wheel, Built], ...]:
        """Every wheel that a reference led to, with what a lock says of it."""
        return tuple(self.built.values())

    def allowed(self, indexes: Indexes) -> Indexes:
        """`indexes`, under which the wheels in `folder` may be read."""
        if not self.built or indexes.boundary is None:
            return indexes
        return replace(indexes, boundary=indexes.boundary.also(self.folder))

    def line(self, item: Requirement, target: Target) -> str:
        """The line for uv of any requirement: a reference as the place of its wheel. Empty for one that does not hold on `target`."""
        if not is_reference(item):
            return bare_line(item)
        marker = marker_of(item)
        if marker and "extra" not in marker and not holds(marker, target):
            return ""
        wheel = self.wheel(item, target)
        extras = _extras(item)
        place = (self.folder / wheel.file).absolute().as_uri()
        line = bare_line(parse_requirement(f"{wheel.name}{extras} @ {place}", item.where))
        self._lines.setdefault(wheel.name, line)
        self._further += _references_in(self.folder / wheel.file, extras, target)
        return line

    def overrides(self, target: Target) -> tuple[str, ...]:
        """Lines for the references that the wheels themselves require, and what these require: they hold in the place of what is written there. What
        the project says of the same package goes before."""
        found: dict[str, str] = {}
        while self._further:
            item = self._further.pop(0)
            if len(found) > _MOST_FURTHER:
                raise ProjectError("sources require each other in a circle", hint="name wheels of them")
            if item.name not in found:
                line = self._lines.get(item.name) or self.line(item, target)
                if line:
                    found[item.name] = line
        return tuple(found[name] for name in sorted(found))

    def wheel(self, item: Requirement, target: Target) -> Wheel:
        """The wheel of a reference. Raises as `Fetcher.fetch` and as `WheelBuilder.build`."""
        mark = mark_of(item, self._root)
        if mark not in self.built:
            self.built[mark] = self._made(item, mark, target)
            self._link(self.built[mark][0])
        wheel = self.built[mark][0]
        if item.name and item.name != wheel.name:
            raise ProjectError(
                f"{_at(item)}'{item.name}' leads to a source of '{wheel.name}'", hint="correct the name"
            )
        check_target(wheel, target)
        first = self._origins.setdefault(wheel.name, (item, wheel))
        if first[1] != wheel:
            raise ProjectError(
                f"{_at(item)}'{wheel.name}' is required from two places; the other one is in {first[0].where or 'another requirement'}",
                hint="keep one of them",
            )
        return wheel

    def _made(self, item: Requirement, mark: str, target: Target) -> tuple[Wheel, Built]:
        before, allowed = self._before.get(mark), _allowed(item)
        if before is not None and allowed and before[1].sdist.sha256 not in allowed:
            before = None  # the requirement asks for another file now
        remote = item.kind == "vcs" or (
            "://" in (item.location or "") and not (item.location or "").lower().startswith("file:")
        )
        if remote and before is not None and self._store.files.path(before[0].sha256, "wheel") is not None:
            return before
        if self._builder is None:
            raise ResolutionError(
                f"{_at(item)}'{_shown(item)}' is source, and nothing builds sources here",
                hint="name a wheel, or a folder of wheels with --find-links",
            )
        given = (
            self._fetcher.fetch(item, commit_in(before[1].sdist.file), before[1].sdist.version)
            if before
            else self._fetcher.fetch(item)
        )
        recorded = None
        if before is not None and before[1].sdist.sha256 == given.sha256:
            recorded = Recorded(before[0], before[1].requires, before[1].sdist.native)
        elif before is not None and remote and item.kind != "vcs":
            self._observe(Note(f"'{_shown(item)}' has changed since it was locked"))
        self._observe(Note(f"'{_shown(item)}' is source: a wheel is built from it"))
        made = self._builder.build(
            Source(_named(item), "", given.sha256, given.place, _shown(item)), recorded
        )
        sdist = Sdist(
            made.wheel.name,
            made.wheel.version,
            given.file,
            given.size,
            given.sha256,
            made.wheel.sha256,
            tuple(wheel.sha256 for wheel in made.requires),
            made.native,
            made.reproducible,
            made.marks,
        )
        return made.wheel, Built(sdist, made.requires)

    def _link(self, wheel: Wheel) -> None:
        place = self._store.files.path(wheel.sha256, "wheel")
        assert place is not None  # it was made just now, or looked for
        target = self.folder / wheel.file
        target.unlink(missing_ok=True)
        try:
            os.link(place, target)
        except OSError:
            import shutil

            shutil.copyfile(place, target)


def _references_in(wheel: Path, extras: str = "", target: Target | None = None) -> list[Requirement]:
    """The references among what a wheel requires on `target` with `extras`; without a target, on any with any extra. Raises ProjectError."""
    names = ["", *(name for name in extras.strip("[]").split(",") if name)]
    try:
        with Guarded(wheel) as file, zipfile.ZipFile(file) as archive:
            inside = [info for info in archive.infolist() if _METADATA.fullmatch(info.filename)]
            text = b""
            if len(inside) == 1 and inside[0].file_size <= _LARGEST_METADATA:
                with archive.open(inside[0]) as member:
                    # Without a size `zipfile` unpacks all that is there, whatever the archive says of it.
                    text = member.read(_LARGEST_METADATA)
    except (*DAMAGED, OSError) as error:
        raise ProjectError(f"the wheel '{wheel.name}' is damaged", hint="build it again") from error
    found = []
    for line in text.decode("utf-8", "replace").partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        if key.lower() == "requires-dist" and "@" in value:
            item = parse_requirement(value.strip(), f"'{wheel.name}'")
            marker = marker_of(item)
            here = not marker or target is None or any(holds(marker, target, extra) for extra in names)
            if here and is_remote(item) and is_reference(item):
                found.append(item)
    return found


def rebuild_references(
    items: Iterable[Requirement],
    sdists: Sequence[Sdist],
    fetcher: Fetcher,
    store: Store,
    root: Path,
    rebuild: Callable[[Sequence[Sdist]], None],
) -> None:
    """Build those of a lock's wheels again that come from references and are not here: first those of the project (`items`), then those that
    these require. `rebuild` builds wheels of sources in the store. Raises as `bring_absent` and as `rebuild`."""
    left, pending = list(sdists), [item for item in items if is_reference(item)]
    while left and pending:
        marks = {mark_of(item, root) for item in pending}
        now = [sdist for sdist in left if mark_in(sdist.file) in marks]
        left = [sdist for sdist in left if sdist not in now]
        bring_absent(pending, now, fetcher, store, root)
        rebuild(now)
        places = [store.files.path(sdist.wheel, "wheel") for sdist in now]
        pending = [item for place in places if place is not None for item in _references_in(place)]


def bring_absent(
    items: Iterable[Requirement], sdists: Iterable[Sdist], fetcher: Fetcher, store: Store, root: Path
) -> None:
    """Put the sources of a lock that come from references into the store, where a wheel must be built again. Raises as `Fetcher.fetch`, and
    HashMismatch where a reference leads to something else now."""
    by_mark = {mark_of(item, root): item for item in items if is_reference(item)}
    for sdist in sdists:
        item = by_mark.get(mark_in(sdist.file))
        here = (store.files.path(sdist.wheel, "wheel"), store.files.path(sdist.sha256, "sdist"))
        if item is None or any(here):
            continue
        given = fetcher.fetch(item, commit_in(sdist.file), sdist.version)
        if given.sha256 != sdist.sha256:
            raise HashMismatch(
                f"'{_shown(item)}' is no longer the source that the lock was made from",
                hint=f"lock it again: corten lock --upgrade-package {sdist.name}",
            )


def of_lock(package: Mapping[str, Any]) -> Requirement | None:
    """The reference that a package of another tool's lock (in pylock.toml's form) is; None where it is none. Raises ProjectError."""
    name = normal_name(str(package.get("name")))
    where = "the lock file"
    vcs, directory, archive = (package.get(key) for key in ("vcs", "directory", "archive"))
    if isinstance(vcs, dict):
        inner = str(vcs.get("subdirectory") or "")
        url, commit = str(vcs.get("url") or vcs.get("git") or ""), str(vcs.get("commit-id") or "")
        if "git" in vcs:  # as uv.lock has it: `https://host/path?rev=main&subdirectory=x#COMMIT`
            url, _, commit = str(vcs["git"]).partition("#")
            url, _, query = url.partition("?")
            inner = dict(urllib.parse.parse_qsl(query)).get("subdirectory", inner)
        elif vcs.get("type") not in (None, "git"):
            url = f"{vcs['type']}+{url}"
        if not COMMIT.fullmatch(commit):
            raise ProjectError(
                f"the commit of '{name}' in {where} is not a commit's hash", hint="make the lock file again"
            )
        prefix = "" if "+" in url.partition("://")[0] else "git+"
        text = f"{name} @ {prefix}{url}@{commit}" + (f"#subdirectory={inner}" if inner else "")
        return parse_requirement(text, where)
    if isinstance(directory, dict):
        given = [directory.get(key) for key in ("path", "editable", "directory")]
        place = next((item for item in given if isinstance(item, str)), "")
        return parse_requirement(f"{name} @ {os.path.normpath(place or '.')}", where) if place else None
    if isinstance(archive, dict):
        place = str(archive.get("url") or archive.get("path") or "")
        hashes = archive.get("hashes")
        sha256 = str(hashes.get("sha256") or "") if isinstance(hashes, dict) else ""
        if place.partition("#")[0].endswith(".whl") or not place:
            return None
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ProjectError(f"'{name}' in {where} has no sha256", hint="make the lock file again")
        return parse_requirement(f"{name} @ {place.partition('#')[0]}#sha256={sha256}", where)
    return None


def mark_in(file: str) -> str:
    """The mark in the name of a lock's file."""
    match = re.fullmatch(r".*\.([0-9a-f]{16})(?:\.[a-z0-9]+){1,2}", file)
    return match[1] if match else file


def _extras(item: Requirement) -> str:
    text = item.written.partition("@")[0] if item.name else item.location or ""
    match = re.search(r"\[([^\[\]]*)\]\s*$", text.partition("#")[0].rstrip()) or re.search(
        r"\[([^\[\]]*)\]", text.partition("#egg=")[2]
    )
    names = (
        sorted({normal_name(name.strip()) for name in match[1].split(",") if name.strip()}) if match else []
    )
    return f"[{','.join(names)}]" if names else ""


def _named(item: Requirement) -> str:
    if item.name:
        return item.name
    egg = re.search(r"#(?:.*&)?egg=([A-Za-z0-9][A-Za-z0-9._-]*)", item.location or "")
    return normal_name(egg[1].rstrip("._-")) if egg else ""


def _read(item: Requirement, path: Path) -> bytes:
    from corten.project.regular import open_regular

    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ProjectError(
            f"{_at(item)}'{_shown(item)}' cannot be read: {reason}", hint="correct its path"
        ) from error
    if len(data) > _LARGEST:
        raise ProjectError(
            f"{_at(item)}'{_shown(item)}' is larger than {_LARGEST >> 20} MB", hint="make a wheel of it"
        )
    return data


def _shown(item: Requirement) -> str:
    bare = without_credentials((item.location or item.text).partition("#")[0].partition("?")[0])
    return (item.name or bare.rstrip("/").rsplit("/", 1)[-1])[:100]


def _at(item: Requirement) -> str:
    return f"{item.where}: " if item.where else ""
