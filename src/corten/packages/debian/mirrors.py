"""Signed indexes and packages from the mirrors of this machine, and from the dated archive.

Of the mirrors of an archive the first counts that gives what is signed. The Release files that were seen are remembered: where
an index is to be resolved from, an older one is refused.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from corten.errors import FetchError, FormatError, SignatureError
from corten.events import Observer
from corten.lazy import regex
from corten.network.connection import Absent, shown
from corten.packages.debian import contents, index, release
from corten.packages.debian.index import Index
from corten.packages.debian.lists import Lists, packages_of
from corten.packages.debian.release import Release
from corten.packages.debian.signed import Signed
from corten.packages.debian.sources import MAIN, SECURITY, Sources, read_sources
from corten.packages.files import STRICT, Accepted, Deb
from corten.packages.http import Http
from corten.store.disk import explained, write_atomically
from corten.store.store import Store
from corten.values import dataclass

T = TypeVar("T")

_PAUSES = (1, 2, 4)
"""How long to wait for the machine of a mirror that is not behind, each in `Patience.pause`."""

_POOL = regex(r"pool/(?:[A-Za-z0-9_][A-Za-z0-9_.+~:%-]*/)+[A-Za-z0-9][A-Za-z0-9_.+~:%-]*\.deb")


def parts_of(suite: str) -> tuple[tuple[str, str], ...]:
    """The codenames that make up a suite, each with the archive that has it."""
    return (suite, MAIN), (f"{suite}-updates", MAIN), (f"{suite}-security", SECURITY)


def lists_of(store: Store, keys: Sequence[bytes] | None = None) -> Lists:
    """The signed indexes that were fetched into `store`."""
    return Lists(store.root / "caches" / "debian" / "lists", keys)


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A verified Release with the folder in which it is kept; `base` is the address of the suite that it came from."""

    base: str
    release: Release
    folder: Path


class Mirrors:
    """The mirrors as this machine reaches them. `keys` and `now` are Debian's keys and the clock, by default."""

    def __init__(
        self,
        store: Store,
        sources: Sources,
        http: Http,
        *,
        keys: Sequence[bytes] | None = None,
        now: datetime | None = None,
        accepted: Accepted = STRICT,
    ) -> None:
        self.store = store
        self.sources = sources
        self.http = http
        self.lists = lists_of(store, keys)
        self.signed = Signed(store)
        self._keys = keys
        self._now = now
        self._accepted = accepted
        self._proven: dict[str, list[str]] = {}
        self._guard = threading.Lock()
        self._releases: dict[tuple[str, bool], SignedRelease] = {}

    def index(self, codename: str, archive: str, architecture: str, observe: Observer) -> Index:
        """The prepared index of a suite's packages, as its mirrors have it now. Raises FetchError, SignatureError."""

        def attempt(mirror: str) -> Index:
            found = self._current(mirror, codename, archive, fresh=True)
            return self._prepared(found, archive, architecture, observe)

        return self._first(archive, f"the index of '{codename}'", attempt)

    def current(self, codename: str, archive: str, architecture: str, observe: Observer) -> Path:
        """The folder with the signed index of `codename` as its mirrors have it now, to prove packages with: its date does not
        matter. Raises FetchError, SignatureError."""

        def attempt(mirror: str) -> Path:
            found = self._current(mirror, codename, archive, fresh=False)
            self._packages(found, architecture, observe)
            return found.folder

        return self._first(archive, f"the index of '{codename}'", attempt)

    def contents(self, codename: str, archive: str, architecture: str, observe: Observer) -> bytes:
        """Which packages of `codename` have which shared library (`contents.prepare`), by the signed index that its mirrors have now.
        Raises FetchError, SignatureError."""

        def attempt(mirror: str) -> bytes:
            found = self._current(mirror, codename, archive, fresh=True)
            return self._libraries(found, architecture, observe)

        return self._first(archive, f"the list of files of '{codename}'", attempt)

    def _libraries(self, found: SignedRelease, architecture: str, observe: Observer) -> bytes:
        codename = found.release.codename
        named = contents.contents_of(found.release, architecture)
        if named is None:
            raise Absent(f"'{codename}' at '{shown(found.base)}' has no list of files for {architecture}")
        path, kind, sha256, size = named
        cache = self.store.cache_directory("debian")
        prefix = f"{codename}-{architecture}-"
        target = cache / f"{prefix}{sha256[:24]}.libraries"
        with contextlib.suppress(OSError):
            return target.read_bytes()
        urls = [f"{found.base}/{path}"]
        if found.release.by_hash:
            urls.insert(0, f"{found.base}/{path.rpartition('/')[0]}/by-hash/SHA256/{sha256}")
        with self.store.temporary_directory("debian-contents") as directory:
            packed = directory / "Contents"
            label = f"list of files of {codename} for {architecture}"
            self.http.download(urls, packed, sha256=sha256, size=size, observe=observe, name=label)
            prepared = contents.prepare(packed, kind, architecture)
        write_atomically(target, prepared)
        for other in cache.glob(f"{prefix}*.libraries"):
            if other != target:
                other.unlink(missing_ok=True)
        return prepared

    def dated(self, codename: str, archive: str, stamp: str, architecture: str, observe: Observer) -> Path:
        """The same from the dated archive, as it was at `stamp`. Raises FetchError, SignatureError."""
        base = f"{self.sources.snapshot}/archive/{quote(archive)}/{stamp}/dists/{codename}"
        found = self._release(base, codename, outdated=True)
        self._packages(found, architecture, observe)
        return found.folder

    def _current(self, mirror: str, codename: str, archive: str, *, fresh: bool) -> SignedRelease:
        base = f"{mirror}/dists/{codename}"
        with self._guard:
            known = self._releases.get((base, fresh))
        if known is not None:
            return known
        found = self._release(base, codename, outdated=not fresh or self._accepted.older_release)
        newest = self.signed.newest(archive, codename)
        if fresh and newest is not None and not self._accepted.older_release:
            for pause in _PAUSES:
                if found.release.date >= newest:
                    break
                # Many machines answer for a mirror, and some of them are hours behind the others.
                time.sleep(pause * self.http.patience.pause)
                found = self._release(base, codename, outdated=False)
            if found.release.date < newest:
                raise SignatureError(
                    f"the index of '{codename}' from '{shown(mirror)}' is of {found.release.date}, and a newer one of {newest} was seen before",
                    hint="try again later, use another mirror, or accept it with --allow-older-release",
                )
        date = found.release.date
        self.signed.saw(archive, codename, date)
        with self._guard:
            self._proven.setdefault(archive, []).append(mirror)
            return self._releases.setdefault((base, fresh), found)

    def _release(self, base: str, codename: str, *, outdated: bool) -> SignedRelease:
        data = self.http.get(f"{base}/InRelease", limit=release.LARGEST, page=True)
        place = shown(base.rpartition("/dists/")[0])
        found = release.read_release(data, codename, place, keys=self._keys, now=self._now, outdated=outdated)
        with explained(self.store.root):
            return SignedRelease(base, found, self.lists.keep(codename, found.date, data))

    def _packages(self, found: SignedRelease, architecture: str, observe: Observer) -> tuple[Path, str]:
        """The Packages file of a Release, fetched where it is not there, and its kind."""
        named = packages_of(found.release, architecture)
        codename = found.release.codename
        if named is None:
            raise Absent(f"'{codename}' at '{shown(found.base)}' has no packages for {architecture}")
        path, kind, sha256, size = named
        place = self.lists.place(found.folder, architecture, kind)
        with contextlib.suppress(SignatureError, FormatError):
            if self.lists.packages(found.folder, architecture) is not None:
                return place, kind
        urls = [f"{found.base}/{path}"]
        if found.release.by_hash:
            urls.insert(0, f"{found.base}/{path.rpartition('/')[0]}/by-hash/SHA256/{sha256}")
        with self.store.temporary_directory("debian-index") as directory:
            packed = directory / "Packages"
            label = f"index of {codename} for {architecture}"
            self.http.download(urls, packed, sha256=sha256, size=size, observe=observe, name=label)
            with explained(self.store.root):
                packed.replace(place)
        return place, kind

    def _first(self, archive: str, what: str, attempt: Callable[[str], T]) -> T:
        """What the first mirror gives that can. Otherwise the most telling failure: a wrong signature, then a mirror
        that does not answer, then one that has no such thing."""
        failures: list[FetchError | SignatureError] = []
        for mirror in known_first(self.store, archive, self.sources):
            try:
                return attempt(mirror)
            except Absent as error:
                missing = Absent(
                    f"'{shown(mirror)}' has not got {what}",
                    hint=f"check the mirrors in {self.sources.origin}, or set CORTEN_DEBIAN_MIRROR and "
                    "CORTEN_DEBIAN_SECURITY_MIRROR",
                )
                missing.__cause__ = error
                failures.append(missing)
            except (FetchError, SignatureError) as error:
                failures.append(error)
        raise max(
            reversed(failures),
            key=lambda error: 2 if isinstance(error, SignatureError) else not isinstance(error, Absent),
        )

    def _prepared(self, found: SignedRelease, archive: str, architecture: str, observe: Observer) -> Index:
        codename, date = found.release.codename, found.release.date
        named = packages_of(found.release, architecture)
        if named is None:
            raise Absent(f"'{codename}' at '{shown(found.base)}' has no packages for {architecture}")
        cache = self.store.cache_directory("debian")
        prefix = f"{codename}-{architecture}-"
        target = cache / f"{prefix}{named[2][:24]}.index"
        with contextlib.suppress(OSError, FormatError):
            return Index(target, architecture, archive, date)
        packed, kind = self._packages(found, architecture, observe)
        unpacked = found.release.files.get(f"main/binary-{architecture}/Packages", ("", index.LARGEST))[1]
        index.prepare(packed, kind, target, min(unpacked, index.LARGEST))
        for other in cache.glob(f"{prefix}*.index"):
            if other != target:
                other.unlink(missing_ok=True)
        return Index(target, architecture, archive, date)

    def remember(self) -> None:
        """Keep which mirrors gave what is signed, so that they are asked first."""
        path = _mirrors_file(self.store)
        with self._guard:
            data = json.dumps(
                {name: sorted(set(urls)) for name, urls in sorted(self._proven.items())}
            ).encode()
        with contextlib.suppress(OSError):
            if path.exists() and path.read_bytes() == data:
                return
            write_atomically(path, data)


def locate(store: Store, deb: Deb, sources: Sources | None = None) -> list[str]:
    """Addresses of `deb`, to be tried in turn: the mirrors, then the dated archive. Where that is asked, the dates
    are some time after the index named the file: it takes hours until a file arrives there, and nothing is asked twice.
    Raises FormatError for a path that is none of a pool, FetchError when no mirror is configured."""
    if not _POOL.fullmatch(deb.path) or ".." in deb.path:
        raise FormatError(f"'{deb.path[:200]}' is not a path in Debian's pool")
    sources = sources or read_sources()
    path = quote(deb.path, safe="/+~:%")
    addresses: list[str] = []
    with contextlib.suppress(FetchError):
        addresses = [f"{mirror}/{path}" for mirror in known_first(store, deb.archive, sources)]
    if sources.snapshot is not None:
        for stamp in stamps(deb.released):
            addresses.append(f"{sources.snapshot}/archive/{quote(deb.archive)}/{stamp}/{path}")
    if not addresses:
        sources.of(deb.archive)
    return addresses


def stamps(released: str) -> list[str]:
    """The times at which a dated archive is asked for what a Release of `released` lists. Raises FormatError."""
    try:
        moment = datetime.fromisoformat(released.replace("Z", "+00:00"))
        return [f"{moment + timedelta(hours=hours):%Y%m%dT%H%M%SZ}" for hours in (12, 36, 0)]
    except (ValueError, OverflowError) as error:
        raise FormatError(f"{released[:40]!r} is not a time") from error


def _mirrors_file(store: Store) -> Path:
    return store.cache_directory("debian") / "mirrors.json"


def known_first(store: Store, archive: str, sources: Sources) -> list[str]:
    """The configured mirrors of `archive`, those first that gave a verified index before."""
    candidates = sources.of(archive)
    try:
        known = json.loads(_mirrors_file(store).read_bytes())
        proven = {str(url) for url in known.get(archive, [])}
    except (OSError, ValueError, AttributeError, TypeError):
        proven = set()
    return sorted(candidates, key=lambda url: url not in proven)
