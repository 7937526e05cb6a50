"""Packages that have no wheel for a target, only source: which source that is, and its wheel, for uv to find.

uv resolves with wheels alone, always. Where it says that a package has none that fits, the source that fits is built (by a `WheelBuilder`, in a
sandbox), its wheel is put into a folder, and uv is asked once more with that folder as a place for wheels. A project whose packages all have
wheels never comes here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from corten.errors import FetchError, ResolutionError
from corten.events import Note, Observer
from corten.lazy import regex
from corten.network.connection import local_path
from corten.oci.platform import Platform
from corten.packages.compatibility import Target, best
from corten.packages.fetch import Wanted as Fetched
from corten.packages.fetch import bring
from corten.packages.files import Sdist, Wheel
from corten.packages.http import Http
from corten.packages.indexes import Indexes
from corten.packages.locations import Locator
from corten.packages.repositories import commit_in
from corten.packages.requirements import normal_name
from corten.packages.simple import Listed
from corten.packages.sources import Recorded, Source, WheelBuilder
from corten.store.store import Store
from corten.values import dataclass

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

_ENDINGS = (".tar.gz", ".zip")
_MOST_OF_ONE = 5
_LARGEST_SDIST = 1 << 30
_MOMENT = regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}|$)")
_CLAUSE = r"(?:===|~=|[<>=!]=|[<>])\s?[A-Za-z0-9.*+!_-]+"


class ForeignSource(ResolutionError):
    """A wheel was built, for this machine's processor alone, and the target is another."""


@dataclass(frozen=True, slots=True)
class Built:
    """A wheel that was built from an sdist, and what a lock says of that."""

    sdist: Sdist
    requires: tuple[Wheel, ...]


class SourcePackages:
    """The sources of one resolution, built by `builder()`. `directory` is private, and lives as long as this. `before` are wheels that an earlier
    lock has from sources."""

    def __init__(
        self,
        store: Store,
        indexes: Indexes,
        locator: Locator,
        http: Http,
        directory: Path,
        observe: Observer,
        builder: WheelBuilder,
        before: Sequence[tuple[Wheel, Built]] = (),
    ) -> None:
        self._store, self._indexes, self._locator, self._http = store, indexes, locator, http
        self._observe, self._builder, self._before = observe, builder, before
        self.folder = directory / "built"
        self.built: dict[str, Built] = {}
        self._tried: dict[str, set[str]] = {}
        for wheel, built in before:
            place = store.files.path(wheel.sha256, "wheel")
            if place is not None:
                self._offer(wheel, built)

    @property
    def places(self) -> tuple[str, ...]:
        """Where uv finds the wheels; empty while there is none."""
        return (str(self.folder),) if self.built else ()

    def has(self, sha256: str) -> bool:
        """Whether this is a wheel that was built here."""
        return sha256 in self.built

    def is_commit(self, sha256: str) -> bool:
        """Whether a wheel was built here from the commit of a repository."""
        return sha256 in self.built and bool(commit_in(self.built[sha256].sdist.file))

    def allows(self, sha256: str, allowed: Sequence[str]) -> bool:
        """Whether a wheel that was built here comes from a source whose hash is among `allowed`."""
        return self.built[sha256].sdist.sha256 in allowed

    def answer(
        self,
        names: Iterable[str],
        lines: Iterable[str],
        said: str,
        target: Target,
        allowed: Mapping[str, Sequence[str]] | None = None,
    ) -> bool:
        """Build a version of each of `names`, of which uv `said` that there is no wheel, as `lines` ask for it. False where nothing new came of
        it. Raises BuildError, FetchError, ResolutionError, NoSandbox."""
        progress = False
        for name in names:
            chosen = self._choose(name, lines, said, target, allowed)
            if chosen is not None:
                self._build(name, *chosen, target)
                progress = True
        return progress

    def take(self, name: str, version: str, file: Listed, target: Target) -> Wheel:
        """The wheel of the source `file`, which a lock file has for a package. Raises as `answer`."""
        return self._build(name, version, file, target)

    def _choose(
        self,
        name: str,
        lines: Iterable[str],
        said: str,
        target: Target,
        allowed: Mapping[str, Sequence[str]] | None,
    ) -> tuple[str, Listed] | None:
        tried = self._tried.setdefault(name, set())
        if len(tried) >= _MOST_OF_ONE:
            return None
        files = self._locator.files_of(name)
        there = sdists_among(name, files)
        if allowed is not None:
            there = {version: file for version, file in there.items() if file.sha256 in allowed.get(name, ())}
        day = str(self._indexes.settings.get("exclude-newer") or "")
        left = {
            version: file
            for version, file in there.items()
            if str(version) not in tried and is_of_time(file, day)
        }
        # uv says of a package that versions contradict, too, that some have no wheel: what has one is not built for that.
        with_wheels = versions_with_wheels(files, target)
        left = {version: file for version, file in left.items() if version not in with_wheels}
        asked = specifiers_for(name, lines)
        for wanted in ([*asked, *specifiers_in(name, said)], asked):
            version = newest(left, wanted, target.python)
            if version is not None:
                tried.add(str(version))
                return str(version), left[version]
        return None

    def _build(self, name: str, version: str, file: Listed, target: Target) -> Wheel:
        fetched, sha256, size = self._fetch(name, file)
        recorded = next(
            (
                Recorded(wheel, built.requires, built.sdist.native)
                for wheel, built in self._before
                if built.sdist.sha256 == sha256
            ),
            None,
        )
        self._observe(Note(f"{name} {version} has no wheel that fits: one is built from its source"))
        made = self._builder.build(Source(name, version, sha256, fetched), recorded)
        check_target(made.wheel, target)
        sdist = Sdist(
            name,
            made.wheel.version,
            file.file,
            size,
            sha256,
            made.wheel.sha256,
            tuple(wheel.sha256 for wheel in made.requires),
            made.native,
            made.reproducible,
            made.marks,
        )
        self._offer(made.wheel, Built(sdist, made.requires))
        return made.wheel

    def _offer(self, wheel: Wheel, built: Built) -> None:
        place = self._store.files.path(wheel.sha256, "wheel")
        assert place is not None  # it was made just now, or looked for
        self.folder.mkdir(mode=0o700, exist_ok=True)
        import shutil

        # Not a link: uv may write to this folder, and never to the store's file.
        shutil.copyfile(place, self.folder / wheel.file)
        self.built[wheel.sha256] = built

    def _fetch(self, name: str, file: Listed) -> tuple[Path, str, int]:
        """Where the source lies now, its sha256 and its size."""
        path = local_path(file.url) if file.url.lower().startswith("file:") else None
        if path is not None and self._indexes.boundary is not None:
            self._indexes.boundary.permitted(path, "an index of the project")
        sha256 = file.sha256
        if sha256 is None:
            if path is None:
                raise FetchError(
                    f"the index gives no sha256 for '{file.file}'", hint="use an index that does, or a wheel"
                )
            with path.open("rb") as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        place = self._store.files.path(sha256, "sdist")
        if place is None:
            if file.size is not None and file.size > _LARGEST_SDIST:
                raise FetchError(f"the source of '{name}' has {file.size:,} bytes, which is more than 1 GB")
            size = -1 if file.size is None else file.size
            work = Fetched("sdist", file.file, sha256, size, lambda: (file.url,))
            bring(self._store, [work], self._observe, 1, self._http)
            place = self._store.files.path(sha256, "sdist")
        if place is None:
            raise FetchError("a fetched file has vanished from the store", hint="run the command again")
        return place, sha256, place.stat().st_size


def check_target(wheel: Wheel, target: Target) -> None:
    """Raises ForeignSource, ResolutionError where a wheel that was built does not run on `target`."""
    if best([wheel], target) is not None:
        return
    host = Platform.host()
    if target.platform != host:
        raise ForeignSource(
            f"'{wheel.name}' {wheel.version} has no wheel for {target.platform}, and its source, which is native code, can be built "
            f"for {host} alone on this machine",
            hint=f"lock on a machine of {target.platform}, or leave it out of `platforms`",
        )
    raise ResolutionError(
        f"'{wheel.name}' {wheel.version} was built into '{wheel.file}', which does not run on {target.platform} with Python "
        f"{target.minor}",
        hint="choose another version of it",
    )


def versions_with_wheels(files: Iterable[Listed], target: Target) -> set[Version]:
    """The versions of which one of `files` is a wheel that runs on `target`."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    found: set[Version] = set()
    for file in files:
        if not file.file.endswith(".whl"):
            continue
        try:
            version = parse_wheel_filename(file.file)[1]
        except (InvalidWheelFilename, ValueError):
            continue
        if version not in found and best([file], target) is not None:
            found.add(version)
    return found


def sdists_among(name: str, files: Iterable[Listed]) -> dict[Version, Listed]:
    """The sources of project `name` by version. Pure."""
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename

    found: dict[Version, Listed] = {}
    for file in files:
        if file.file.endswith(_ENDINGS) and not file.yanked:
            try:
                project, version = parse_sdist_filename(file.file)
            except InvalidSdistFilename:
                continue
            if project == normal_name(name) and (version not in found or file.file.endswith(".tar.gz")):
                found[version] = file
    return found


def specifiers_for(name: str, lines: Iterable[str]) -> list[SpecifierSet]:
    """What requirements say of the versions of `name`."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = []
    for line in lines:
        try:
            parsed = Requirement(line)
        except InvalidRequirement:
            continue
        if normal_name(parsed.name) == name and parsed.url is None:
            found.append(parsed.specifier)
    return found


def specifiers_in(name: str, said: str) -> list[SpecifierSet]:
    """What uv's explanation says that packages need of `name`."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    text = " ".join(said.split())
    pattern = rf"(?:depends? on|requires?|require) (?:[^.;]{{0,200}}? and )?{re.escape(name)}({_CLAUSE}(?:,\s?{_CLAUSE})*)"
    found = []
    for match in re.finditer(pattern, text):
        try:
            found.append(SpecifierSet(match[1].rstrip(".,")))
        except InvalidSpecifier:
            continue
    return found


def newest(files: Mapping[Version, Listed], wanted: Iterable[SpecifierSet], python: str) -> Version | None:
    """The newest version that all of `wanted` allow, a release before others."""
    fitting = [
        version
        for version, file in files.items()
        if all(specifier.contains(version, prereleases=True) for specifier in wanted)
        and _runs_on(file.requires_python, python)
    ]
    stable = [version for version in fitting if not version.is_prerelease]
    return max(stable or fitting, default=None)


def is_of_time(file: Listed, newest: str) -> bool:
    """Whether a file was uploaded by the time `newest`, uv's `exclude-newer`: a day, whose end counts, or a moment. One whose time is not known
    was."""
    if file.uploaded is None or not _MOMENT.match(newest):
        return True
    return file.uploaded[: len(newest)] <= newest if len(newest) == 10 else file.uploaded[:19] <= newest[:19]


def _runs_on(requires: str | None, python: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return not requires or SpecifierSet(requires).contains(python, prereleases=True)
    except InvalidSpecifier:
        return True
