"""The files that a lock names, brought into the store's file cache: what is there is not fetched again, what is missing comes
in parallel, and nothing gets in whose sha256 is not the lock's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from corten.errors import FetchError
from corten.events import Event, Note, Observer, TaskAdvanced
from corten.packages.files import Deb, PythonArchive, Wheel
from corten.packages.http import Absent, Http
from corten.packages.indexes import Indexes
from corten.packages.locations import Locator, offline_files
from corten.store.files import Kind
from corten.store.store import Store
from corten.values import dataclass

_LARGE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to bring. `size` is negative when nobody said it."""

    kind: Kind
    name: str
    sha256: str
    size: int
    addresses: Callable[[], Iterable[str]]
    remember: Callable[[str], None] | None = None


def fetch_wheels(
    store: Store,
    wheels: Iterable[Wheel],
    indexes: Indexes,
    observe: Observer,
    *,
    offline: Path | None = None,
    jobs: int = 8,
    http: Http | None = None,
) -> dict[str, Path]:
    """The place of every wheel in the store, by sha256. With `offline` only that directory is looked at, and no
    connection is opened. Raises FetchError naming the file, HashMismatch when what was found is another file."""
    wanted = {wheel.sha256: wheel for wheel in wheels}
    missing = [wheel for sha256, wheel in wanted.items() if store.files.path(sha256, "wheel") is None]
    if missing:
        http = http or Http(indexes.network())
        if offline is not None:
            bring(store, from_directory(offline, "wheel", missing), observe, jobs, http)
        else:
            _tell_size(missing, observe)
            locator = Locator(store, indexes, http)
            work = [
                Wanted(
                    "wheel",
                    item.file,
                    item.sha256,
                    item.size,
                    partial(locator.wheel, item),
                    partial(locator.remember, item.sha256),
                )
                for item in missing
            ]
            bring(store, work, observe, jobs, http)
    return places_of(store, wanted, "wheel")


def _tell_size(wheels: Sequence[Wheel], observe: Observer) -> None:
    """Say how much is fetched, and what most of it is, where that is more than 1 GB."""
    total = sum(max(wheel.size, 0) for wheel in wheels)
    if total <= _LARGE:
        return
    largest = sorted(wheels, key=lambda wheel: -wheel.size)[:3]
    shown = ", ".join(f"{wheel.name} {wheel.size / 1e9:.1f} GB" for wheel in largest if wheel.size >= 5e7)
    cuda = any(wheel.name.startswith("nvidia-") for wheel in wheels)
    hint = '; gpu = "none" in [tool.corten] takes builds for CPUs' if cuda else ""
    observe(Note(f"{total / 1e9:.1f} GB are downloaded: {shown} and others{hint}"))


def fetch_debs(
    store: Store,
    debs: Iterable[Deb],
    locate: Callable[[Deb], Iterable[str]],
    observe: Observer,
    *,
    offline: Path | None = None,
    jobs: int = 8,
    http: Http | None = None,
) -> dict[str, Path]:
    """The place of every Debian package in the store, by sha256; `locate` says which addresses may serve one, the best
    first. With `offline` only that directory is looked at. Raises FetchError, HashMismatch."""
    wanted = {deb.sha256: deb for deb in debs}
    missing = [deb for sha256, deb in wanted.items() if store.files.path(sha256, "deb") is None]
    if missing:
        http = http or Http()
        if offline is not None:
            bring(store, from_directory(offline, "deb", missing), observe, jobs, http)
        else:
            work = [Wanted("deb", deb.file, deb.sha256, deb.size, partial(locate, deb)) for deb in missing]
            bring(store, work, observe, jobs, http)
    return places_of(store, wanted, "deb")


def from_directory(
    directory: Path, kind: Kind, missing: Sequence[Wheel] | Sequence[Deb] | Sequence[PythonArchive]
) -> list[Wanted]:
    """The work when everything lies in one directory. Raises FetchError that names what does not."""
    work = []
    absent = []
    for item in missing:
        urls = tuple(
            path.absolute().as_uri() for path in offline_files(directory, f"{kind}s", item.file, item.sha256)
        )
        if urls:
            work.append(Wanted(kind, item.file, item.sha256, item.size, partial(tuple, urls)))
        else:
            absent.append(item.file)
    if absent:
        names = "', '".join(absent[:3])
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise FetchError(
            f"the offline directory '{directory}' has no '{names}'{more}",
            hint="make it again with 'corten lock --download DIR' where there is a network",
        )
    return work


def bring(store: Store, work: Sequence[Wanted], observe: Observer, jobs: int, http: Http) -> None:
    """Fetch everything in `work`, the largest first. The first failure stops the rest."""
    cancelled = threading.Event()
    ordered = sorted(work, key=lambda item: item.size, reverse=True)
    pool = ThreadPoolExecutor(max_workers=max(1, min(jobs, len(ordered))), thread_name_prefix="fetch")
    try:
        futures = [pool.submit(_one, store, item, observe, http, cancelled) for item in ordered]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:
        cancelled.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _one(store: Store, item: Wanted, observe: Observer, http: Http, cancelled: threading.Event) -> None:
    # A lock of its own for every file would leave a lock file behind for every file; 256 do as well.
    with store.lock(f"fetch-{item.sha256[:2]}"):
        if store.files.path(item.sha256, item.kind) is not None:
            return
        incoming = store.files.incoming(item.sha256, item.kind)
        there = incoming.stat().st_size if incoming.exists() else 0
        store.headroom.need(max(item.size - there, 0))
        asked = ""

        def watched(event: Event) -> None:
            # Not every index says how large a file is.
            if isinstance(event, TaskAdvanced):
                store.headroom.spend(event.amount)
            observe(event)

        def addresses() -> Iterator[str]:
            nonlocal asked
            for url in item.addresses():
                asked = url
                yield url

        try:
            http.download(
                addresses(),
                incoming,
                sha256=item.sha256,
                size=item.size if item.size >= 0 else None,
                observe=watched,
                name=item.name,
                cancelled=cancelled,
            )
        except Absent as error:
            raise FetchError(
                f"'{item.name}' is not to be had any more: {error.message}",
                hint="lock again, or configure an index that still has it",
            ) from error
        store.files.add(incoming, item.sha256, item.kind)
        if item.remember is not None:
            item.remember(asked)


def places_of(store: Store, wanted: Iterable[str], kind: Kind) -> dict[str, Path]:
    places = {}
    for sha256 in wanted:
        path = store.files.path(sha256, kind)
        if path is None:
            raise FetchError("a fetched file has vanished from the store", hint="run the command again")
        places[sha256] = path
    return places
