"""What `cuda.py` compares, read from this machine and from an image's layers. Nothing is started but NVIDIA's own tool."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from corten.lazy import regex
from corten.runtime.cuda import Gpu, Machine, compare, needs_of, needs_rocm, parse_version
from corten.runtime.doctor import Finding
from corten.runtime.identity import find_program
from corten.store.images import Image
from corten.store.store import Store

_LOADED = regex(r"Kernel Module.*?\s([0-9]+(?:\.[0-9]+){1,2})\s")
_PLACES = ("opt/venv/lib", "usr/local/lib", "usr/lib", "opt/conda/lib", "venv/lib", "app/.venv/lib")
_PACKAGES = ("site-packages", "dist-packages")
_MOST = 20_000


def examine_image(image: Image, store: Store) -> list[Finding]:
    """How the image's CUDA goes with this machine's driver and devices."""
    trees = [str(store.layers.tree(diff_id)) for diff_id in image.config.diff_ids]
    packages = sorted(set(installed_packages(trees)))
    return compare(needs_of(packages, image.config.env), needs_rocm(packages), machine())


def installed_packages(trees: Iterable[str]) -> Iterator[str]:
    """The names of the `.dist-info` folders in the usual places of these trees. Links in them are not followed: the trees
    are an image's, which may be anybody's."""
    for tree in trees:
        for place in _PLACES:
            for python in _folders(tree, place):
                if not python.startswith("python3"):
                    continue
                for kind in _PACKAGES:
                    yield from (
                        name
                        for name in _folders(tree, f"{place}/{python}/{kind}")
                        if name.endswith(".dist-info")
                    )


def _folders(tree: str, place: str) -> list[str]:
    path = tree
    for part in place.split("/"):
        path = f"{path}/{part}"
        try:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                return []
        except OSError:
            return []
    return os.listdir(path)[:_MOST]


def machine(root: str = "/") -> Machine:
    """NVIDIA's driver and devices, as its kernel module and its tool tell."""
    driver = parse_driver(_read(f"{root}proc/driver/nvidia/version")) or parse_version(
        _read(f"{root}sys/module/nvidia/version")
    )
    amd = os.path.exists(f"{root}dev/kfd")
    if not driver:
        return Machine(None, (), amd)
    tool = find_program("nvidia-smi")
    gpus = (
        parse_devices(_ask([tool, "--query-gpu=name,compute_cap", "--format=csv,noheader"])) if tool else ()
    )
    return Machine(driver, gpus or tuple(_models(root)), amd)


def parse_driver(text: str) -> tuple[int, ...]:
    """The version in /proc/driver/nvidia/version; empty where there is none."""
    match = _LOADED.search(text)
    return parse_version(match[1]) if match else ()


def parse_devices(text: str) -> tuple[Gpu, ...]:
    """The lines of `nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader`."""
    found = []
    for line in text.splitlines()[:64]:
        name, _, capability = line.rpartition(",")
        version = parse_version(capability)
        if name.strip():
            found.append(Gpu(name.strip(), version if len(version) == 2 else None))
    return tuple(found)


def _models(root: str) -> Iterator[Gpu]:
    place = f"{root}proc/driver/nvidia/gpus"
    for name in sorted(os.listdir(place)) if os.path.isdir(place) else []:
        for line in _read(f"{place}/{name}/information").splitlines():
            if line.startswith("Model:"):
                yield Gpu(line.partition(":")[2].strip())


def _ask(command: list[str]) -> str:
    import subprocess

    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[:65536].decode(errors="replace") if done.returncode == 0 else ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except OSError:
        return ""
