"""From requirements to wheels for one target: exactly one file for every package, with its sha256 and size.

A first lock takes uv's whole answer. Later ones ask for versions alone, which reads no wheel and no folder, keep the files
that the last lock had for them, and look up only what is new: first the new packages by themselves, then everything
from uv's cache, however old that is. Only where the two do not agree are the indexes asked about all.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from corten.errors import BuildError, CortenError, HashMismatch, ProjectError, ResolutionError, listed
from corten.events import Note, Observer
from corten.lazy import regex
from corten.network.connection import local_path
from corten.packages.compatibility import Target, best, tags_of
from corten.packages.cpu_builds import SIBLINGS, TORCH, is_cuda, matching, without_cuda
from corten.packages.credentials import split_login
from corten.packages.explain import (
    LOOSEN,
    explain,
    lacking_wheels,
    missing_wheel,
    needs_another_python,
    not_built,
)
from corten.packages.fetch import fetch_wheels
from corten.packages.files import Wheel
from corten.packages.http import Http
from corten.packages.indexes import Indexes
from corten.packages.locations import Locator
from corten.packages.other_pythons import asked, other_python
from corten.packages.relaxing import Change, propose
from corten.packages.requirements import Requirement, normal_name
from corten.packages.sdists import Built, SourcePackages
from corten.packages.simple import Listed
from corten.packages.sources import WheelBuilder
from corten.packages.uv import Memory, Request, Uv, UvFailed
from corten.packages.uv_lines import refuse_uninstallable
from corten.store.store import Store
from corten.values import dataclass, field, replace

_RETRIED = 8
_SURVEYED = 300
_TORCH = TORCH
PREFER_CPU = "prefer-cpu"
"""A value of `gpu`: without CUDA where that can be had."""
_AS_THEY_COME = frozenset({"auto", "any", PREFER_CPU})
"""Values of `gpu` for which uv's first answer is the last one, unless CUDA comes along."""

_BACKEND = regex(r"cu[0-9]{2,3}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What wheels are asked for. `allowed` holds the hashes that the project pins, by name (`hashed`: a package without
    one is an error); `named` holds, by name, the requirements that the project itself writes; `scattered` says that
    single packages have indexes of their own, so that a package cannot be looked up by its name and version alone; `places` say where
    the project writes a package, by its name."""

    request: Request
    gpu: str = "auto"
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashed: bool = False
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scattered: bool = False
    places: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Found:
    """A wheel and where it was seen. `size` is None while unknown."""

    name: str
    version: str
    file: str
    sha256: str
    url: str
    size: int | None = None


class WheelResolver:
    """Resolves wheels over `indexes`. `directory` is empty, private, and lives as long as this. `builder` builds what has no wheel,
    `before` are the wheels that an earlier lock has from sources. `others` are Pythons that the project may have as well, the best first: where
    nothing can be had for the target's, OtherPython is raised with the one that helps."""

    def __init__(
        self,
        store: Store,
        indexes: Indexes,
        directory: Path,
        observe: Observer,
        builder: WheelBuilder | None = None,
        before: Sequence[tuple[Wheel, Built]] = (),
        others: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self._others = others
        self.store = store
        self.indexes = indexes
        self.observe = observe
        self.http = Http(indexes.network())
        self.uv = Uv(indexes, directory, store.cache_directory("uv"), observe)
        self.locator = Locator(store, indexes, self.http)
        self._told: set[str] = set()
        self.sources: SourcePackages | None = None
        if builder is not None:
            self.sources = SourcePackages(
                store, indexes, self.locator, self.http, directory, observe, builder, before
            )
            self._look_for_built()
        self._asked: tuple[Request, Memory, dict[str, str]] | None = None

    def resolve(
        self,
        wanted: Wanted,
        previous: Sequence[Wheel] = (),
        upgrade: bool = False,
        again: Sequence[str] = (),
        trying: bool = False,
    ) -> tuple[Wheel, ...]:
        """The wheels for `wanted`, sorted by name. Versions of `previous` hold as long as they can, but for those named in
        `again`, and all with `upgrade`. `trying`: a failure is no end, and no way out of it is looked for. Raises ResolutionError, FetchError, ProjectError."""
        if not wanted.request.lines:
            return ()
        kept = {wheel.name: wheel for wheel in previous if not upgrade and wheel.name not in again}
        preferences = {name: wheel.version for name, wheel in kept.items()}
        wanted = replace(wanted, request=replace(wanted.request, preferences=preferences))
        memory = Memory(without=tuple(again), anew=upgrade)
        try:
            return self._with_sources(wanted, kept, again, memory, trying)
        except UvFailed as error:
            failure = error
        if trying:
            raise explain(str(failure), wanted.request.target, lambda _: ())
        if not upgrade and "No solution found" in str(failure):
            try:  # what failed may have failed for an answer that was a few minutes old
                return self._with_sources(wanted, kept, again, Memory(anew=True))
            except UvFailed as error:
                failure = error
        undated = self._undated(wanted)
        if undated is not None and "No solution found" in str(failure):
            raise undated from None
        explained = explain(str(failure), wanted.request.target, self._survey)
        changes = self._proposed(wanted, str(failure)) if isinstance(explained, ResolutionError) else ()
        raise _with_proposal(explained, changes, wanted.places) from None

    def from_pylock(
        self, packages: Sequence[Mapping[str, Any]], target: Target, previous: Sequence[Wheel]
    ) -> tuple[Wheel, ...]:
        """The wheels for `target` among `packages`, which a lock file has for a project, in the form of pylock.toml's. Raises
        ResolutionError, FetchError."""
        found = [self._chosen(item, target) for item in packages]
        return self._complete(found, {wheel.sha256: wheel for wheel in previous})

    def _with_sources(
        self,
        wanted: Wanted,
        kept: Mapping[str, Wheel],
        again: Sequence[str],
        memory: Memory,
        trying: bool = False,
    ) -> tuple[Wheel, ...]:
        """`_resolved`, in which packages that have only source are built. Raises UvFailed."""
        while True:
            try:
                return self._resolved(wanted, kept, again, memory)
            except UvFailed as error:
                said, sources = str(error), self.sources
                names = lacking_wheels(said)
                if not trying:
                    self._look_elsewhere(wanted, said, names)
                if trying or sources is None or not names:
                    raise
                lines = (*wanted.request.lines, *wanted.request.constraints)
                allowed = wanted.allowed if wanted.hashed else None
                try:
                    answered = sources.answer(names, lines, said, wanted.request.target, allowed)
                except BuildError as failure:
                    cause = not_built(failure, wanted.request.target, self._survey)
                    if cause is None:
                        raise
                    raise _with_proposal(cause, self._proposed(wanted, said), wanted.places) from None
                if not answered:
                    raise
                self._look_for_built()

    def _look_elsewhere(self, wanted: Wanted, said: str, names: Sequence[str]) -> None:
        """Raises OtherPython where the requirements have wheels for another Python."""
        if self._others is None or not (names or needs_another_python(said)):
            return
        target = wanted.request.target
        lines = asked((*wanted.request.lines, *wanted.request.constraints), target)
        if not lines or (names and not lines.keys() & set(names)):
            return
        others, self._others = self._others, None  # once
        found = other_python(lines, names, self._listed, target, others())
        if found is not None:
            raise found

    def _listed(self, names: Sequence[str]) -> Mapping[str, Sequence[Listed]]:
        def files(name: str) -> Sequence[Listed]:
            try:
                return self.locator.files_of(name)
            except CortenError:
                return ()

        with ThreadPoolExecutor(16) as pool:
            return dict(zip(names, pool.map(files, names), strict=True))

    def _look_for_built(self) -> None:
        """Let uv find the wheels that were built."""
        if self.sources is not None and self.sources.places:
            links = (*self.indexes.find_links, *self.sources.places)
            self.uv.indexes = replace(self.indexes, find_links=tuple(dict.fromkeys(links)))
            self._asked = None

    def _chosen(self, item: Mapping[str, Any], target: Target) -> _Found:
        """As `_chosen`, and a wheel built from the package's source where it has no other."""
        try:
            return _chosen(item, target)
        except ResolutionError:
            name, version = normal_name(str(item.get("name"))), str(item.get("version", ""))
            sdist = item.get("sdist")
            file = _entry(sdist, name, version) if isinstance(sdist, dict) else None
            if self.sources is None or file is None:
                raise
        wheel = self.sources.take(name, version, Listed(file.file, file.url, file.sha256, file.size), target)
        return _Found(name, wheel.version, wheel.file, wheel.sha256, "", wheel.size)

    def _resolved(
        self, wanted: Wanted, kept: Mapping[str, Wheel], again: Sequence[str], memory: Memory
    ) -> tuple[Wheel, ...]:
        """Raises UvFailed."""
        same: dict[str, Wheel] = {}
        packages: list[dict[str, Any]] | None = None
        if not kept or wanted.hashed or wanted.allowed:
            request = wanted.request
            if wanted.gpu == PREFER_CPU:
                # Nearly always nothing of CUDA comes along, and this answer is the last one.
                packages = self.uv.packages(request, memory)
            if packages is None or _may_bring_cuda(str(item.get("name")) for item in packages):
                packages = None
                request = self._fitted(wanted, memory)
        else:
            settled = None if memory.anew else self._from_memory(wanted, kept, again)
            if settled is None:
                request = self._fitted(wanted, memory)
                settled = request, self._held(request, memory, self._pins(request, memory), kept), None
            request, pins, packages = settled
            same = {name: wheel for name, wheel in kept.items() if pins.get(name) == wheel.version}
            new = {name: pin for name, pin in pins.items() if name not in same}
            if not new:
                return _sorted(same.values())
            if packages is not None and not new.items() <= (_versions(packages) or {}).items():
                packages = None
            if packages is None and not wanted.scattered:
                request = _alone(request, new)
        if packages is None:
            packages = self.uv.packages(request, memory)
        choose = self._threaded if request.target.threaded else _chosen
        found = [
            choose(item, request.target)
            for item in packages
            if normal_name(str(item.get("name"))) not in same
        ]
        found = [self._pinned(item, wanted) for item in found]
        known = {wheel.sha256: wheel for wheel in kept.values()}
        return _sorted([*same.values(), *self._complete(found, known)])

    def _threaded(self, item: Mapping[str, Any], target: Target) -> _Found:
        """As `_chosen` for a free-threaded Python, of which uv resolves for the ordinary one and names that one's wheels."""
        if "archive" in item:
            return _chosen(item, target)
        name, version = normal_name(str(item.get("name"))), str(item.get("version", ""))
        wheels = [
            _Found(name, version, file.file, file.sha256, file.url, file.size)
            for file in self.locator.files_of(name)
            if file.sha256 and tags_of(file.file) and _parts(file.file)[1] == _plain(version)
        ]
        chosen = best(wheels, target)
        if chosen is None:
            raise missing_wheel(name, version, target, [file.file for file in wheels])
        return chosen

    def _from_memory(
        self, wanted: Wanted, kept: Mapping[str, Wheel], again: Sequence[str]
    ) -> tuple[Request, dict[str, str], list[dict[str, Any]] | None] | None:
        """The resolution in which everything is as it was, but for what the project names anew; of that also the packages, where
        one run of uv has told both. None when it is not so simple: something else would move, or uv's cache does not know
        enough."""
        fresh = sorted((wanted.named.keys() - kept.keys()) | set(again))
        found: dict[str, str] = {}
        packages: list[dict[str, Any]] | None = None
        try:
            if fresh:
                lines = tuple(line for name in fresh for line in wanted.named.get(name, (name,)))
                part = replace(wanted, request=replace(wanted.request, lines=lines))
                if wanted.scattered:
                    return None
                memory = Memory(without=tuple(fresh))
                packages = self.uv.packages(part.request, memory) if wanted.gpu in _AS_THEY_COME else None
                told = _versions(packages) if packages else None
                if told is None or (wanted.gpu == PREFER_CPU and _may_bring_cuda(told)):
                    told = packages = None
                found = self._pins(self._fitted(part, memory), memory) if told is None else told
            versions = {name: pin for name, pin in found.items() if "://" not in pin}
            request = replace(wanted.request, preferences={**wanted.request.preferences, **versions})
            memory = Memory(alone=True)
            request = self._fitted(replace(wanted, request=request), memory)
            pins = self._held(request, memory, self._pins(request, memory), kept)
        except (UvFailed, ResolutionError):
            return None
        settled = all(
            pin == (kept[name].version if name in kept else found.get(name)) or "://" in pin
            for name, pin in pins.items()
        )
        return (request, pins, packages) if settled else None

    def _fitted(self, wanted: Wanted, memory: Memory) -> Request:
        """The request with what `gpu` asks for. Raises UvFailed, ResolutionError, ProjectError."""
        if wanted.gpu in ("auto", "any"):
            return wanted.request
        if wanted.gpu == "none":
            return self._without_gpu(wanted.request, memory)
        if wanted.gpu == PREFER_CPU:
            return self._rather_without_gpu(wanted.request, memory)
        if not _BACKEND.fullmatch(wanted.gpu):
            raise ProjectError(
                f"'{wanted.gpu}' is not a value of `gpu`", hint="use auto, none or one such as cu126"
            )
        return replace(wanted.request, backend=wanted.gpu)

    def _held(
        self, request: Request, memory: Memory, pins: dict[str, str], kept: Mapping[str, Wheel]
    ) -> dict[str, str]:
        """`pins`, with the versions of `kept` wherever the project allows them. uv drops a preferred version when the first
        of several indexes has it for other platforms only, so what moved is asked for once more by name."""
        moved = [
            name
            for name, pin in pins.items()
            if name in kept and "://" not in pin and pin != kept[name].version
        ]
        held: tuple[str, ...] = ()
        for names in [moved, *([name] for name in moved[:_RETRIED] if len(moved) > 1)]:
            trial = (*held, *(f"{name}=={kept[name].version}" for name in names))
            if not names:
                break
            free = {name: version for name, version in request.preferences.items() if name not in names}
            asked = replace(request, constraints=(*request.constraints, *trial), preferences=free)
            try:
                pins = self._pins(asked, memory)
            except UvFailed:
                continue
            if names is moved:
                break
            held = trial
        return pins

    def _pins(self, request: Request, memory: Memory) -> dict[str, str]:
        """uv's answer to `request`; one that was asked for just now is not asked for again. Raises UvFailed."""
        if self._asked is not None and self._asked[0] is request and self._asked[1] == memory:
            return dict(self._asked[2])
        pins = self.uv.pins(request, memory)
        self._asked = (request, memory, pins)
        return dict(pins)

    def _without_gpu(self, request: Request, memory: Memory) -> Request:
        """`request` so that no CUDA comes with it: as it is where that is so, with CPU builds of torch from the project's own
        folders, or with uv's torch backend `cpu`. Raises ResolutionError when CUDA stays."""
        backed = replace(request, backend="cpu")
        if not _nvidia(self._pins(request, memory)):
            return request
        plain = {
            name: version
            for name, version in request.preferences.items()
            if name not in _TORCH and not _nvidia([name])
        }
        own = self._own_cpu_builds(request, memory)
        if own:
            trial = replace(request, preferences=plain, constraints=(*request.constraints, *own))
            try:
                if not _nvidia(self._pins(trial, memory)):
                    return trial
            except UvFailed:
                pass  # the project asks for another version than there is
        backed = replace(backed, preferences=plain)
        left = _nvidia(self._pins(backed, memory))
        if left:
            raise ResolutionError(
                f"`gpu` is none, but the project needs '{left[0]}'",
                hint="leave out what depends on it, or remove `gpu`",
            )
        return backed

    def _rather_without_gpu(self, request: Request, memory: Memory) -> Request:
        """`request` without CUDA where that can be had; else as it is, which is said. Raises UvFailed."""
        before = self._pins(request, memory)
        if not _may_bring_cuda(before):
            return request
        cuda, heavy = is_cuda(before), sorted(SIBLINGS.keys() & before.keys())
        fitted: Request | None = None
        after: dict[str, str] = {}
        reason = ""
        # Not every version has its sibling; then that package stays, and the others need not.
        for siblings in (SIBLINGS, {}) if heavy else (SIBLINGS,):
            lines = without_cuda(request.lines, siblings)
            try:
                fitted = self._without_gpu(replace(request, lines=lines, hasty=True), memory)
                after = self._pins(fitted, memory)
            except (UvFailed, CortenError) as error:
                fitted = None
                explained = (
                    explain(str(error), request.target, lambda _: ())
                    if isinstance(error, UvFailed)
                    else error
                )
                reason = reason or explained.message.partition("\n")[0].rstrip(":")
            else:
                break
        if fitted is None:
            self._tell(
                f"packages of CUDA come along, {listed(cuda or heavy)}: builds for CPUs cannot be had ({reason})"
            )
            return request
        both = [name for name in sorted(SIBLINGS) if name in after and SIBLINGS[name] in after]
        if both:
            self._tell(
                f"packages of CUDA come along, {listed(cuda or heavy)}: another package needs '{both[0]}', "
                f"for which '{SIBLINGS[both[0]]}' would stand"
            )
            return request
        chosen = [name for name, pin in after.items() if name not in before or pin != before[name]]
        if chosen:
            self._tell(f"builds for CPUs are taken, as this machine has no GPU: {listed(sorted(chosen))}")
        return replace(fitted, hasty=False)

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.observe(Note(text))

    def _own_cpu_builds(self, request: Request, memory: Memory) -> list[str]:
        """Pins of the `+cpu` builds that the configured folders and indexes have: of the versions that are resolved, else the
        newest."""
        from packaging.utils import parse_wheel_filename

        pins = self._pins(request, memory)
        files = [
            file.name
            for place in self.indexes.find_links
            if (path := local_path(place) if "://" in place else Path(place)) is not None and path.is_dir()
            for file in path.glob("*+cpu-*.whl")
        ]
        for name in sorted(_TORCH & pins.keys()):
            files += [file for file in self._survey(name) if "+cpu-" in file and file.endswith(".whl")]
        builds: dict[str, list[str]] = {}
        for file in files:
            if tags_of(file) and best([_Named(file)], request.target):
                name, version, _, _ = parse_wheel_filename(file)
                if name in _TORCH:
                    builds.setdefault(str(name), []).append(str(version))
        return matching(pins, builds)

    def _pinned(self, found: _Found, wanted: Wanted) -> _Found:
        """`found`, or the file of the same version whose hash the project allows. Raises HashMismatch when there is none."""
        allowed = wanted.allowed.get(found.name, ())
        if not allowed and not wanted.hashed:
            return found
        if not allowed and self.sources is not None and self.sources.is_commit(found.sha256):
            return found  # its name is a hash, and the lock has the sha256 of its files
        if not allowed:
            raise ProjectError(
                f"'{found.name}' has no hash in the requirements, while others have",
                hint=f"add '{found.name}=={found.version}' with its hashes, or take all hashes out",
            )
        if found.sha256 in allowed:
            return found
        if self.sources is not None and self.sources.has(found.sha256):
            if self.sources.allows(found.sha256, allowed):
                return found
            raise HashMismatch(
                f"the source of '{found.name}' {found.version} has no hash that the requirements allow",
                hint="recreate the requirements' hashes",
            )
        listed = [
            item
            for item in self.locator.files_of(found.name)
            if item.sha256 in allowed and item.file.endswith(".whl") and tags_of(item.file)
        ]
        chosen = best(
            [item for item in listed if _parts(item.file)[1] == _plain(found.version)], wanted.request.target
        )
        if chosen is None or chosen.sha256 is None:
            raise HashMismatch(
                f"no wheel of '{found.name}' {found.version} that runs on {wanted.request.target.platform} has a hash that the "
                "requirements allow",
                hint="recreate the requirements' hashes, for this platform too",
            )
        return replace(found, file=chosen.file, sha256=chosen.sha256, url=chosen.url, size=chosen.size)

    def _complete(self, found: Sequence[_Found], known: Mapping[str, Wheel]) -> tuple[Wheel, ...]:
        """Wheels with their sizes, which not every index says."""
        elsewhere = [item for item in found if self.sources is None or not self.sources.has(item.sha256)]
        for item in elsewhere:
            path = local_path(item.url) if item.url.lower().startswith("file:") else None
            if path is not None and self.indexes.boundary is not None:
                self.indexes.boundary.permitted(path, "an index of the project")
        with ThreadPoolExecutor(16) as pool:
            sizes = list(pool.map(lambda item: self._size(item, known), found))
        for item in elsewhere:
            self.locator.remember(item.sha256, item.url)
        return _sorted(
            Wheel(item.name, item.version, item.file, size, item.sha256)
            for item, size in zip(found, sizes, strict=True)
        )

    def _size(self, item: _Found, known: Mapping[str, Wheel]) -> int:
        if item.size is not None:
            return item.size
        if item.sha256 in known:
            return known[item.sha256].size
        cached = self.store.files.path(item.sha256, "wheel")
        if cached is not None:
            return cached.stat().st_size
        size = self.http.size(item.url)
        if size is not None:
            return size
        # A server that does not say how long a file is: it will be needed anyway.
        unsized = Wheel(item.name, item.version, item.file, -1, item.sha256)
        self.locator.remember(item.sha256, item.url)
        places = fetch_wheels(self.store, [unsized], self.indexes, self.observe, http=self.http)
        return places[item.sha256].stat().st_size

    def _proposed(self, wanted: Wanted, said: str) -> tuple[Change, ...]:
        """Which pins of the project would have to change, and to what, so that it can be resolved."""
        if wanted.hashed or "No solution found" not in said:
            return ()
        target = wanted.request.target

        def resolve(lines: Sequence[str], preferred: Mapping[str, str]) -> dict[str, str] | str:
            asked = replace(wanted.request, lines=tuple(lines), preferences=preferred)
            try:
                return self._pins(asked, Memory())
            except UvFailed as error:
                return str(error)

        def fitting(names: Sequence[str]) -> dict[str, list[str]]:
            with ThreadPoolExecutor(16) as pool:
                listed = list(pool.map(self._survey, names[:_SURVEYED]))
            return {
                name: sorted({_parts(file)[1] for file in files if best([_Named(file)], target) is not None})
                for name, files in zip(names, listed, strict=False)
                if files
            }

        try:
            return propose(wanted.request.lines, said, resolve, fitting)
        except CortenError:
            return ()

    def _undated(self, wanted: Wanted) -> ResolutionError | None:
        """What is wrong where versions are asked for as of a day, and the indexes do not say when files were uploaded."""
        day = str(self.indexes.settings.get("exclude-newer", "")).partition("T")[0]
        if not day:
            return None
        for name in sorted(wanted.named)[:_RETRIED]:
            try:
                files = self.locator.files_of(name)
            except CortenError:
                continue
            if files and not any(file.dated for file in files):
                return ResolutionError(
                    f"versions of {day} cannot be found: the index does not say when the files of '{name}' were uploaded",
                    hint="ask an index that says it (PEP 700; a mirror may leave it out), or pin the versions and leave out the day: "
                    "'corten lock --as-of now'",
                )
        return None

    def _survey(self, name: str) -> Sequence[str]:
        try:
            return [item.file for item in self.locator.files_of(name)]
        except CortenError:
            return ()


@dataclass(frozen=True, slots=True)
class _Named:
    file: str


def _may_bring_cuda(names: Iterable[str]) -> bool:
    """Whether packages for GPUs are among `names`, or such as have a sibling for CPUs."""
    normal = {normal_name(name) for name in names}
    # Older versions of xgboost bring nothing.
    return bool(is_cuda(normal)) or bool(SIBLINGS.keys() & normal - {"xgboost"})


def _versions(packages: Iterable[Mapping[str, Any]]) -> dict[str, str] | None:
    """The version of each package of a pylock.toml. None where one comes from an address instead of an index."""
    if any(not item.get("version") or "archive" in item for item in packages):
        return None
    return {normal_name(str(item.get("name"))): str(item["version"]) for item in packages}


def _alone(request: Request, pins: Mapping[str, str]) -> Request:
    """The request for exactly these packages."""
    lines = [f"{name} @ {pin}" if "://" in pin else f"{name}=={pin}" for name, pin in sorted(pins.items())]
    return replace(
        request, lines=tuple(lines), sources={}, constraints=(), overrides=(), alone=True, preferences={}
    )


def _chosen(item: Mapping[str, Any], target: Target) -> _Found:
    """The file of one package of a pylock.toml for `target`. Raises ResolutionError when none fits."""
    name = normal_name(str(item.get("name")))
    version = str(item.get("version", ""))
    for key, kind in (("vcs", "vcs"), ("directory", "path")):
        if key in item:
            refuse_uninstallable([Requirement(name, kind, name)])  # type: ignore[arg-type]
    archive = item.get("archive")
    if isinstance(archive, dict):
        file = _entry(archive, name, version)
        if file is None or not file.file.endswith(".whl"):
            refuse_uninstallable([Requirement(name, "archive", name)])
            raise ResolutionError(f"'{name}' has no sha256")
        return replace(file, version=version or _parts(file.file)[1])
    wheels = [entry for raw in item.get("wheels", ()) if (entry := _entry(raw, name, version)) is not None]
    chosen = best(wheels, target)
    if chosen is None:
        files = [entry.file for entry in wheels]
        raise missing_wheel(name, version, target, files)
    return chosen


def _entry(raw: Mapping[str, Any], name: str, version: str) -> _Found | None:
    hashes = raw.get("hashes")
    sha256 = hashes.get("sha256") if isinstance(hashes, dict) else None
    url = str(raw.get("url") or "")
    if not url and raw.get("path"):
        url = Path(str(raw["path"])).absolute().as_uri()
    bare, _ = split_login(url)
    file = str(raw.get("name") or urllib.parse.unquote(bare.split("#")[0].split("?")[0].rsplit("/", 1)[-1]))
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256) or "/" in file:
        return None
    size = raw.get("size")
    return _Found(name, version, file, sha256, bare.split("#")[0], size if isinstance(size, int) else None)


def _with_proposal(error: CortenError, changes: Sequence[Change], places: Mapping[str, str]) -> CortenError:
    """`error` with the lines to change in its hint."""
    if not changes:
        return error
    lines = [
        f"{change.line} in the place of {change.pin.line}"
        + (f" ({places[change.pin.name]})" if places.get(change.pin.name) else "")
        for change in changes
    ]
    hint = f"these versions can be had together: {'; '.join(lines)}"
    others = f". Otherwise {error.hint}" if error.hint and error.hint != LOOSEN else ""
    return ResolutionError(error.message, hint=hint + others)


def _nvidia(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith("nvidia-"))


def _parts(file: str) -> tuple[str, str]:
    from packaging.utils import parse_wheel_filename

    name, version, _, _ = parse_wheel_filename(file)
    return str(name), str(version)


def _plain(version: str) -> str:
    from packaging.version import Version

    return str(Version(version))


def _sorted(wheels: Iterable[Wheel]) -> tuple[Wheel, ...]:
    return tuple(sorted(wheels, key=lambda wheel: wheel.name))
