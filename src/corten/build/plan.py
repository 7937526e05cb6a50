"""Which layers an image has, in which order, from which files: a pure function of the lock and the project's files.

Every layer is named by a key, the canonical description of all that goes into it. Equal keys give equal layers, in every
project and on every machine, so a layer whose key is known is never made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from corten.errors import BuildError
from corten.lock.model import LAYER_FORMAT, DebianBase, ImageBase, PlatformLock
from corten.oci.config import canonical_json
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.files import Deb, PythonArchive, Wheel
from corten.values import dataclass

FORM = 1
"""The number of the form of our pycs, part of every layer key that has bytecode."""

CONFIGURED = 4
"""The number of the form of layers that configure Debian packages, part of their keys."""

LAYER_BUDGET = 96
"""Layers of an image, its base included. docker and moby stop at 125."""

BUCKETS = 16
"""Layers that the small wheels share when there are too many for one each."""

OWN_LAYER = 16 << 20
"""Weights of at least this many bytes have a layer of their own; smaller ones share one."""

VENV = "/opt/venv"
SERVING = "/opt/corten"
HOME = "/home/nonroot"
STANDALONE = "/usr/local"
"""Where a Python that is not Debian's lies."""


def _key(kind: str, **inputs: object) -> str:
    return canonical_json({"layer-format": LAYER_FORMAT, "kind": kind, **inputs}).decode()


def compiler_identity(part: PlatformLock) -> str:
    """Which compiler the bytecode of this platform's image comes from: its version, its package where it has one, and
    the form of the pycs. Debian's builds of one package compile to equal bytes on amd64 and arm64."""
    base = part.base
    package = ""
    if isinstance(base, ImageBase):
        # A base from elsewhere may not have a say in layers that other bases share.
        package = f" {base.digest}"
    elif base.interpreter is not None:
        # Nor may an archive that only its hash names.
        by = f" by {part.compiled_by}" if part.compiled_by else ""
        package = f" archive {base.interpreter.sha256}{by}"
    else:
        name = f"python{part.python}-minimal"
        package = next((f" {deb.version}" for deb in base.debs if deb.name == name), "")
    apart = f" unauthenticated {part.unauthenticated}" if part.unauthenticated else ""
    return f"cpython {base.python}{package} form {FORM}{apart}"


class _Keyed:
    """A layer whose key is computed once. It gives the slotted values below a dictionary for that: without slots, `corten.values` would
    import `dataclasses`, which takes 10 ms of every build."""


@dataclass(frozen=True, slots=True)
class BaseLayer(_Keyed):
    """The Debian base, with the standard library's bytecode."""

    base: DebianBase
    compiler: str

    @property
    def title(self) -> str:
        """For people, as every layer has."""
        python = f", python {self.base.python}" if self.base.python else ""
        return f"debian {self.base.suite}{python}"

    @cached_property
    def key(self) -> str:
        """The layer's inputs."""
        debs = [deb.sha256 for deb in self.base.debs]
        return _key(
            "debian", debs=debs, suite=self.base.suite, python=self.base.python, compiler=self.compiler
        )


@dataclass(frozen=True, slots=True)
class SystemLayer(_Keyed):
    """The project's own system packages, with what they need beyond the base."""

    debs: tuple[Deb, ...]
    base: BaseLayer

    @property
    def title(self) -> str:
        return f"{len(self.debs)} system packages"

    @cached_property
    def key(self) -> str:
        """The base is an input too: the linker's cache covers both, and it compiles the packages' Python sources."""
        return _key("system", debs=[deb.sha256 for deb in self.debs], base=self.base.key, bytecode=FORM)


@dataclass(frozen=True, slots=True)
class PythonLayer(_Keyed):
    """A Python that is not Debian's, at /usr/local, with its library's bytecode. `base` has the C library that it runs on, which is no
    part of the layer."""

    archive: PythonArchive
    base: BaseLayer
    compiler: str

    @property
    def title(self) -> str:
        return f"python {self.archive.version}{'t' if self.archive.threaded else ''}"

    @cached_property
    def key(self) -> str:
        return _key("python", sha256=self.archive.sha256, prefix=STANDALONE, compiler=self.compiler)


@dataclass(frozen=True, slots=True)
class ConfiguredLayer(_Keyed):
    """What the scripts of the system packages do, above the layer that has their files. `mode` says what it takes
    (`corten.packages.debian.scripts.Mode`), `tools` are the packages that scripts run with."""

    system: SystemLayer
    mode: str
    tools: tuple[Deb, ...]
    platform: Platform
    unclear: str = ""

    @property
    def title(self) -> str:
        return "configuration of system packages"

    @property
    def host(self) -> Platform:
        """This machine's platform."""
        return Platform.host()

    @cached_property
    def key(self) -> str:
        return _key(
            "configured",
            form=CONFIGURED,
            system=self.system.key,
            mode=self.mode,
            tools=[deb.sha256 for deb in self.tools],
        )


@dataclass(frozen=True, slots=True)
class EnvironmentLayer(_Keyed):
    """The project's virtual environment, still without packages. `paths` go to sys.path after site-packages."""

    prefix: str
    python: str
    interpreter: str
    paths: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"environment {self.prefix}"

    @property
    def minor(self) -> str:
        """The Python as in paths: `3.11`, `3.13t`."""
        threaded = self.interpreter.startswith(STANDALONE) and self.interpreter.endswith("t")
        return ".".join(self.python.split(".")[:2]) + ("t" if threaded else "")

    @cached_property
    def key(self) -> str:
        return _key(
            "environment",
            prefix=self.prefix,
            python=self.python,
            interpreter=self.interpreter,
            paths=self.paths,
        )


@dataclass(frozen=True, slots=True)
class WheelLayer(_Keyed):
    """One wheel in an environment, with its bytecode."""

    wheel: Wheel
    prefix: str
    python: str
    compiler: str

    @property
    def title(self) -> str:
        return f"{self.wheel.name} {self.wheel.version}"

    @cached_property
    def key(self) -> str:
        return _key(
            "wheel", sha256=self.wheel.sha256, prefix=self.prefix, python=self.python, compiler=self.compiler
        )


@dataclass(frozen=True, slots=True)
class BucketLayer(_Keyed):
    """Several small wheels in one layer."""

    number: int
    wheels: tuple[WheelLayer, ...]

    @property
    def title(self) -> str:
        return ", ".join(layer.title for layer in self.wheels)

    @cached_property
    def key(self) -> str:
        return _key("wheels", wheels=[layer.key for layer in self.wheels])


@dataclass(frozen=True, slots=True)
class ServingLayer(_Keyed):
    """The model server: its own environment with its packages, and `corten_serve` itself. `worker` is the compiler of the project's
    environment, whose Python runs the worker's side, where that is another one."""

    environment: EnvironmentLayer
    wheels: tuple[WheelLayer, ...]
    source: Digest
    worker: str = ""

    @property
    def title(self) -> str:
        return "model server"

    @cached_property
    def key(self) -> str:
        return _key(
            "serving",
            environment=self.environment.key,
            wheels=[layer.key for layer in self.wheels],
            source=self.source,
            compiler=self.environment.python,
            **({"worker": self.worker} if self.worker else {}),
        )


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight file by its path in the project, size in bytes and sha256 digest."""

    path: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class WeightLayer(_Keyed):
    """Weights below /models, each with a link at its place in /app."""

    weights: tuple[Weight, ...]

    @property
    def title(self) -> str:
        first = self.weights[0].path
        return first if len(self.weights) == 1 else f"{first} and {len(self.weights) - 1} more"

    @cached_property
    def key(self) -> str:
        return _key("weights", files=[[weight.path, weight.digest] for weight in self.weights])


@dataclass(frozen=True, slots=True)
class HubLayer(_Keyed):
    """A model of a hub, in the form of the cache of the hub's library. `files` are path and sha256."""

    repository: str
    revision: str
    commit: str
    files: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        return f"model {self.repository}"

    @cached_property
    def key(self) -> str:
        return _key(
            "hub", repository=self.repository, revision=self.revision, commit=self.commit, files=self.files
        )


@dataclass(frozen=True, slots=True)
class CodeLayer(_Keyed):
    """The project's own files at /app, compiled. `files` are path, executable bit, target of a link, sha256; `project`
    its name, version and scripts, which its metadata is written from. `folders`: the program may write to /app,
    also to these that only weights lie in; None: it may not. `alias` is another path that leads to /app. `local` are
    packages in its folders: name, version, import path and entry points; the project's own entry points are those of the empty name."""

    files: tuple[tuple[str, bool, str | None, Digest | None], ...]
    project: tuple[str, str | None, tuple[tuple[str, str], ...]]
    python: str
    compiler: str
    prefix: str
    folders: tuple[str, ...] | None = None
    alias: str = ""
    local: tuple[tuple[str, str | None, tuple[str, ...], tuple[tuple[str, str, str], ...]], ...] = ()

    @cached_property
    def key(self) -> str:
        # Of a predictor, which writes nothing there, the key is what it was before there was a difference.
        more: dict[str, Any] = {"alias": self.alias} if self.alias else {}
        if self.local:
            more["local"] = self.local
        return _key(
            "code",
            **({"writable": self.folders} if self.folders is not None else {}),
            files=Digest.of(canonical_json(self.files)),
            project=self.project,
            python=self.python,
            compiler=self.compiler,
            prefix=self.prefix,
            **more,
        )


@dataclass(frozen=True, slots=True)
class FolderLayer(_Keyed):
    """A folder that everybody may write to, for bases without a home for the image's user."""

    path: str

    @property
    def title(self) -> str:
        return f"folder {self.path}"

    @cached_property
    def key(self) -> str:
        return _key("folder", path=self.path)


def foreign_key(diff_id: Digest) -> str:
    """The key of a layer of a base that was made elsewhere: it is what it is."""
    return _key("foreign", diff_id=diff_id)


PackageLayer = (
    FolderLayer
    | BaseLayer
    | PythonLayer
    | SystemLayer
    | ConfiguredLayer
    | ServingLayer
    | EnvironmentLayer
    | WheelLayer
    | BucketLayer
)
"""A layer that the lock alone determines."""


def package_layers(
    part: PlatformLock, source: Digest | None, apart: frozenset[str] = frozenset(), reserved: int = 2
) -> tuple[PackageLayer, ...]:
    """The layers of everything but the project's own files, bottom to top; none for a base that is an OCI image.

    `source` is the content hash of `corten_serve` where the project has a predictor. Wheels named in `apart` must not
    share a layer: they write a path that another writes too, and the order by name decides (DECISIONS 6). `reserved`
    layers are kept free for weights and code. Raises BuildError when the base leaves no room."""
    compiler = compiler_identity(part)
    layers: list[PackageLayer] = []
    if isinstance(part.base, DebianBase):
        base = base_layer(part)
        layers.append(base)
        if part.base.interpreter is not None:
            layers.append(PythonLayer(part.base.interpreter, base, compiler))
        if part.system:
            system = SystemLayer(part.system, base)
            layers.append(system)
            if part.scripts not in ("", "none"):
                layers.append(ConfiguredLayer(system, part.scripts, part.tools, part.platform, part.unclear))
    elif part.system:
        raise BuildError(
            "`system` packages need a Debian base",
            hint='use `base = "debian:bookworm"`, or install them into the base image',
        )
    else:
        layers.append(FolderLayer(HOME))
    interpreter = interpreter_path(part)
    if source is not None:
        # The server runs on Debian's Python whatever the project's is.
        own = part.debian
        if not own.base.python:
            raise BuildError("the lock has no Python for the model server", hint="run 'corten lock'")
        environment = EnvironmentLayer(SERVING, own.base.python, interpreter_path(own), (f"{SERVING}/app",))
        by = compiler_identity(own)
        wheels = tuple(WheelLayer(wheel, SERVING, own.python, by) for wheel in _by_name(part.serving))
        layers.append(ServingLayer(environment, wheels, source, compiler if own is not part else ""))
    paths = ("/app", "/app/src", *((f"{SERVING}/app",) if source is not None else ()))
    layers.append(EnvironmentLayer(VENV, part.base.python, interpreter, paths))
    wheels = tuple(WheelLayer(wheel, VENV, part.python, compiler) for wheel in _by_name(part.wheels))
    layers += grouped(wheels, LAYER_BUDGET - len(layers) - reserved, apart)
    return tuple(layers)


def base_layer(part: PlatformLock) -> BaseLayer:
    """The Debian base of `part`: the same one whatever Python the project has beside Debian's own."""
    own = part.debian
    assert isinstance(own.base, DebianBase)
    return BaseLayer(own.base, compiler_identity(own) if own.base.python else "")


def interpreter_path(part: PlatformLock) -> str:
    """Where the base has its Python."""
    if isinstance(part.base, ImageBase):
        return part.base.interpreter
    if part.base.interpreter is not None:
        return f"{STANDALONE}/bin/python{part.python}"
    return f"/usr/bin/python{part.python}"


def grouped(
    wheels: Sequence[WheelLayer], room: int, apart: frozenset[str] = frozenset()
) -> tuple[WheelLayer | BucketLayer, ...]:
    """One layer for each wheel while `room` lasts. Beyond it the largest keep their own and the small ones go to fixed
    buckets by a hash of the name, so that a change touches one bucket. Raises BuildError for less room than it takes."""
    if len(wheels) <= room:
        return tuple(wheels)
    if room < BUCKETS + len(apart):
        raise BuildError(
            f"{len(wheels)} wheels do not fit into {room} layers", hint="use a base image with fewer layers"
        )
    by_size = sorted(
        wheels, key=lambda layer: (layer.wheel.name not in apart, -layer.wheel.size, layer.wheel.name)
    )
    own = set(by_size[: room - BUCKETS])
    buckets: dict[int, list[WheelLayer]] = {}
    for layer in wheels:
        if layer not in own:
            number = hashlib.sha256(layer.wheel.name.encode()).digest()[0] % BUCKETS
            buckets.setdefault(number, []).append(layer)
    shared = [BucketLayer(number, tuple(members)) for number, members in sorted(buckets.items())]
    return (*shared, *(layer for layer in wheels if layer in own))


def weight_layers(weights: Iterable[Weight], room: int) -> tuple[WeightLayer, ...]:
    """Large weights in layers of their own as far as `room` goes, the largest first; the rest in one. A file is never
    split: a layer holds whole files."""
    ordered = sorted(weights, key=lambda weight: weight.path)
    large = sorted(
        (weight for weight in ordered if weight.size >= OWN_LAYER), key=lambda weight: -weight.size
    )
    own = set(large[: max(room - 1, 0)])
    rest = tuple(weight for weight in ordered if weight not in own)
    layers = [WeightLayer(rest)] if rest else []
    return (*layers, *(WeightLayer((weight,)) for weight in ordered if weight in own))


def _by_name(wheels: Iterable[Wheel]) -> list[Wheel]:
    return sorted(wheels, key=lambda wheel: wheel.name)
