"""The real archive, through this machine's own mirrors: all four targets resolve, and what is built from them runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.build.debian_base import place_base, place_system, stdlib_directories
from corten.packages import http
from corten.packages.debian.archive import DebianArchive, resolve_base, resolve_compiler, resolve_system
from corten.packages.debian.mirrors import locate
from corten.packages.debian.tree import walk
from corten.packages.files import Deb
from corten.project.hints import debian_names
from corten.store.store import Store

pytestmark = pytest.mark.e2e

IMPORTS = (
    "import ssl, sqlite3, ctypes, ctypes.util, zoneinfo, lzma, bz2, readline, uuid, hashlib, multiprocessing, subprocess, getpass\n"
    "ctypes.CDLL('libstdc++.so.6'); ctypes.CDLL('libgomp.so.1')\n"
    "assert ctypes.util.find_library('gomp') == 'libgomp.so.1', 'ld.so.cache'\n"
    "assert len(ssl.create_default_context().get_ca_certs()) > 100, 'certificates'\n"
    "assert zoneinfo.ZoneInfo('Europe/Berlin'), 'time zones'\n"
    "assert subprocess.run('echo $0 | sed s/x/y/ | grep -c . ; which awk', shell=True, capture_output=True, check=True).stdout\n"
    "import pwd; assert pwd.getpwuid(65532).pw_dir == '/home/nonroot'\n"
    "import platform; print(platform.python_version())\n"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    return Store.open(tmp_path_factory.mktemp("store"))


def fetched(store: Store, debs: tuple[Deb, ...]) -> list[tuple[Deb, Path]]:
    found = []
    for deb in debs:
        target = store.files.path(deb.sha256, "deb") or store.files.incoming(deb.sha256, "deb")
        http.download(locate(store, deb), target, deb.size, deb.sha256)
        found.append((deb, target))
    return found


def inside(root: Path, *command: str) -> str:
    """Run `command` with `root` as its root directory."""
    enter = ["chroot"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "chroot"]
    # A device node cannot always be made; a file does for what is only thrown away.
    (root / "dev/null").touch()
    process = subprocess.run(
        [*enter, root, *command],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def size(tree: Path) -> int:
    return sum(
        (tree / path).lstat().st_size
        for path in walk(tree)
        if (tree / path).is_file() and not (tree / path).is_symlink()
    )


@pytest.mark.parametrize(("suite", "python"), [("bookworm", "3.11"), ("trixie", "3.13")])
def test_a_base_runs_python(store: Store, tmp_path: Path, suite: str, python: str) -> None:
    base = resolve_base(store, suite, "default", "amd64")
    assert base.python.startswith(python + ".")
    tree = tmp_path / "tree"
    tree.mkdir()
    place_base(fetched(store, base.debs), tree, python=base.python)
    # With the bytecode of the standard library, which is as large as its sources at most, 90 MB are not passed.
    sources = sum(size(tree / directory) for directory in stdlib_directories(base.python))
    assert size(tree) + sources < 90e6
    assert (
        os.uname().machine != "x86_64"
        or inside(tree, "/usr/bin/python3", "-B", "-c", IMPORTS).strip() == base.python
    )


def test_the_other_architecture_resolves_to_the_same_packages(store: Store) -> None:
    for suite in ("bookworm", "trixie"):
        amd64 = resolve_base(store, suite, "default", "amd64")
        arm64 = resolve_base(store, suite, "default", "arm64")
        assert [deb.name for deb in arm64.debs] == [deb.name for deb in amd64.debs]
        assert arm64.python == amd64.python
        minimal = resolve_base(store, suite, "minimal", "arm64")
        assert {deb.name for deb in minimal.debs} < {deb.name for deb in arm64.debs}
        assert {deb.name for deb in resolve_compiler(store, suite, "arm64")} < {
            deb.name for deb in minimal.debs
        }


@pytest.mark.long
def test_packages_that_are_renamed_get_names_that_the_releases_have(store: Store) -> None:
    for number, release in enumerate(debian_names.RELEASES):
        catalogue = DebianArchive(store).catalogue(release, "amd64")
        for table in (debian_names.RENAMED, debian_names.LIBRARY):
            for name, now in table.items():
                target = now if isinstance(now, str) else now[number]
                assert not target or catalogue.named(target), f"{name} is not {target} in {release}"


def test_a_system_package_runs_above_the_base(store: Store, tmp_path: Path) -> None:
    base = resolve_base(store, "bookworm", "default", "amd64")
    added = resolve_system(store, "bookworm", "amd64", ["libgl1", "jq"], base.debs)
    assert {"libgl1", "libglvnd0", "jq", "libjq1"} <= {deb.name for deb in added}
    assert not {deb.name for deb in added} & {deb.name for deb in base.debs}
    tree, layer = tmp_path / "tree", tmp_path / "layer"
    tree.mkdir()
    layer.mkdir()
    place_base(fetched(store, base.debs), tree, python=base.python)
    small = tuple(deb for deb in added if deb.size < 1_000_000)  # LLVM is of no interest here
    place_system(fetched(store, small), layer, base_debs=base.debs, base_tree=tree)
    merged = tmp_path / "merged"
    subprocess.run(["cp", "-a", tree, merged], check=True)
    subprocess.run(["cp", "-a", "--remove-destination", f"{layer}/.", merged], check=True)
    assert inside(merged, "/usr/bin/jq", "-n", "1+1") == "2\n"
    code = "import ctypes.util; print(ctypes.util.find_library('GL'), ctypes.util.find_library('stdc++'))"
    assert inside(merged, "/usr/bin/python3", "-B", "-c", code) == "libGL.so.1 libstdc++.so.6\n"
