"""Wheels of a lock that were built from source, built once more on a machine that does not have them. What comes of it must be the wheel that
the lock names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corten.build.make import Supply
from corten.build.source_wheels import SourceWheels, Workplace
from corten.build.wheel_contents import unlike
from corten.errors import BuildError, FetchError
from corten.events import Note, Observer
from corten.lock.model import DebianBase, Lock, PlatformLock
from corten.oci.platform import Platform
from corten.packages.fetch import Wanted, bring
from corten.packages.files import Sdist, Wheel
from corten.packages.http import Http
from corten.packages.indexes import Indexes
from corten.packages.locations import Locator, offline_files
from corten.packages.sources import Recorded, Source
from corten.store.store import Store

_WAYS = "run 'corten lock --download DIR' on a machine that has the wheel and build from that folder, take the layers with --cache-from, or run 'corten lock' here"


def rebuild_absent(
    lock: Lock,
    wheels: Sequence[Wheel],
    store: Store,
    supply: Supply,
    indexes: Indexes,
    observe: Observer,
    offline: Path | None = None,
) -> None:
    """Build those of `wheels` that `lock` has from sources and that neither the store nor the folder `offline` has. Raises BuildError where that
    gives another wheel, FetchError, NoSandbox."""
    for wheel in wheels:
        found = _source_of(lock, wheel)
        if found is None or store.files.path(wheel.sha256, "wheel") is not None:
            continue
        if offline is not None:
            if offline_files(offline, "wheels", wheel.file, wheel.sha256):
                continue
            raise FetchError(
                f"the offline directory '{offline}' has no '{wheel.file}', which was built from source",
                hint="make it again with 'corten lock --download DIR'",
            )
        _rebuild(lock, *found, wheel, store, supply, indexes, observe)


def _source_of(lock: Lock, wheel: Wheel) -> tuple[PlatformLock, Sdist] | None:
    host = Platform.host()
    for part in sorted(lock.platforms, key=lambda part: part.platform != host):
        for sdist in part.sdists:
            if sdist.wheel == wheel.sha256:
                return part, sdist
    return None


def _rebuild(
    lock: Lock,
    part: PlatformLock,
    sdist: Sdist,
    wheel: Wheel,
    store: Store,
    supply: Supply,
    indexes: Indexes,
    observe: Observer,
) -> None:
    host = Platform.host()
    title = f"'{sdist.name}' {sdist.version}"
    if not sdist.reproducible:
        raise BuildError(
            f"{title} was built from source on the machine that made the lock, and its build is not reproducible",
            hint=_WAYS,
        )
    if sdist.native and part.platform != host:
        raise BuildError(
            f"{title} was built from source for {part.platform}, and this machine is {host}", hint=_WAYS
        )
    base = next(
        (other for other in lock.platforms if other.platform == host and isinstance(other.base, DebianBase)),
        None,
    )
    if base is None:
        raise BuildError(
            f"{title} was built from source, and the lock has no base for {host} to build it in", hint=_WAYS
        )
    requires = {item.sha256: item for item in part.build_wheels}
    recorded = Recorded(wheel, tuple(requires[sha256] for sha256 in sdist.requires), sdist.native)
    observe(Note(f"building {sdist.name} {sdist.version} from source: its wheel is not here"))
    source = Source(sdist.name, sdist.version, sdist.sha256, _fetched(sdist, store, indexes, observe))
    workplace = Workplace(base, _nothing, supply, lambda: part.build_debs)
    built = SourceWheels(store, workplace, observe).build(source, recorded)
    if built.wheel.sha256 == wheel.sha256:
        return
    place = store.files.path(built.wheel.sha256, "wheel")
    other = unlike(place.read_bytes(), sdist.marks) if place is not None else None
    raise BuildError(
        f"{title} was built from source and is not the wheel that the lock names"
        + (f": '{other}' differs" if other else ""),
        hint=_WAYS,
    )


def _nothing(_lines: Sequence[str]) -> tuple[Wheel, ...]:
    raise BuildError("a build requirement is not in the lock", hint="run 'corten lock'")


def _fetched(sdist: Sdist, store: Store, indexes: Indexes, observe: Observer) -> Path:
    place = store.files.path(sdist.sha256, "sdist")
    if place is None:
        http = Http(indexes.network())
        locator = Locator(store, indexes, http)
        places = [
            item.url
            for item in locator.files_of(sdist.name)
            if item.file == sdist.file and item.sha256 in {None, sdist.sha256}
        ]
        if not places:
            raise FetchError(
                f"no index has '{sdist.file}', from which the lock's wheel was built", hint=_WAYS
            )
        bring(
            store,
            [Wanted("sdist", sdist.file, sdist.sha256, sdist.size, lambda: places)],
            observe,
            1,
            http,
        )
        place = store.files.path(sdist.sha256, "sdist")
    if place is None:
        raise FetchError("a fetched file has vanished from the store", hint="run the command again")
    return place
