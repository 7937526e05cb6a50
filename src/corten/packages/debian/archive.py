"""The way in: a suite's base, system packages and compiler as lists of `Deb`s.

Three suites count, NAME, NAME-updates and NAME-security; each one's index is verified before anything in it is believed.
Resolving with unchanged indexes asks the mirror for the three signed Release files and reads the rest from the cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from corten.errors import ProjectError, ResolutionError
from corten.events import Observer, TaskFinished, TaskStarted, Warned, ignore
from corten.packages.debian import contents, heads, solver, version
from corten.packages.debian.deb import Control
from corten.packages.debian.index import Catalogue, Package
from corten.packages.debian.mirrors import Mirrors, parts_of
from corten.packages.debian.relations import NAME
from corten.packages.debian.sources import Sources, read_sources
from corten.packages.files import STRICT, Accepted, Deb
from corten.packages.http import Http, Patience, network_from
from corten.store.store import Store
from corten.values import dataclass

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
# What builds of python-build-standalone take from the system: the C library, and crypt(3) up to 3.12.
_FOR_STANDALONE = ("libc6", "libcrypt1")
# What scripts may count on (Policy 3.8, "Essential packages"), and what most of them call.
_TOOLS = (
    "adduser",
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "debconf",
    "debianutils",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "libc-bin",
    "login",
    "mawk",
    "ncurses-bin",
    "passwd",
    "perl-base",
    "sed",
    "sysvinit-utils",
    "tar",
    "ucf",
    "usr-is-merged",
    "util-linux",
)
_SYSTEMD = ("systemd-standalone-sysusers", "systemd-standalone-tmpfiles")


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


def _pythons_packages(python: str) -> tuple[str, ...]:
    return (*_EXTRAS.get(python, ()), f"python{python}-minimal", f"libpython{python}-stdlib")


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
        accepted: Accepted = STRICT,
    ) -> None:
        http = http or Http(network_from(os.environ, connect=6.0, read=20.0), Patience(attempts=3))
        sources = sources or read_sources()
        self.mirrors = Mirrors(store, sources, http, keys=keys, now=now, accepted=accepted)

    def base(
        self,
        suite: str,
        variant: str,
        architecture: str,
        observe: Observer = ignore,
        *,
        with_python: bool = True,
    ) -> DebianResolution:
        """See `resolve_base`. Without Debian's Python, what an interpreter from elsewhere needs is there, and `python` is empty."""
        python = python_of(suite)
        if variant not in ("default", "minimal"):
            raise ProjectError(
                f"there is no base 'debian:{suite}-{variant}'",
                hint=f"use debian:{suite} or debian:{suite}-minimal",
            )
        names = {
            *_FOUNDATION,
            *(() if variant == "minimal" else _USERLAND),
            *(_pythons_packages(python) if with_python else _FOR_STANDALONE),
        }
        catalogue = self.catalogue(suite, architecture, observe)
        packages = solver.resolve(catalogue, names, architecture, assumed=solver.ASSUMED | _WITHOUT)
        if not with_python:
            return DebianResolution(suite, variant, "", self._listed(suite, packages))
        interpreter = next(item for item in packages if item.name == f"python{python}-minimal")
        exact = version.upstream(interpreter.version)
        return DebianResolution(suite, variant, exact, self._listed(suite, packages))

    def system(
        self,
        suite: str,
        architecture: str,
        names: Iterable[str],
        base_debs: Sequence[Deb],
        observe: Observer = ignore,
        optional: Collection[str] = (),
    ) -> tuple[Deb, ...]:
        """See `resolve_system`. One of the names `optional` that the suite does not have is left out, with a warning."""
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
        absent = [
            name
            for name in wanted
            if name in optional
            and not catalogue.named(name)
            and len({package.name for package in catalogue.providing(name)}) != 1
        ]
        if absent:
            observe(
                Warned(
                    f"left out {', '.join(absent)}: Debian {suite} has no package of that name",
                    "write `system` into [tool.corten], with what it is called there",
                )
            )
        wanted = [name for name in wanted if name not in absent]
        installed = [_installed(catalogue, deb) for deb in base_debs]
        packages = solver.resolve(catalogue, wanted, architecture, installed=installed)
        return self._listed(suite, packages)

    def having(
        self, suite: str, architecture: str, libraries: Iterable[str], observe: Observer = ignore
    ) -> dict[str, tuple[str, ...]]:
        """The packages of `suite` that have each of the shared `libraries`, where one has it, by Debian's signed list of files.
        Raises FetchError, SignatureError."""
        codename, archive = parts_of(suite)[0]
        prepared = self.mirrors.contents(codename, archive, architecture, observe)
        self.mirrors.remember()
        return contents.lookup(prepared, libraries)

    def compiler(
        self, suite: str, architecture: str, observe: Observer = ignore, *, with_python: bool = True
    ) -> tuple[Deb, ...]:
        """See `resolve_compiler`. Without Debian's Python: what an interpreter from elsewhere needs."""
        python = python_of(suite)
        names = [f"python{python}-minimal", f"libpython{python}-minimal"] if with_python else _FOR_STANDALONE
        catalogue = self.catalogue(suite, architecture, observe)
        return self._listed(suite, solver.resolve(catalogue, names, architecture))

    def tools(
        self,
        suite: str,
        architecture: str,
        base_debs: Sequence[Deb],
        system: Sequence[Deb],
        observe: Observer = ignore,
    ) -> tuple[Deb, ...]:
        """The packages beyond `base_debs` and `system` with which the scripts of `system` run. Raises as `resolve_base`."""
        catalogue = self.catalogue(suite, architecture, observe)
        there = {deb.name for deb in (*base_debs, *system)}
        wanted = [*_TOOLS, *(() if "systemd" in there else _SYSTEMD)]
        installed = [_installed(catalogue, deb) for deb in (*base_debs, *system)]
        packages = solver.resolve(
            catalogue,
            [name for name in wanted if name not in there and catalogue.named(name)],
            architecture,
            installed=installed,
            assumed=frozenset({"cdebconf", "debconf-2.0", "install-info", "lsb-base"}),
        )
        return self._listed(suite, packages)

    def controls(self, debs: Sequence[Deb]) -> list[Control]:
        """The control files of `debs`, in their order; not verified. Raises FetchError, FormatError."""
        return heads.controls(self.mirrors, debs)

    def _listed(self, suite: str, packages: Sequence[Package]) -> tuple[Deb, ...]:
        """What a lock says of packages that signed indexes list. That they do is remembered for builds of that lock."""
        self.mirrors.signed.add(suite, packages)
        return tuple(map(_deb, packages))

    def catalogue(self, suite: str, architecture: str, observe: Observer = ignore) -> Catalogue:
        """The packages of `suite`, its updates and its security updates. Raises FetchError, SignatureError."""
        python_of(suite)
        if architecture not in ARCHITECTURES:
            raise ProjectError(
                f"there is no base for '{architecture}'", hint=f"Corten makes {' and '.join(ARCHITECTURES)}"
            )
        task = f"packages of debian:{suite} for {architecture}"
        observe(TaskStarted("resolve", task))
        parts = parts_of(suite)
        pool = ThreadPoolExecutor(len(parts))
        waits = True
        try:
            work = [
                pool.submit(self.mirrors.index, name, archive, architecture, observe)
                for name, archive in parts
            ]
            indexes = [item.result() for item in work]
        except KeyboardInterrupt:
            # Reading an index takes seconds, and whoever interrupts it does not want it any more.
            waits = False
            raise
        finally:
            pool.shutdown(wait=waits, cancel_futures=not waits)
        self.mirrors.remember()
        observe(TaskFinished("resolve", task))
        return Catalogue(indexes)


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
