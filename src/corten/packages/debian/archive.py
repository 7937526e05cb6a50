"""The way in: a suite's base, system packages and compiler as lists of `Deb`s, and where those can be fetched.

Three suites count, NAME, NAME-updates and NAME-security; each one's index is verified before anything in it is believed.
Resolving with unchanged indexes asks the mirror for the three signed Release files and reads the rest from the cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from corten.errors import FetchError, FormatError, ProjectError, ResolutionError, SignatureError
from corten.events import Observer, TaskFinished, TaskStarted, ignore
from corten.network.connection import Absent, shown
from corten.packages.debian import index, release, solver, version
from corten.packages.debian.index import Catalogue, Index, Package
from corten.packages.debian.relations import NAME
from corten.packages.debian.release import Release
from corten.packages.debian.sources import MAIN, SECURITY, Sources, read_sources
from corten.packages.files import Deb
from corten.packages.http import Http, Patience, network_from
from corten.store.disk import write_atomically
from corten.store.store import Store
from corten.values import dataclass

T = TypeVar("T")

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""The Python of each suite that Corten knows."""

ARCHITECTURES = ("amd64", "arm64")

_FOUNDATION = (
    "base-files",
    "ca-certificates",
    "libc-bin",
    "libgomp1",
    "libstdc++6",
    "media-types",
    "netbase",
    "tzdata",
)
_USERLAND = (
    "bash",
    "coreutils",
    "dash",
    "debianutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "sed",
    "tar",
)
# distutils left the standard library's package in 3.11; `python3` itself, which they depend on, would add nothing.
_EXTRAS = {"3.11": ("python3-distutils", "python3-lib2to3")}
_WITHOUT = frozenset({"python3"})

_POOL = re.compile(r"pool/(?:[A-Za-z0-9_][A-Za-z0-9_.+~:%-]*/)+[A-Za-z0-9][A-Za-z0-9_.+~:%-]*\.deb")
_KINDS = ("xz", "gz", "")


@dataclass(frozen=True, slots=True)
class DebianResolution:
    """A base: `python` is the interpreter's exact version (`3.11.2`), `debs` the closure in unpacking order."""

    suite: str
    variant: str
    python: str
    debs: tuple[Deb, ...]


def python_of(suite: str) -> str:
    """The Python of a suite as in paths (`3.11`). Raises ProjectError for a suite that Corten does not know."""
    if suite in PYTHONS:
        return PYTHONS[suite]
    raise ProjectError(
        f"there is no base 'debian:{suite}'",
        hint=f"use {' or '.join(f'debian:{name}' for name in PYTHONS)}, each also with '-minimal'",
    )


def check_python(suite: str, wanted: str | None) -> str:
    """The suite's Python, when `wanted` (`3.11`, `3.11.2` or None) is no other. Raises ProjectError that says what fits."""
    found = python_of(suite)
    if wanted is None or ".".join(wanted.split(".")[:2]) == found:
        return found
    fitting = [name for name, python in PYTHONS.items() if python == ".".join(wanted.split(".")[:2])]
    if fitting:
        hint = f'set base = "debian:{fitting[0]}", which has Python {wanted}'
    else:
        offers = ", ".join(f"{python} with debian:{name}" for name, python in PYTHONS.items())
        hint = f"Debian has Python {offers}; use one of them, or an image with Python {wanted} as base"
    raise ProjectError(f"the base 'debian:{suite}' has Python {found}, not {wanted}", hint=hint)


def resolve_base(
    store: Store, suite: str, variant: str, architecture: str, observe: Observer = ignore
) -> DebianResolution:
    """The base of `suite` for `architecture` by today's indexes; `variant` is `default` or `minimal`.
    Raises ProjectError, FetchError, SignatureError, ResolutionError."""
    return DebianArchive(store).base(suite, variant, architecture, observe)


def resolve_system(
    store: Store,
    suite: str,
    architecture: str,
    names: Iterable[str],
    base_debs: Sequence[Deb],
    observe: Observer = ignore,
) -> tuple[Deb, ...]:
    """The packages `names` and what they need beyond `base_debs`, in unpacking order. Raises as `resolve_base`."""
    return DebianArchive(store).system(suite, architecture, names, base_debs, observe)


def resolve_compiler(
    store: Store, suite: str, architecture: str, observe: Observer = ignore
) -> tuple[Deb, ...]:
    """The smallest set of packages whose interpreter compiles bytecode for `suite`. Raises as `resolve_base`."""
    return DebianArchive(store).compiler(suite, architecture, observe)


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
        addresses = [f"{mirror}/{path}" for mirror in _known_first(store, deb.archive, sources)]
    if sources.snapshot is not None:
        for stamp in _stamps(deb.released):
            addresses.append(f"{sources.snapshot}/archive/{quote(deb.archive)}/{stamp}/{path}")
    if not addresses:
        sources.of(deb.archive)
    return addresses


def _stamps(released: str) -> list[str]:
    try:
        moment = datetime.fromisoformat(released.replace("Z", "+00:00"))
    except ValueError as error:
        raise FormatError(f"'{released[:40]}' is not a time") from error
    return [f"{moment + timedelta(hours=hours):%Y%m%dT%H%M%SZ}" for hours in (12, 36, 0)]


def _mirrors_file(store: Store) -> Path:
    return store.cache_directory("debian") / "mirrors.json"


def _known_first(store: Store, archive: str, sources: Sources) -> list[str]:
    """The configured mirrors of `archive`, those first that gave a verified index before."""
    candidates = sources.of(archive)
    try:
        known = json.loads(_mirrors_file(store).read_bytes())
        proven = {str(url) for url in known.get(archive, [])}
    except (OSError, ValueError, AttributeError, TypeError):
        proven = set()
    return sorted(candidates, key=lambda url: url not in proven)


class DebianArchive:
    """The Debian archive as this machine reaches it. `keys` and `now` are Debian's keys and the clock, by default."""

    def __init__(
        self,
        store: Store,
        sources: Sources | None = None,
        http: Http | None = None,
        *,
        keys: Sequence[bytes] | None = None,
        now: datetime | None = None,
    ) -> None:
        self.store = store
        self.sources = sources or read_sources()
        self.http = http or Http(network_from(os.environ, connect=6.0, read=20.0), Patience(attempts=3))
        self.keys = keys
        self.now = now
        self._proven: dict[str, list[str]] = {}

    def base(
        self, suite: str, variant: str, architecture: str, observe: Observer = ignore
    ) -> DebianResolution:
        """See `resolve_base`."""
        python = python_of(suite)
        if variant not in ("default", "minimal"):
            raise ProjectError(
                f"there is no base 'debian:{suite}-{variant}'",
                hint=f"use debian:{suite} or debian:{suite}-minimal",
            )
        names = {
            *_FOUNDATION,
            *(() if variant == "minimal" else _USERLAND),
            *_EXTRAS.get(python, ()),
            f"python{python}-minimal",
            f"libpython{python}-stdlib",
        }
        catalogue = self.catalogue(suite, architecture, observe)
        packages = solver.resolve(catalogue, names, architecture, assumed=solver.ASSUMED | _WITHOUT)
        interpreter = next(item for item in packages if item.name == f"python{python}-minimal")
        exact = version.upstream(interpreter.version)
        return DebianResolution(suite, variant, exact, tuple(map(_deb, packages)))

    def system(
        self,
        suite: str,
        architecture: str,
        names: Iterable[str],
        base_debs: Sequence[Deb],
        observe: Observer = ignore,
    ) -> tuple[Deb, ...]:
        """See `resolve_system`."""
        wanted = list(names)
        for name in wanted:
            if not NAME.fullmatch(name):
                bare = re.split(r"[=:/\s(]", name.strip().lower(), maxsplit=1)[0]
                raise ResolutionError(
                    f"'{name[:100]}' is not the name of a Debian package",
                    hint=f"write '{bare}': the lock records the version and the architecture"
                    if bare
                    else None,
                )
        if not wanted:
            return ()
        catalogue = self.catalogue(suite, architecture, observe)
        installed = [_installed(catalogue, deb) for deb in base_debs]
        packages = solver.resolve(catalogue, wanted, architecture, installed=installed)
        return tuple(map(_deb, packages))

    def compiler(self, suite: str, architecture: str, observe: Observer = ignore) -> tuple[Deb, ...]:
        """See `resolve_compiler`."""
        python = python_of(suite)
        names = [f"python{python}-minimal", f"libpython{python}-minimal"]
        catalogue = self.catalogue(suite, architecture, observe)
        return tuple(map(_deb, solver.resolve(catalogue, names, architecture)))

    def catalogue(self, suite: str, architecture: str, observe: Observer = ignore) -> Catalogue:
        """The packages of `suite`, its updates and its security updates. Raises FetchError, SignatureError."""
        python_of(suite)
        if architecture not in ARCHITECTURES:
            raise ProjectError(
                f"there is no base for '{architecture}'", hint=f"Corten makes {' and '.join(ARCHITECTURES)}"
            )
        task = f"packages of debian:{suite} for {architecture}"
        observe(TaskStarted("resolve", task))
        parts = ((suite, MAIN), (f"{suite}-updates", MAIN), (f"{suite}-security", SECURITY))
        with ThreadPoolExecutor(len(parts)) as pool:
            work = [pool.submit(self._index, name, archive, architecture, observe) for name, archive in parts]
            indexes = [item.result() for item in work]
        self._remember()
        observe(TaskFinished("resolve", task))
        return Catalogue(indexes)

    def _index(self, codename: str, archive: str, architecture: str, observe: Observer) -> Index:
        def attempt(mirror: str) -> Index:
            data = self.http.get(f"{mirror}/dists/{codename}/InRelease", limit=release.LARGEST, page=True)
            found = release.read_release(data, codename, shown(mirror), keys=self.keys, now=self.now)
            self._proven.setdefault(archive, []).append(mirror)
            return self._prepared(mirror, found, archive, architecture, observe)

        return self._first(archive, f"the index of '{codename}'", attempt)

    def _first(self, archive: str, what: str, attempt: Callable[[str], T]) -> T:
        """What the first mirror gives that can. Otherwise the most telling failure: a wrong signature, then a mirror
        that does not answer, then one that has no such thing."""
        failures: list[FetchError | SignatureError] = []
        for mirror in _known_first(self.store, archive, self.sources):
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

    def _prepared(
        self, mirror: str, found: Release, archive: str, architecture: str, observe: Observer
    ) -> Index:
        folder = f"main/binary-{architecture}"
        for kind in _KINDS:
            path = f"{folder}/Packages" + (f".{kind}" if kind else "")
            if path in found.files:
                break
        else:
            raise Absent(f"'{found.codename}' at '{shown(mirror)}' has no packages for {architecture}")
        sha256, size = found.files[path]
        cache = self.store.cache_directory("debian")
        prefix = f"{found.codename}-{architecture}-"
        target = cache / f"{prefix}{sha256[:24]}.index"
        with contextlib.suppress(OSError, FormatError):
            return Index(target, architecture, archive, found.date)
        base = f"{mirror}/dists/{found.codename}"
        urls = [f"{base}/{path}"]
        if found.by_hash:
            urls.insert(0, f"{base}/{folder}/by-hash/SHA256/{sha256}")
        with self.store.temporary_directory("debian-index") as directory:
            packed = directory / "Packages"
            label = f"index of {found.codename} for {architecture}"
            self.http.download(urls, packed, sha256=sha256, size=size, observe=observe, name=label)
            unpacked = found.files.get(f"{folder}/Packages", ("", index.LARGEST))[1]
            index.prepare(packed, kind, target, min(unpacked, index.LARGEST))
        for other in cache.glob(f"{prefix}*.index"):
            if other != target:
                other.unlink(missing_ok=True)
        return Index(target, architecture, archive, found.date)

    def _remember(self) -> None:
        path = _mirrors_file(self.store)
        data = json.dumps({name: sorted(set(urls)) for name, urls in sorted(self._proven.items())}).encode()
        with contextlib.suppress(OSError):
            if path.exists() and path.read_bytes() == data:
                return
            write_atomically(path, data)


def _deb(package: Package) -> Deb:
    return Deb(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        archive=package.archive,
        path=package.path,
        size=package.size,
        sha256=package.sha256,
        released=package.released,
    )


def _installed(catalogue: Catalogue, deb: Deb) -> Package:
    """A package of the base. One that the archive has replaced since provides, we take it, what its successor does."""
    known = catalogue.named(deb.name)
    for package in known:
        if package.version == deb.version:
            return package
    provides = known[0].provides if known else ()
    return Package(deb.name, deb.version, deb.architecture, provides=provides)
