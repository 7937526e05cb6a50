"""The lock as values. A lock names files and hashes, never hosts."""

from __future__ import annotations

from collections.abc import Sequence

from corten.errors import LockOutdated
from corten.lazy import regex
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.files import Deb, HubModel, PythonArchive, Sdist, Wheel
from corten.values import dataclass, field, replace

_INTERPRETER = regex(r"python3\.[0-9]+-minimal")

LAYER_FORMAT = 2
"""The number that every layer key and lock carries. Digests depend on it, never on Corten's version."""


@dataclass(frozen=True, slots=True)
class DebianBase:
    """A base assembled from Debian packages. `variant` is `default` or `minimal` (without the userland).

    `debs` is the closure in unpacking order; `python` the exact version of the project's interpreter (`3.11.2`). `interpreter` is
    set where that is not Debian's: then `debs` have Debian's Python for the model server alone, and none without a predictor."""

    suite: str
    variant: str
    python: str
    debs: tuple[Deb, ...]
    interpreter: PythonArchive | None = None

    @property
    def debian_python(self) -> str:
        """The exact version of Debian's own Python in the base; empty where it has none."""
        return python_in(self.debs) if self.interpreter is not None else self.python


@dataclass(frozen=True, slots=True)
class ImageBase:
    """A base that is an OCI image. `reference` is what lasts of what the project wrote (`corten.lock.resolve.lasting_name`), `digest` the
    digest of the platform's manifest, `python` the exact version found in it, `interpreter` the path of that Python in the
    image."""

    reference: str
    digest: Digest
    python: str
    interpreter: str


Base = DebianBase | ImageBase


def python_in(debs: Sequence[Deb]) -> str:
    """The exact version of the Python among `debs` (`3.11.2`); empty where there is none."""
    found = (deb for deb in debs if _INTERPRETER.fullmatch(deb.name))
    return next((deb.version.rpartition(":")[2].partition("-")[0] for deb in found), "")


@dataclass(frozen=True, slots=True)
class PlatformLock:
    """Everything that an image for one platform is made of, but the project's own files.

    `system` is the closure of the Debian packages `system_names` and `library_names` beyond the base; the latter were added for what
    the wheels need. `serving` holds the model server's own
    packages; it is empty where the project has no predictor. `without` names what imports ask for and no wheel was found for. `local` are the project's folders with packages that are used
    where they lie. `sdists` are the sources
    that some of `wheels` were built from, with `build_wheels`, which no image has; those that are native with `build_debs` too, compilers beyond
    the base. `unauthenticated` is set by `Lock.apart` and `compiled_by` by `Lock.compiled_on`; both are in no file.

    `scripts` is what it takes to configure `system` (`corten.packages.debian.scripts.Mode`; empty: nobody has looked), `unclear` the
    packages whose own scripts that takes, each with a command that is not understood, and `tools` what those scripts run with: it
    does not enter the image."""

    platform: Platform
    base: Base
    system: tuple[Deb, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    serving: tuple[Wheel, ...] = ()
    system_names: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    unauthenticated: str = ""
    library_names: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    sdists: tuple[Sdist, ...] = ()
    build_wheels: tuple[Wheel, ...] = ()
    build_debs: tuple[Deb, ...] = ()
    compiled_by: str = ""
    scripts: str = ""
    unclear: str = ""
    tools: tuple[Deb, ...] = ()

    @property
    def debian(self) -> PlatformLock:
        """This part with Debian's own Python in the place of the project's: that of the model server. Without one in the base,
        its Python is empty."""
        base = self.base
        if not isinstance(base, DebianBase) or base.interpreter is None:
            return self
        return replace(self, base=replace(base, python=base.debian_python, interpreter=None), compiled_by="")

    @property
    def python(self) -> str:
        """The interpreter's minor version, as in paths: `3.11`, `3.13t`."""
        if isinstance(self.base, DebianBase) and self.base.interpreter is not None:
            return self.base.interpreter.minor
        return ".".join(self.base.python.split(".")[:2])


@dataclass(frozen=True, slots=True)
class Lock:
    """`project` is the hash of the normalised inputs that the lock was made from (see `corten.lock.inputs`);
    `serving` the content hash of `corten_serve` (None without a predictor); `compilers` maps an architecture that the
    lock has no platform for, and on whose machines it was made, to the interpreter packages that compile bytecode there; `interpreters` maps it to the archive of a Python that is not Debian's;
    `models` are those of a hub, for every platform.
    `left_out` are platforms of the project for which a source has to be built on such a machine."""

    corten: str
    project: Digest
    platforms: tuple[PlatformLock, ...]
    serving: Digest | None = None
    compilers: dict[str, tuple[Deb, ...]] = field(default_factory=dict)
    interpreters: dict[str, PythonArchive] = field(default_factory=dict)
    models: tuple[HubModel, ...] = ()
    layer_format: int = LAYER_FORMAT
    as_of: str | None = None
    """The day (`2023-06-29`) after which no file of a package was uploaded; it holds for later locks too."""
    left_out: tuple[Platform, ...] = ()

    @property
    def suites(self) -> tuple[str, ...]:
        """The Debian suites that the lock takes packages from."""
        bases = (part.base for part in self.platforms)
        return tuple(sorted({base.suite for base in bases if isinstance(base, DebianBase)}))

    def apart(self) -> Lock:
        """This lock for a build that accepts Debian packages which no signed index lists: its layers have keys of their own, for
        the interpreter among those packages may have a say in every one of them."""
        debs = [
            deb.sha256
            for part in self.platforms
            for deb in (
                *(part.base.debs if isinstance(part.base, DebianBase) else ()),
                *part.system,
                *part.tools,
            )
        ]
        debs += [deb.sha256 for _, compiler in sorted(self.compilers.items()) for deb in compiler]
        mark = Digest.of("\n".join(debs).encode()).hex
        return replace(self, platforms=tuple(replace(part, unauthenticated=mark) for part in self.platforms))

    def archive_on(self, architecture: str, python: str) -> PythonArchive | None:
        """The archive of exactly that `python` that runs on machines of `architecture`."""
        found = [
            part.base.interpreter
            for part in self.platforms
            if isinstance(part.base, DebianBase) and part.platform.architecture == architecture
        ]
        for archive in (*found, self.interpreters.get(architecture)):
            if archive is not None and archive.version == python:
                return archive
        return None

    def compiled_on(self, part: PlatformLock, architecture: str) -> PlatformLock:
        """`part` for a build on a machine of `architecture`. An archive is known by its hash alone, so layers that another one
        has compiled have keys of their own."""
        if not isinstance(part.base, DebianBase) or part.base.interpreter is None:
            return part
        if part.platform.architecture == architecture:
            return part
        archive = self.archive_on(architecture, part.base.python)
        return replace(part, compiled_by=archive.sha256 if archive is not None else "")

    def for_platform(self, platform: Platform) -> PlatformLock:
        """The part for `platform`. Raises LockOutdated when the lock has none."""
        for part in self.platforms:
            if part.platform == platform:
                return part
        if platform in self.left_out:
            raise LockOutdated(
                f"the lock leaves {platform} out: a package has no wheel for it, and its source contains native code, which can be built only on such a machine",
                hint=f"run 'corten lock' on a machine of {platform}",
            )
        raise LockOutdated(
            f"the lock has no packages for {platform}", hint="add it to `platforms` and run 'corten lock'"
        )
