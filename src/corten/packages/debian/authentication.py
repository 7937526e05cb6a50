"""Whether the packages of a lock are Debian's: a signed index must list each of them before it is unpacked or run.

A lock says of a package what its index said, but nobody signed the lock. So each package is looked for, by name, version,
architecture, size and sha256, where it is cheapest, and what is found is remembered in the store:

1. in what the store remembers: a build of a lock that was made here asks nobody;
2. in the index of the Release that the lock names, in the store's caches or in the folder of `corten lock --download`;
3. in the indexes that the mirrors have now: a mirror carries the current version of a package only;
4. in the index of that time in the dated archive;
5. in other indexes that are in the caches or in that folder.

The date of an index does not matter here, only that Debian signed it: the lock has chosen the versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corten.errors import CortenError, FetchError, FormatError, ProjectError, SignatureError
from corten.events import Observer, Warned
from corten.oci.platform import Platform
from corten.packages.debian.archive import PYTHONS
from corten.packages.debian.lists import Lists
from corten.packages.debian.mirrors import Mirrors, locate, parts_of, stamps
from corten.packages.debian.signed import Signed, identity
from corten.packages.fetch import fetch_debs
from corten.packages.files import STRICT, Accepted, Deb
from corten.store.store import Store

FOLDER = "indexes"
"""Where the folder of `corten lock --download` has signed indexes."""

Found = Callable[[Lists, Path, str], None]
"""Called with the index that listed something: its lists, its folder, the architecture."""


class Authentication:
    """Looks for packages of `suites` in signed indexes. Without `mirrors` no connection is opened. `folders` are on this disk:
    the store's lists and those of a bundle. What no index lists is refused, or named in a warning where it is `accepted`."""

    def __init__(
        self,
        store: Store,
        suites: Sequence[str],
        folders: Sequence[Lists],
        mirrors: Mirrors | None,
        observe: Observer,
        accepted: Accepted = STRICT,
    ) -> None:
        for suite in suites:
            if suite not in PYTHONS:
                raise ProjectError(
                    f"the lock names the unknown Debian suite '{suite[:40]}'", hint="run 'corten lock' again"
                )
        self._suites = tuple(suites)
        self._signed = Signed(store)
        self._folders = tuple(folders)
        self._mirrors = mirrors
        self._observe = observe
        self._accepted = accepted

    def unknown(self, debs: Iterable[Deb]) -> list[Deb]:
        """Those of `debs` that the store does not remember as signed. Opens nothing."""
        return self._signed.missing(self._suites, debs)

    def check(self, debs: Iterable[Deb]) -> None:
        """Raises SignatureError when a signed index lists not all of `debs`, FetchError when none could be asked."""
        self._search(self.unknown(debs), lambda *_: None)

    def gather(self, debs: Iterable[Deb]) -> list[tuple[Lists, Path, str]]:
        """The indexes, each with its lists and architecture, that together list all of `debs`. Raises as `check`."""
        used: list[tuple[Lists, Path, str]] = []

        def note(lists: Lists, folder: Path, architecture: str) -> None:
            used.append((lists, folder, architecture))

        self._search(list(debs), note)
        return used

    def _search(self, debs: Sequence[Deb], note: Found) -> None:
        search = _Search(debs, self._signed, note)
        failure: CortenError | None = None
        for step in (self._by_date, self._on_mirrors, self._in_dated_archive, self._anywhere):
            if not search.missing:
                return
            try:
                step(search)
            except (FetchError, SignatureError, FormatError) as error:
                failure = failure or error
        if not search.missing:
            return
        refusal = self._refusal(list(search.missing.values()), failure)
        if not self._accepted.unauthenticated:
            raise refusal
        self._observe(
            Warned(
                f"{refusal.message}; it is used all the same, as --allow-unauthenticated says",
                "layers that are made with it are not shared with other builds",
            )
        )

    def _parts(self, archives: Iterable[str]) -> list[tuple[str, str, str]]:
        wanted = set(archives)
        return [
            (suite, codename, archive)
            for suite in self._suites
            for codename, archive in parts_of(suite)
            if archive in wanted
        ]

    def _by_date(self, search: _Search) -> None:
        """The indexes that the lock names, where they are on this disk."""
        for archive, released in sorted({(deb.archive, deb.released) for deb in search.missing.values()}):
            for suite, codename, _ in self._parts([archive]):
                for lists in self._folders:
                    for architecture in search.architectures:
                        search.look(suite, lists, lists.folder(codename, released), architecture)

    def _on_mirrors(self, search: _Search) -> None:
        mirrors = self._mirrors
        if mirrors is None:
            return
        failure: CortenError | None = None
        with ThreadPoolExecutor(4, "index") as pool:
            work = [
                (
                    suite,
                    pool.submit(mirrors.current, codename, archive, architecture, self._observe),
                    architecture,
                )
                for suite, codename, archive in self._parts(deb.archive for deb in search.missing.values())
                for architecture in search.architectures
            ]
            for suite, future, architecture in work:
                try:
                    search.look(suite, mirrors.lists, future.result(), architecture)
                except (FetchError, SignatureError) as error:
                    failure = failure or error
        mirrors.remember()
        if failure is not None:
            raise failure

    def _in_dated_archive(self, search: _Search) -> None:
        mirrors = self._mirrors
        if mirrors is None or mirrors.sources.snapshot is None:
            return
        for archive, released in sorted({(deb.archive, deb.released) for deb in search.missing.values()}):
            for stamp in stamps(released):
                for suite, codename, _ in self._parts([archive]):
                    for architecture in search.architectures:
                        if not any(deb.archive == archive for deb in search.missing.values()):
                            break
                        try:
                            folder = mirrors.dated(codename, archive, stamp, architecture, self._observe)
                        except FetchError:
                            continue  # the archive has no such suite at that time
                        search.look(suite, mirrors.lists, folder, architecture)

    def _anywhere(self, search: _Search) -> None:
        for suite in self._suites:
            for codename, _ in parts_of(suite):
                for lists in self._folders:
                    for folder in lists.folders(codename):
                        for architecture in search.architectures:
                            search.look(suite, lists, folder, architecture)

    def _refusal(self, missing: Sequence[Deb], failure: CortenError | None) -> CortenError:
        if isinstance(failure, FetchError) and self._mirrors is not None:
            return failure
        first = missing[0]
        more = f" and {len(missing) - 1} more packages" if len(missing) > 1 else ""
        message = f"no signed index of Debian lists '{first.name}' {first.version} as the lock has it{more}"
        if failure is not None:
            message += f": {failure.message}"
        if self._mirrors is None:
            hint = "make the folder again with 'corten lock --download DIR'"
        else:
            hint = (
                f"set CORTEN_DEBIAN_SNAPSHOT to a dated archive that has the index of {first.released[:10]}, "
                "or run 'corten lock --upgrade'"
            )
        return SignatureError(message, hint=f"{hint}; --allow-unauthenticated accepts them as they are")


class _Search:
    """Packages that are looked for. `missing` are those that no index has listed so far."""

    def __init__(self, debs: Sequence[Deb], signed: Signed, note: Found) -> None:
        self.missing = {identity(deb): deb for deb in debs}
        # Packages for all architectures are in the index of each.
        own = {deb.architecture for deb in debs} - {"all"}
        self.architectures = sorted(own) or [Platform.host().architecture]
        self._signed = signed
        self._note = note
        self._seen: set[tuple[Path, str]] = set()

    def look(self, suite: str, lists: Lists, folder: Path, architecture: str) -> None:
        """Take out of `missing` what the index in `folder` lists. An index is looked into once. Raises SignatureError,
        FormatError."""
        if not self.missing or (folder, architecture) in self._seen:
            return
        found = lists.find(folder, architecture, {deb.sha256 for deb in self.missing.values()})
        if found is None:
            return
        self._seen.add((folder, architecture))
        listed = [package for package in found if identity(package) in self.missing]
        if listed:
            self._signed.add(suite, listed)
            self._note(lists, folder, architecture)
        for package in listed:
            self.missing.pop(identity(package), None)


def fetch_authentic(
    store: Store,
    debs: Sequence[Deb],
    authentication: Authentication,
    mirrors: Mirrors | None,
    observe: Observer,
    *,
    offline: Path | None = None,
) -> Mapping[str, Path]:
    """The places of `debs` in the store by sha256, fetched where they are missing, when a signed index lists every one of them.
    Raises FetchError, SignatureError."""

    def fetch() -> Mapping[str, Path]:
        def addresses(deb: Deb) -> list[str]:
            return locate(store, deb, mirrors.sources if mirrors is not None else None)

        return fetch_debs(store, debs, addresses, observe, offline=offline)

    if not authentication.unknown(debs):
        return fetch()
    # The index is searched while the packages come.
    with ThreadPoolExecutor(1, "authenticate") as pool:
        checked = pool.submit(authentication.check, debs)
        try:
            places = fetch()
        except FetchError:
            checked.result()  # that a package is not Debian's says more than that no mirror has it
            raise
        checked.result()
    return places
