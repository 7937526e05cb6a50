"""From a folder to images in the store: load, scan, lock when needed, build. What `build`, `run` and `up` share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from corten.build.build import Built, build
from corten.build.findings import examine
from corten.build.job import BuildOptions
from corten.build.sources import stamps
from corten.cli.building_notes import tell_findings, tell_implied, tell_left_out, tell_pointers
from corten.errors import LockOutdated, UsageError
from corten.events import Note, Observer, Warned, ignore, once
from corten.lock.format import LOCK_NAME, read_lock, write_lock
from corten.lock.inputs import inputs_digest, open_imports
from corten.lock.model import Lock
from corten.lock.serving import serving_files
from corten.oci.platform import Platform
from corten.packages.files import STRICT, Accepted
from corten.project import interpreter
from corten.project.files import scan
from corten.project.load import load
from corten.project.model import Project
from corten.store.store import Store
from corten.values import dataclass, replace

if TYPE_CHECKING:
    from corten.lock.model import PlatformLock
    from corten.lock.sources import SourceBuilders
    from corten.oci.reference import Reference
    from corten.packages.files import Deb, PythonArchive, Sdist, Wheel
    from corten.packages.indexes import Indexes
    from corten.packages.sources import Resolve, WheelBuilder
    from corten.registry.client import RegistrySettings


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What a verb asks for. No platforms: this machine's. `offline`: a folder that files come from, instead of the
    network. `locked`: a lock that is missing or stale is an error. `cache_from`: images in registries whose layers need not
    be made. `insecure`: registries may speak plain http and have certificates that nobody vouches for. `accepted`: what of
    Debian's archive is not refused. `in_passing`: another command builds before it does its own work."""

    path: Path
    platforms: tuple[Platform, ...] = ()
    locked: bool = False
    offline: Path | None = None
    name: str | None = None
    without_models: bool = False
    jobs: int = 0
    cache_from: tuple[str, ...] = ()
    insecure: bool = False
    accepted: Accepted = STRICT
    in_passing: bool = False


def registries(insecure: bool = False, observe: Observer = ignore) -> Callable[[], RegistrySettings]:
    """How this user's environment says that registries are reached, read when a registry is first needed. `observe` hears
    of credential helpers that fail."""

    def read() -> RegistrySettings:
        import os

        from corten.registry.client import settings_from

        return settings_from(os.environ, insecure, observe)

    return cache(read)


def build_project(request: BuildRequest, store: Store, observe: Observer) -> list[Built]:
    """Build the project at `request.path` for every platform asked for. Raises what its steps raise."""
    observe = once(observe)  # making the lock says something that the build says again
    project = load(request.path)
    for note in project.notes:
        observe(Note(note, verbose=True))
    platforms = request.platforms or (Platform.host(),)
    if request.offline is not None and request.cache_from:
        raise UsageError("--offline uses no network, and --cache-from asks a registry", hint="leave out one")
    reach = registries(request.insecure, observe)
    lock = current_lock(
        project,
        store,
        observe,
        platforms,
        locked=request.locked,
        offline=request.offline,
        reach=reach,
        accepted=request.accepted,
    )
    return build_locked(request, project, lock, platforms, store, observe, reach)


def build_locked(
    request: BuildRequest,
    project: Project,
    lock: Lock,
    platforms: Sequence[Platform],
    store: Store,
    observe: Observer,
    reach: Callable[[], RegistrySettings],
) -> list[Built]:
    """Build `project` with the packages of `lock`. Raises what its steps raise."""
    cache_from = _references(request.cache_from)
    files = scan(project, store.root)
    for path in files.stores:
        observe(Note(f"left out: '{path}', which is a store of Corten"))
    tell_left_out(project, files, observe)
    tell_pointers(project, files, observe, refuse=not request.without_models)
    if request.without_models and files.missing:
        more = f" and {len(files.missing) - 1} more" if len(files.missing) > 1 else ""
        observe(Note(f"the image is built without models that are not there yet: '{files.missing[0]}'{more}"))
    options = BuildOptions(
        name=request.name,
        without_models=request.without_models,
        server=serving_files() if lock.serving else (),
        jobs=request.jobs,
        cache_from=cache_from,
        registries=reach,
        offline=request.offline,
        accepted=request.accepted,
        in_passing=request.in_passing,
        stamps=stamps(files.code),
    )
    supply = _Supply(project, lock, store, observe, request.offline, request.accepted)
    built = build(project, files, lock, platforms, store, supply, observe, options)
    if any(not layer.reused for one in built for layer in one.layers):
        from corten.store.sync import sync_later

        sync_later(store)
    tell_findings(examine(project, files, store, options.stamps), observe)
    return built


def _references(texts: Sequence[str]) -> tuple[Reference, ...]:
    if not texts:
        return ()
    from corten.oci.reference import Reference

    return tuple(Reference.parse(text) for text in texts)


def current_lock(
    project: Project,
    store: Store,
    observe: Observer,
    platforms: Sequence[Platform],
    *,
    locked: bool,
    offline: Path | None,
    reach: Callable[[], RegistrySettings],
    accepted: Accepted = STRICT,
) -> Lock:
    """The project's lock, made or brought up to date first where it is missing or stale, but never with `locked`."""
    interpreter.check(project.unmet)
    if project.unmet is not None:
        observe(Warned(project.unmet.message, project.unmet.hint))
    path = project.root / LOCK_NAME
    lock = read_lock(path) if path.exists() else None
    wanted = {*project.platforms, *platforms}
    reason = None
    if lock is None:
        reason = f"there is no {LOCK_NAME} in '{project.root}'"
    elif lock.project != inputs_digest(project):
        reason = f"{LOCK_NAME} does not belong to the project's dependencies any more"
    elif not wanted <= (there := _platforms_of(lock)):
        reason = f"{LOCK_NAME} has no packages for {min(wanted - there)}"
    elif asked_for := [item for part in lock.platforms for item in open_imports(project, part)]:
        reason = f"{LOCK_NAME} has no '{asked_for[0].requirement}', which '{asked_for[0].where}' imports"
    if lock is not None and reason is None:
        for part in lock.platforms:
            interpreter.check(interpreter.unmet(project.requires_python, part.base.python, project.base))
        return lock
    if locked or offline is not None:
        flag = "--locked" if locked else "--offline"
        raise LockOutdated(
            f"{reason}, and {flag} forbids to make it", hint="run 'corten lock' and commit the lock"
        )

    from corten.build.base_image import BaseImages
    from corten.lock.diff import changes, summary
    from corten.lock.resolve import lock_project

    tell_implied(project, observe)
    asked = replace(project, platforms=tuple(sorted(wanted)))
    with store.lock("store", shared=True):
        images = BaseImages(store, observe, reach)
        fresh = lock_project(
            asked,
            store,
            previous=lock,
            observe=observe,
            images=images,
            accepted=accepted,
            sources=source_builders(asked, store, observe, accepted),
        )
    if set(project.platforms) != wanted:
        # A platform that was asked for once does not make the project's lock stale.
        fresh = replace(fresh, project=inputs_digest(project))
    write_lock(path, fresh)
    observe(Note(f"locked {LOCK_NAME}: {summary(changes(lock, fresh))}"))
    return fresh


def source_builders(project: Project, store: Store, observe: Observer, accepted: Accepted) -> SourceBuilders:
    """What builds the packages of `project` that have no wheel."""

    class Late:
        """What it takes is imported when there is something to build."""

        def builder(
            self,
            part: PlatformLock,
            resolve: Resolve,
            compilers: Callable[[], tuple[Deb, ...]],
            further: Mapping[str, tuple[str, ...]],
            *,
            anew: bool = False,
        ) -> WheelBuilder:
            from corten.build.source_wheels import Builders

            def supply(lock: Lock) -> _Supply:
                return _Supply(project, lock, store, observe, None, accepted)

            return Builders(store, supply, observe, accepted).builder(
                part, resolve, compilers, further, anew=anew
            )

    return Late()


def rebuild_absent(project: Project, lock: Lock, store: Store, observe: Observer, accepted: Accepted) -> None:
    """Build the wheels of `lock` that come from sources and are not in the store. Raises as `corten.build.rebuild.rebuild_absent`."""
    from corten.build import rebuild
    from corten.lock.wanted import fetching_indexes

    wheels = [wheel for part in lock.platforms for wheel in part.wheels]
    supply = _Supply(project, lock, store, observe, None, accepted)
    with store.lock("store", shared=True):
        rebuild.rebuild_absent(lock, wheels, store, supply, fetching_indexes(project), observe)


def _platforms_of(lock: Lock) -> set[Platform]:
    """The platforms that `lock` has, and those that no lock of this machine can have."""
    return {*(part.platform for part in lock.platforms), *({*lock.left_out} - {Platform.host()})}


class _Supply:
    """Files of `lock` through the cache from the configured indexes and mirrors, or from one folder."""

    def __init__(
        self,
        project: Project,
        lock: Lock,
        store: Store,
        observe: Observer,
        offline: Path | None,
        accepted: Accepted,
    ) -> None:
        if offline is not None and not offline.is_dir():
            raise UsageError(
                f"'{offline}' is not a folder", hint="make one with 'corten lock --download DIR'"
            )
        self._project, self._lock, self._store, self._observe = project, lock, store, observe
        self._offline, self._accepted = offline, accepted

    def wheels(self, wheels: Sequence[Wheel]) -> Mapping[str, Path]:
        from corten.lock.wanted import fetching_indexes
        from corten.packages.fetch import fetch_wheels

        indexes = fetching_indexes(self._project)
        if any(part.sdists for part in self._lock.platforms):
            from corten.build.rebuild import rebuild_absent

            if self._offline is None:
                self._rebuild_references(wheels, indexes)
            rebuild_absent(self._lock, wheels, self._store, self, indexes, self._observe, self._offline)
        return fetch_wheels(self._store, wheels, indexes, self._observe, offline=self._offline)

    def pythons(self, archives: Sequence[PythonArchive]) -> Mapping[str, Path]:
        from corten.packages.pythons import fetch_pythons

        return fetch_pythons(self._store, archives, os.environ, self._observe, offline=self._offline)

    def _rebuild_references(self, wheels: Sequence[Wheel], indexes: Indexes) -> None:
        """Fetch and build what requirements lead to and is not here."""
        wanted = {wheel.sha256: wheel for wheel in wheels}
        sdists = [sdist for part in self._lock.platforms for sdist in part.sdists if sdist.wheel in wanted]
        if all(self._store.files.path(sdist.wheel, "wheel") is not None for sdist in sdists):
            return
        from corten.build.rebuild import rebuild_absent
        from corten.lock.inputs import references_of
        from corten.lock.referenced import Fetcher, rebuild_references

        def rebuild(now: Sequence[Sdist]) -> None:
            absent = [wanted[sdist.wheel] for sdist in now]
            rebuild_absent(self._lock, absent, self._store, self, indexes, self._observe)

        root = self._project.root
        fetcher = Fetcher(root, self._store, lambda: indexes, self._observe)
        rebuild_references(references_of(self._project), sdists, fetcher, self._store, root, rebuild)

    def debs(self, debs: Sequence[Deb]) -> Mapping[str, Path]:
        from corten.packages.debian.archive import DebianArchive
        from corten.packages.debian.authentication import FOLDER, Authentication, fetch_authentic
        from corten.packages.debian.lists import Lists
        from corten.packages.debian.mirrors import lists_of

        folders = [lists_of(self._store)]
        mirrors = None
        if self._offline is None:
            mirrors = DebianArchive(self._store).mirrors
        else:
            folders.append(Lists(self._offline / FOLDER))
        authentication = Authentication(
            self._store, self._lock.suites, folders, mirrors, self._observe, self._accepted
        )
        return fetch_authentic(
            self._store, debs, authentication, mirrors, self._observe, offline=self._offline
        )
