"""CPython from python-build-standalone: which builds there are, and their archives.

uv knows the builds and the hashes of their archives, which its list does not show. So a lock lets uv fetch an archive, which verifies
it, and takes the archive's own sha256. A build fetches the same file by that hash, without uv's word for it.

The user's own variables of uv say where the archives are, as they do for uv itself: `UV_PYTHON_INSTALL_MIRROR` and
`UV_PYTHON_DOWNLOADS_JSON_URL`. A project has no say in it.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from corten.errors import CortenError, FetchError, ProjectError
from corten.events import Observer, TaskFinished, TaskStarted
from corten.lazy import regex
from corten.network.connection import local_path
from corten.oci.platform import Platform
from corten.packages.fetch import Wanted, bring, from_directory, places_of
from corten.packages.files import PYTHON_PATH, PythonArchive
from corten.packages.http import Http, network_from
from corten.packages.indexes import read_indexes
from corten.packages.uv import run_uv
from corten.store.disk import write_atomically
from corten.store.store import Store
from corten.values import dataclass

MIRROR, LISTING = "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS_JSON_URL"
RELEASES = "https://github.com/astral-sh/python-build-standalone/releases/download"
"""Where the project itself publishes its archives."""

_WISH = regex(r"(3\.[0-9]{1,2})(\.[0-9]{1,2})?(t?)")
_CAUSE = regex(r"^\s*(?:cause|Caused by):\s*(.+)$", re.MULTILINE | re.IGNORECASE)
_HOST = regex(r"https?://(?:[^/@\s]*@)?([^/\s:`]+)")
_MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class Wish:
    """A CPython that a project asks for: a minor version (`3.10`), perhaps an exact one (`3.10.4`), perhaps free-threaded, and what
    `requires-python` allows beside it."""

    minor: str
    exact: str | None = None
    threaded: bool = False
    requires: str | None = None

    @property
    def named(self) -> str:
        """For people: `3.10`, `3.10.4`, `3.13t`."""
        return (self.exact or self.minor) + ("t" if self.threaded else "")


def wish(text: str, requires: str | None = None) -> Wish:
    """The wish that a project's `python` says (`3.10`, `3.10.4`, `3.13t`). Raises ProjectError for another form."""
    match = _WISH.fullmatch(text)
    if match is None:
        raise ProjectError(
            f"'{text[:40]}' is not a version of Python", hint="write it as 3.12, 3.12.4 or 3.13t"
        )
    return Wish(match[1], match[1] + match[2] if match[2] else None, bool(match[3]), requires)


@dataclass(frozen=True, slots=True)
class Build:
    """A build that uv lists: the name that uv knows it by, its place below the releases, and where it is."""

    key: str
    version: str
    machine: str
    threaded: bool
    path: str
    url: str


def builds(document: object) -> tuple[Build, ...]:
    """The builds for Linux with glibc in uv's list that Corten can unpack; anything of another form is passed over."""
    found = []
    for item in document if isinstance(document, list) else ():
        if not isinstance(item, dict) or item.get("os") != "linux" or item.get("libc") != "gnu":
            continue
        key, url = item.get("key"), item.get("url")
        if not isinstance(key, str) or not isinstance(url, str) or key.startswith("-"):
            continue
        path = "/".join(urllib.parse.unquote(url.partition("?")[0]).rsplit("/", 2)[-2:])
        form = PYTHON_PATH.fullmatch(path)
        if form is not None and form[1] == form[3] and form[4] == item.get("arch"):
            found.append(Build(key, form[2], form[4], bool(form[5]), path, url))
    return tuple(found)


def choose(found: Collection[Build], wanted: Wish, machines: Collection[str]) -> Mapping[str, Build] | None:
    """The newest version that satisfies `wanted` and that every one of `machines` has: the builds by machine. A pre-release is taken
    only where it is asked for by name, or nothing else is there."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import Version

    try:
        allowed = SpecifierSet(wanted.requires or "")
    except InvalidSpecifier:
        allowed = SpecifierSet()
    by_version: dict[str, dict[str, Build]] = {}
    for build in found:
        if build.threaded == wanted.threaded:
            there = by_version.setdefault(build.version, {})
            if build.machine not in there or there[build.machine].path < build.path:
                there[build.machine] = build
    fitting = [
        Version(version)
        for version, there in by_version.items()
        if there.keys() >= set(machines)
        and (version == wanted.exact if wanted.exact else _minor(version) == wanted.minor)
        and allowed.contains(version, prereleases=True)
    ]
    if not fitting:
        return None
    best = max(fitting, key=lambda version: (not version.is_prerelease, version))
    return {machine: by_version[str(best)][machine] for machine in machines}


def _minor(version: str) -> str:
    return ".".join(re.match(r"(3)\.([0-9]+)", version).groups())  # type: ignore[union-attr]


class Pythons:
    """The builds that uv knows, and their archives. `environment` is this process's, or what stands for it."""

    def __init__(self, store: Store, environment: Mapping[str, str], observe: Observer) -> None:
        self._store, self._environment, self._observe = store, environment, observe
        self._listed: tuple[Build, ...] | None = None

    def listed(self) -> tuple[Build, ...]:
        """Every build that uv lists, asked for once. Raises FetchError."""
        if self._listed is None:
            with self._store.temporary_directory("pythons") as directory:
                arguments = ["list", "--all-versions", "--all-arches", "--only-downloads"]
                said = self._uv([*arguments, "--output-format=json"], directory, "the list of Pythons")
            try:
                self._listed = builds(json.loads(said))
            except (ValueError, RecursionError) as error:
                raise FetchError("uv's list of Pythons is not JSON", hint="update uv") from error
        return self._listed

    def minors(self) -> list[str]:
        """The minor versions that there are finished builds of, the newest first. Raises FetchError."""
        found = {_minor(build.version) for build in self.listed() if build.version.replace(".", "").isdigit()}
        return sorted(found, key=lambda python: int(python.split(".")[1]), reverse=True)

    def find(self, wanted: Wish, architectures: Collection[str]) -> dict[str, PythonArchive]:
        """The archives of one version that satisfies `wanted`, by architecture, fetched and verified by uv. Raises FetchError,
        with the ways out."""
        machines = {Platform("linux", name).machine: name for name in architectures}
        chosen = choose(self.listed(), wanted, machines)
        if chosen is None:
            raise FetchError(
                f"there is no build of Python {wanted.named} for {' and '.join(sorted(machines))}"
                + (f" that '{wanted.requires}' admits" if wanted.requires else ""),
                hint=ways_out(wanted.minor),
            )
        return {machines[machine]: self._archive(build, wanted) for machine, build in chosen.items()}

    def addresses(self, archive: PythonArchive) -> Iterator[str]:
        """Where an archive may be, the best place first."""
        place = urllib.parse.quote(archive.path)
        if mirror := self._environment.get(MIRROR):
            yield f"{mirror.rstrip('/')}/{place}"
            return
        listed = self.listed()
        yield from (build.url for build in listed if build.path == archive.path)
        tails = ((build.url, urllib.parse.quote(build.path)) for build in listed)
        roots = [url.removesuffix(tail) for url, tail in tails if url.endswith(tail)]
        for root in dict.fromkeys([*roots, f"{RELEASES}/"]):
            yield f"{root}{place}"

    def _archive(self, build: Build, wanted: Wish) -> PythonArchive:
        notes = self._store.cache_directory("pythons")
        note = notes / urllib.parse.quote(build.path, safe="")
        try:
            known, length = note.read_text().split()
            if self._store.files.path(known, "python") is not None:
                return PythonArchive(build.path, int(length), known)
        except (OSError, ValueError, CortenError):
            pass
        name = build.path.rsplit("/", 1)[-1]
        self._observe(TaskStarted("download", name))
        self._store.headroom.need()
        with self._store.temporary_directory("pythons") as directory:
            self._uv(["install", "--no-bin", build.key], directory, f"Python {wanted.named}", wanted.minor)
            kept = [path for path in (directory / "archives").iterdir() if path.is_file()]
            if len(kept) != 1:
                raise FetchError(f"uv has kept no archive of '{build.key}'", hint="update uv")
            size, sha256 = kept[0].stat().st_size, _sha256(kept[0])
            self._store.files.add(kept[0], sha256, "python")
        write_atomically(note, f"{sha256} {size}".encode())
        self._observe(TaskFinished("download", name))
        return PythonArchive(build.path, size, sha256)

    def _uv(self, arguments: Sequence[str], directory: Path, what: str, minor: str = "") -> str:
        """What `uv python` prints. Raises FetchError."""
        environment = {
            "UV_HTTP_RETRIES": "1",
            **read_indexes(None, self._environment).uv_environment(),
            "UV_CACHE_DIR": str(directory / "cache"),
            "UV_PYTHON_INSTALL_DIR": str(directory / "installed"),
            "UV_PYTHON_CACHE_DIR": str(directory / "archives"),
            "UV_PYTHON_DOWNLOADS": "manual",
        }
        kept = {name: self._environment[name] for name in (MIRROR, LISTING) if self._environment.get(name)}
        places = [str(path) for url in kept.values() if (path := _local(url)) is not None]
        if self._listed:
            places += [str(path.parent) for build in self._listed if (path := _local(build.url)) is not None]
        done = run_uv(
            ["python", *arguments, "--no-config"],
            {**environment, **kept},
            directory=directory,
            places=list(dict.fromkeys(places)),
            observe=self._observe,
        )
        if done.code != 0 or done.late:
            raise FetchError(
                f"{what} cannot be had: {reason(done.errors.decode(errors='replace'))}",
                hint=ways_out(minor),
            )
        return done.output.decode(errors="replace")


def reason(said: str) -> str:
    """What uv's errors come to, in a few words."""
    causes = _CAUSE.findall(said)
    host = _HOST.search(said)
    if host is not None and re.search(
        r"dns error|client error \(Connect\)|timed out|refused", said, re.IGNORECASE
    ):
        return f"the host '{host[1]}' cannot be reached"
    lines = [line for line in said.strip().splitlines() if line.strip()]
    last = (causes or lines or ["uv has not said why"])[-1].strip()
    return re.sub(r"://[^/@\s]*@", "://", last)[:300]


def ways_out(minor: str) -> str:
    """What to do where no archive can be had."""
    image = f'base = "python:{minor or "3.12"}-slim"'
    return (
        f"set {MIRROR} to a mirror of its releases, or take an image with that Python: {image}; "
        "Debian itself has 3.11 (bookworm) and 3.13 (trixie)"
    )


def fetch_pythons(
    store: Store,
    archives: Iterable[PythonArchive],
    environment: Mapping[str, str],
    observe: Observer,
    *,
    offline: Path | None = None,
) -> dict[str, Path]:
    """The place of every archive in the store, by sha256. With `offline` only that directory is looked at. Raises FetchError,
    HashMismatch."""
    wanted = {archive.sha256: archive for archive in archives}
    missing = [archive for sha256, archive in wanted.items() if store.files.path(sha256, "python") is None]
    if missing:
        http = Http(network_from(environment))
        if offline is not None:
            work = from_directory(offline, "python", missing)
        else:
            pythons = Pythons(store, environment, observe)
            work = [
                Wanted("python", item.file, item.sha256, item.size, partial(pythons.addresses, item))
                for item in missing
            ]
        bring(store, work, observe, 4, http)
    return places_of(store, wanted, "python")


def _local(url: str) -> Path | None:
    return local_path(url) if "://" in url else Path(url)


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
