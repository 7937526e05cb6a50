"""Making the layers that the store lacks: files from a supply are placed into a temporary tree, which then becomes a layer.

Each maker writes below a tree that stands for the image's root and knows nothing of the store.
"""

from __future__ import annotations

import os
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
    ServingLayer,
    SystemLayer,
    WeightLayer,
    WheelLayer,
)
from corten.build.sources import copy_file, copy_source
from corten.build.wheel import place_wheel
from corten.packages.files import Deb, Wheel
from corten.project.model import SourceFile
from corten.store.disk import remove_tree
from corten.values import replace

Advance = Callable[[int], None]


class Supply(Protocol):
    """Where the files that a lock names come from: the network with a cache, or a directory. Both methods return the
    files by sha256, every one verified, or raise FetchError."""

    def wheels(self, wheels: Sequence[Wheel]) -> Mapping[str, Path]: ...

    def debs(self, debs: Sequence[Deb]) -> Mapping[str, Path]: ...


def sources_below(tree: Path, *directories: str) -> list[str]:
    """The Python sources below `directories` of `tree`, as paths relative to it, without those that lie in caches."""
    found: list[str] = []
    root = os.fspath(tree)
    for directory in directories:
        for parent, names, files in os.walk(f"{root}/{directory.lstrip('/')}"):
            if "__pycache__" in names:
                names.remove("__pycache__")
            prefix = parent[len(root) + 1 :]
            found += [f"{prefix}/{name}" for name in files if name.endswith(".py") and "\n" not in name]
    return found


def make_base(layer: BaseLayer, debs: Mapping[str, Path], tree: Path) -> None:
    """The Debian base without bytecode."""
    chosen = [(deb, debs[deb.sha256]) for deb in layer.base.debs]
    minor = ".".join(layer.base.python.split(".")[:2])
    debian_base.place_base(chosen, tree, python=minor)


def make_compiler(debs: Sequence[tuple[Deb, Path]], tree: Path, python: str) -> None:
    """The interpreter of a base, for this machine's processor: enough to compile, never part of an image."""
    debian_base.place_base(debs, tree, python=python)


def base_sources(layer: BaseLayer, tree: Path) -> list[str]:
    """The standard library's sources in a finished base."""
    minor = ".".join(layer.base.python.split(".")[:2])
    return sources_below(tree, *debian_base.stdlib_directories(minor))


def make_system(layer: SystemLayer, debs: Mapping[str, Path], base_tree: Path, tree: Path) -> None:
    """System packages over a base."""
    chosen = [(deb, debs[deb.sha256]) for deb in layer.debs]
    debian_base.place_system(chosen, tree, base_debs=layer.base.base.debs, base_tree=base_tree)


def system_sources(tree: Path) -> list[str]:
    """The Python sources that system packages bring for the system's Python."""
    return sources_below(tree, "usr/lib/python3/dist-packages")


def make_folder(layer: FolderLayer, tree: Path) -> None:
    """A folder that everybody may write to."""
    folder = tree / layer.path.lstrip("/")
    folder.mkdir(parents=True)
    folder.chmod(0o1777)


def make_environment(layer: EnvironmentLayer, tree: Path) -> None:
    """An empty virtual environment (PEP 405)."""
    minor = ".".join(layer.python.split(".")[:2])
    root = tree / layer.prefix.lstrip("/")
    site_packages = root / "lib" / f"python{minor}" / "site-packages"
    site_packages.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "lib64").symlink_to("lib")
    (root / "bin" / "python").symlink_to(layer.interpreter)
    (root / "bin" / "python3").symlink_to("python")
    (root / "bin" / f"python{minor}").symlink_to("python")
    home = layer.interpreter.rsplit("/", 1)[0]
    (root / "pyvenv.cfg").write_text(
        f"home = {home}\ninclude-system-site-packages = false\nversion = {layer.python}\n"
    )
    (site_packages / "_corten.pth").write_text("".join(f"{path}\n" for path in layer.paths))


def make_wheel(
    layer: WheelLayer, file: Path, tree: Path, compiler: Compiler, advance: Advance | None = None
) -> None:
    """One wheel with its bytecode."""
    environment = Environment(layer.prefix, layer.python)
    place_wheel(file, layer.wheel.file, environment, tree, advance)
    compiler.compile(tree, sources_below(tree, environment.site_packages), "unchecked")


def make_bucket(layer: BucketLayer, trees: Sequence[Path], tree: Path) -> None:
    """Several wheels in one layer, from the trees of their own layers, by hard links: no bytes are copied. Where two
    have the same path, the later one by name wins, as it would in an overlay."""
    for source in trees:
        _link_tree(os.fspath(source), os.fspath(tree))


def make_serving(
    layer: ServingLayer,
    files: Mapping[str, Path],
    server: Sequence[tuple[str, Path]],
    tree: Path,
    compiler: Compiler,
) -> None:
    """The model server: its environment, its packages and `corten_serve`, whose files are `server`."""
    make_environment(layer.environment, tree)
    environment = Environment(layer.environment.prefix, layer.wheels[0].python if layer.wheels else "3")
    for wheel in layer.wheels:
        place_wheel(files[wheel.wheel.sha256], wheel.wheel.file, environment, tree)
    target = tree / "opt/corten/app/corten_serve"
    for name, source in server:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        copy_file(source, place)
    compiler.compile(tree, sources_below(tree, environment.prefix), "unchecked")


def make_weights(layer: WeightLayer, files: Mapping[str, SourceFile], root: Path, tree: Path) -> None:
    """Weights of the project at `root` at /models with links at their places in /app, so that code that opens a path beside itself works."""
    for weight in layer.weights:
        place = tree / "models" / weight.path
        place.parent.mkdir(parents=True, exist_ok=True)
        copy_source(root, replace(files[weight.path], executable=False), place)
        link = tree / "app" / weight.path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/models/{weight.path}")


def _link_tree(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    with os.scandir(source) as listing:
        for item in listing:
            place = f"{target}/{item.name}"
            if item.is_dir(follow_symlinks=False):
                if os.path.lexists(place) and not os.path.isdir(place):
                    os.unlink(place)
                _link_tree(item.path, place)
                continue
            remove_tree(Path(place))
            if item.is_symlink():
                os.symlink(os.readlink(item.path), place)
            else:
                os.link(item.path, place)
