"""What a lock says about a file from outside: enough to recognise it anywhere, nothing about where it is."""

from __future__ import annotations

from corten.lazy import regex
from corten.values import dataclass

PYTHON_PATH = regex(
    r"([0-9]{8})/cpython-(3\.[0-9]{1,2}\.[0-9]{1,2}(?:(?:a|b|rc)[0-9]{1,2})?)\+([0-9]{8})-(x86_64|aarch64)-unknown-linux-gnu"
    r"(-freethreaded)?-install_only(?:_stripped)?\.tar\.gz"
)
"""The place of an archive of python-build-standalone below its releases: release, version, release again, machine, and whether it
is a free-threaded build."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel by name, version, file name, size in bytes and sha256 (64 hex digits). No host."""

    name: str
    version: str
    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Sdist:
    """The source that a wheel of a lock was built from, by name, version, file name, size and sha256. `wheel` is the sha256 of what came of it,
    `requires` are those of the wheels that its build backend had; `native`: it had a compiler; `reproducible`: two builds gave the same bytes.
    `marks` has four letters for every file in the wheel, by which another build can say which file differs."""

    name: str
    version: str
    file: str
    size: int
    sha256: str
    wheel: str
    requires: tuple[str, ...] = ()
    native: bool = False
    reproducible: bool = True
    marks: str = ""


@dataclass(frozen=True, slots=True)
class Deb:
    """A Debian package. `path` is its place in an archive's pool (`pool/main/z/zlib/zlib1g_1.2.13_amd64.deb`),
    `archive` the archive's name (`debian`, `debian-security`), `released` the Date of the Release file that listed it
    (ISO 8601, UTC), by which a dated archive finds it after mirrors have dropped it."""

    name: str
    version: str
    architecture: str
    archive: str
    path: str
    size: int
    sha256: str
    released: str

    @property
    def file(self) -> str:
        """The file name."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class PythonArchive:
    """An archive of python-build-standalone. `path` is its place below the releases
    (`20261009/cpython-3.10.22+20261009-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz`). No host."""

    path: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        """The file name."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def version(self) -> str:
        """The exact version: `3.10.22`."""
        return self.file.removeprefix("cpython-").partition("+")[0]

    @property
    def threaded(self) -> bool:
        """Whether it is a free-threaded build (PEP 703)."""
        return "-freethreaded-" in self.file

    @property
    def minor(self) -> str:
        """The minor version as in paths: `3.10`, `3.13t`."""
        return ".".join(self.version.split(".")[:2]) + ("t" if self.threaded else "")

    @property
    def release(self) -> str:
        """The release that it belongs to: `20261009`."""
        return self.path.partition("/")[0]


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model on a hub, by its path in the repository."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of a hub. `name` is as a project says it in full (`hf://org/name@main`), `commit` what its revision was when it was locked."""

    name: str
    commit: str
    files: tuple[HubFile, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a user accepts of Debian's archive that is refused otherwise. `older_release`: a Release file that is older than one
    that was seen before, or past its Valid-Until. `unauthenticated`: packages that no signed index lists."""

    older_release: bool = False
    unauthenticated: bool = False


STRICT = Accepted()
"""Nothing is accepted."""
