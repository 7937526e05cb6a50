"""Making the layers that the store lacks: files from a supply are placed into a temporary tree, which then becomes a layer.

Each maker writes below a tree that stands for the image's root and knows nothing of the store.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from corten.build import debian_base
from corten.build.bytecode import Compiler
from corten.build.environment import Environment
from corten.build.plan import (
    BaseLayer,
    BucketLayer,
    EnvironmentLayer,
    FolderLayer,
    PythonLayer,
    ServingLayer,
    SystemLayer,
    WeightLayer,
    WheelLayer,
)
from corten.build.sources import copy_file, copy_source
from corten.build.standalone import place_python
from corten.build.wheel import place_wheel
from corten.oci.bound import WHEEL, Bound
from corten.oci.inside import Inside
from corten.packages.files import Deb, PythonArchive, Wheel
from corten.project.model import SourceFile
from corten.values import replace

Advance = Callable[[int], None]


class Supply(Protocol):
    """Where the files that a lock names come from: the network with a cache, or a directory. The methods return the
    files by sha256, every one verified, or raise FetchError."""

    def wheels(self, wheels: Sequence[Wheel]) -> Mapping[str, Path]: ...

    def debs(self, debs: Sequence[Deb]) -> Mapping[str, Path]: ...

    def pythons(self, archives: Sequence[PythonArchive]) -> Mapping[str, Path]: ...


def sources_below(tree: Path, *directories: str) -> list[str]:
    """The Python sources below `directories` of `tree`, as paths relative to it, without those that lie in caches. No link is
    one, nor is what it leads to: Debian has `sitecustomize.py` as a link to /etc, where people put their own."""
    found: list[str] = []
    with Inside(tree) as inside:
        for directory in directories:
            for parent, names, files in inside.walk(directory):
                if "__pycache__" in names:
                    names.remove("__pycache__")
                prefix = f"{parent}/" if parent else ""
                found += [f"{prefix}{name}" for name in files if name.endswith(".py")]
    return found


def make_base(layer: BaseLayer, debs: Mapping[str, Path], tree: Path, advance: Advance | None = None) -> None:
    """The Debian base without bytecode."""
    chosen = [(deb, debs[deb.sha256]) for deb in layer.base.debs]
    minor = ".".join(layer.base.python.split(".")[:2])
    debian_base.place_base(chosen, tree, python=minor, spend=advance)


def make_compiler(
    debs: Sequence[tuple[Deb, Path]], tree: Path, python: str, advance: Advance | None = None
) -> None:
    """The interpreter of a base, for this machine's processor: enough to compile, never part of an image."""
    debian_base.place_base(debs, tree, python=python, spend=advance)


def base_sources(layer: BaseLayer, tree: Path) -> list[str]:
    """The standard library's sources in a finished base."""
    if not layer.base.python:
        return []
    minor = ".".join(layer.base.python.split(".")[:2])
    return sources_below(tree, *debian_base.stdlib_directories(minor))


def make_python(
    layer: PythonLayer, file: Path, tree: Path, advance: Advance | None = None, bound: Bound = WHEEL
) -> None:
    """A Python that is not Debian's, without bytecode."""
    place_python(file, layer.archive, tree, advance, bound)


def make_beside(trees: Sequence[Path], tree: Path) -> None:
    """Several trees as one, in the empty directory `tree`, by hard links: for a program that runs in it and can write nothing."""
    with Inside(tree) as target:
        for place in trees:
            with Inside(place) as source:
                _link_tree(source, target)


def make_system(
    layer: SystemLayer,
    debs: Mapping[str, Path],
    base_tree: Path,
    tree: Path,
    advance: Advance | None = None,
) -> None:
    """System packages over a base."""
    chosen = [(deb, debs[deb.sha256]) for deb in layer.debs]
    debian_base.place_system(chosen, tree, base_debs=layer.base.base.debs, base_tree=base_tree, spend=advance)


def system_sources(tree: Path) -> list[str]:
    """The Python sources that system packages bring for the system's Python."""
    return sources_below(tree, "usr/lib/python3/dist-packages")


def make_folder(layer: FolderLayer, tree: Path) -> None:
    """A folder that everybody may write to."""
    with Inside(tree) as inside:
        inside.directory(layer.path, make=True)
        inside.chmod(layer.path, 0o1777)


def make_environment(layer: EnvironmentLayer, tree: Path) -> None:
    """An empty virtual environment (PEP 405)."""
    minor = layer.minor
    root = layer.prefix
    home = layer.interpreter.rsplit("/", 1)[0]
    about = f"home = {home}\ninclude-system-site-packages = false\nversion = {layer.python}\n"
    paths = "".join(f"{path}\n" for path in layer.paths)
    with Inside(tree) as inside:
        inside.symlink(f"{root}/lib64", "lib")
        inside.symlink(f"{root}/bin/python", layer.interpreter)
        inside.symlink(f"{root}/bin/python3", "python")
        inside.symlink(f"{root}/bin/python{minor}", "python")
        inside.write(f"{root}/pyvenv.cfg", about.encode())
        inside.write(f"{root}/lib/python{minor}/site-packages/_corten.pth", paths.encode())


def make_wheel(
    layer: WheelLayer,
    file: Path,
    tree: Path,
    compiler: Compiler,
    advance: Advance | None = None,
    bound: Bound = WHEEL,
) -> None:
    """One wheel with its bytecode."""
    environment = Environment(layer.prefix, layer.python)
    place_wheel(file, layer.wheel.file, environment, tree, advance, bound)
    compiler.compile(tree, sources_below(tree, environment.site_packages), "unchecked")


def make_bucket(layer: BucketLayer, trees: Sequence[Path], tree: Path) -> None:
    """Several wheels in one layer, from the trees of their own layers, by hard links: no bytes are copied. Where two
    have the same path, the later one by name wins, as it would in an overlay."""
    make_beside(trees, tree)


def make_serving(
    layer: ServingLayer,
    files: Mapping[str, Path],
    server: Sequence[tuple[str, Path]],
    tree: Path,
    compiler: Compiler,
    advance: Advance | None = None,
    bound: Bound = WHEEL,
    worker: Compiler | None = None,
) -> None:
    """The model server: its environment, its packages and `corten_serve`, whose files are `server`. `worker` compiles the latter for
    the project's Python too, where that is another one."""
    make_environment(layer.environment, tree)
    environment = Environment(layer.environment.prefix, layer.wheels[0].python if layer.wheels else "3")
    for wheel in layer.wheels:
        place_wheel(files[wheel.wheel.sha256], wheel.wheel.file, environment, tree, advance, bound)
    with Inside(tree) as inside:
        for name, source in server:
            copy_file(source, inside, f"opt/corten/app/corten_serve/{name}")
    compiler.compile(tree, sources_below(tree, environment.prefix), "unchecked")
    if worker is not None:
        worker.compile(tree, sources_below(tree, "opt/corten/app"), "unchecked")


def make_weights(layer: WeightLayer, files: Mapping[str, SourceFile], root: Path, tree: Path) -> None:
    """Weights of the project at `root` at /models with links at their places in /app, so that code that opens a path beside itself works."""
    tree.mkdir(exist_ok=True)
    with Inside(tree) as inside:
        for weight in layer.weights:
            file = replace(files[weight.path], executable=False)
            copy_source(root, file, inside, f"models/{weight.path}")
            inside.symlink(f"app/{weight.path}", f"/models/{weight.path}")


def _link_tree(source: Inside, target: Inside) -> None:
    """Lay one tree over another. Where one has a directory and the other has none, the later one wins."""
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        for name in source.listing(parent):
            path = f"{parent}/{name}" if parent else name
            status = source.status(path)
            assert status is not None  # a finished layer
            there = target.status(path)
            if stat.S_ISDIR(status.st_mode):
                if there is not None and not stat.S_ISDIR(there.st_mode):
                    target.unlink(path)
                target.directory(path, make=True)
                waiting.append(path)
                continue
            if there is not None:
                target.remove(path)
            if stat.S_ISLNK(status.st_mode):
                target.symlink(path, source.readlink(path))
            else:
                target.link(path, source)
