"""Where a file that a lock names may be had: what is remembered from earlier, then folders, then indexes.

A lock says no hosts, so this is found out on every machine. What was found is kept in the store's caches by sha256, without
credentials; it is a hint, and every byte is checked against the lock whatever a hint says.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from corten.errors import FetchError
from corten.packages.cpu_builds import TORCH
from corten.packages.credentials import split_login
from corten.packages.files import Wheel
from corten.packages.http import Http
from corten.packages.indexes import Indexes
from corten.packages.simple import Listed, linked_files, project_files
from corten.packages.uv import Uv
from corten.store.disk import private_directory, write_privately
from corten.store.store import Store

_HINTS = 4


class Hints:
    """Addresses by sha256 in the store's caches. May vanish at any time."""

    def __init__(self, store: Store) -> None:
        self._directory = store.root / "caches" / "locations"

    def get(self, sha256: str) -> list[str]:
        """The addresses remembered for a file, the latest first."""
        try:
            return (self._directory / sha256).read_text().split("\n")[:_HINTS]
        except (OSError, UnicodeDecodeError):
            return []

    def put(self, sha256: str, url: str) -> None:
        """Remember that `url` (without its credentials) serves the file."""
        url, _ = split_login(url)
        if "\n" in url:
            return
        known = self.get(sha256)
        if known[:1] == [url]:
            return
        path = self._directory / sha256
        temporary = path.with_name(f".{sha256}.{secrets.token_hex(4)}")
        try:
            private_directory(self._directory)
            lines = [url, *(item for item in known if item != url)][:_HINTS]
            write_privately(temporary, "\n".join(lines).encode())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a hint that cannot be kept costs a look-up, nothing else


TORCH_INDEX = "https://download.pytorch.org/whl"
"""PyTorch's own index: one below it for every kind of build."""


class Locator:
    """Finds wheels over `indexes`; shared by threads, and asks each place once."""

    def __init__(self, store: Store, indexes: Indexes, http: Http, torch_index: str = TORCH_INDEX) -> None:
        self._torch_index = torch_index
        self._store = store
        self._indexes = indexes
        self._http = http
        self._hints = Hints(store)
        self._lock = threading.Lock()
        self._links: dict[str, dict[str, list[Listed]]] = {}
        self._direct: dict[str, list[str]] = {}
        for url in indexes.direct:
            self._direct.setdefault(url.rsplit("/", 1)[-1], []).append(url)
        self._default: str | None = None

    def wheel(self, wheel: Wheel) -> Iterator[str]:
        """Addresses that may serve `wheel`, the likeliest first; each place is asked only when it is needed. When none
        is left and a place could not be asked, raises that FetchError."""
        given: set[str] = set()
        failure: FetchError | None = None

        def fresh(urls: Iterable[str]) -> Iterator[str]:
            for url in urls:
                if url not in given:
                    given.add(url)
                    yield url

        local = [place for place in self._indexes.find_links if _is_local(place)]
        remote = [place for place in self._indexes.find_links if not _is_local(place)]
        yield from fresh(self._linked(local, wheel))
        yield from fresh(self._hints.get(wheel.sha256))
        yield from fresh(url for name in _spelled(wheel.file) for url in self._direct.get(name, ()))
        for index in self._index_addresses():
            try:
                listed = project_files(self._http, index, wheel.name)
            except FetchError as error:
                failure = failure or error
                continue
            yield from fresh(_matching(listed, wheel))
        for place in remote:
            try:
                yield from fresh(self._linked([place], wheel))
            except FetchError as error:
                failure = failure or error
        build = wheel.version.partition("+")[2]
        if wheel.name in TORCH and re.fullmatch(r"cpu|cu[0-9]{2,3}", build):
            # uv knows this index by itself (`--torch-backend`), so a lock may have its files though nobody configured it.
            try:
                listed = project_files(self._http, f"{self._torch_index}/{build}", wheel.name)
                yield from fresh(_matching(listed, wheel))
            except FetchError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def remember(self, sha256: str, url: str) -> None:
        """Keep where a file was had, for the next time."""
        self._hints.put(sha256, url)

    def files_of(self, name: str) -> list[Listed]:
        """Every file that the indexes and find-links places have for a project. Raises FetchError."""
        found = [
            listed for index in self._index_addresses() for listed in project_files(self._http, index, name)
        ]
        start = name.replace("-", "_") + "-"
        for place in self._indexes.find_links:
            found += [
                item
                for file, items in self._page(place).items()
                if file.lower().replace("-", "_").startswith(start[:-1])
                for item in items
            ]
        return found

    def _index_addresses(self) -> Iterator[str]:
        for index in self._indexes.extra:
            yield index.url
        if self._indexes.no_index:
            return
        if self._indexes.default is not None:
            yield self._indexes.default.url
            return
        with self._lock:
            if self._default is None:
                with self._store.temporary_directory("uv") as directory:
                    uv = Uv(self._indexes, directory, self._store.cache_directory("uv"))
                    self._default = uv.default_index()
        yield self._default

    def _linked(self, places: Iterable[str], wheel: Wheel) -> Iterator[str]:
        for place in places:
            yield from _matching(self._page(place).get(wheel.file, ()), wheel)

    def _page(self, place: str) -> dict[str, list[Listed]]:
        """What a place has, by file name: every wheel of a lock is looked for in it."""
        with self._lock:
            if place not in self._links:
                page: dict[str, list[Listed]] = {}
                for item in linked_files(self._http, place):
                    page.setdefault(item.file, []).append(item)
                self._links[place] = page
            return self._links[place]


def _matching(listed: Iterable[Listed], wheel: Wheel) -> Iterator[str]:
    """The addresses of files with the wheel's name, and not with another hash or size."""
    for item in listed:
        if (
            item.file == wheel.file
            and item.sha256 in {None, wheel.sha256}
            and item.size in {None, wheel.size}
        ):
            yield item.url


def _is_local(place: str) -> bool:
    return "://" not in place or place.startswith("file:")


def _spelled(file: str) -> list[str]:
    """A file name as addresses may spell it: `+` is often escaped."""
    return list(dict.fromkeys((file, file.replace("+", "%2B"), file.replace("+", "%2b"))))


def offline_files(directory: Path, kind: str, file: str, sha256: str) -> list[Path]:
    """The places of a file in a directory made by `corten lock --download`, or lying flat in any directory. Two files
    of one name lie below their hashes."""
    places = (directory / kind / sha256 / file, directory / kind / file, directory / file)
    return [path for path in places if path.is_file()]
