"""A build that is killed at any write leaves nothing wrong behind: the next one just works, and gives the same image."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from corten.store.check import check
from corten.store.store import Store
from support.command import Corten
from support.wheels import make_wheel

# How often each call is made in this small build decides how many kills there are.
WRITES = ["rename", "mkdir", "unlink", "symlink", "fchmod", "ftruncate", "write"]
KILLS = 6


Expected = Callable[[int], tuple[str, bytes]]


@pytest.fixture(scope="module")
def expected(corten: Corten, base_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """The digest and the lock that a build of the project of a number gives where nothing is killed."""
    place = tmp_path_factory.mktemp("expected")
    reference = corten.at(place / "store")
    subprocess.run(["cp", "-al", base_home, reference.home], check=True)

    @cache
    def build(nth: int) -> tuple[str, bytes]:
        root = write_project(place, nth)
        digest = str(reference.build(root)["digest"])
        lock = (root / "corten.lock").read_bytes()
        shutil.rmtree(root)
        return digest, lock

    return build


def write_project(place: Path, nth: int) -> Path:
    """A small project with a wheel and weights, which differ from one number to the next."""
    files = {"demo/__init__.py": f"n = {nth}\n", "demo/data.txt": "x" * 2000}
    make_wheel(place / "wheels", "demo", f"1.{nth}", files)
    root = place / "project"
    root.mkdir()
    (root / "requirements.txt").write_text(f"--no-index\n--find-links ../wheels\ndemo==1.{nth}\n")
    (root / "main.py").write_text(f"import demo\nprint(demo.n, {nth})\n")
    (root / "weights.onnx").write_text(f"weights {nth}")
    return root


@pytest.mark.e2e
@pytest.mark.parametrize("call", WRITES)
def test_a_build_killed_at_any_write(
    call: str, corten: Corten, base_home: Path, expected: Expected, tmp_path: Path
) -> None:
    """strace kills the process at the n-th call of one kind, for n = 1, 2, …, until a build gets through."""
    victim = corten.at(tmp_path / "victim")
    subprocess.run(["cp", "-al", base_home, victim.home], check=True)
    killed = 0
    # The later, the wider they are spread: 1, 2, 4, 8, …
    nth = 1
    while killed < KILLS:
        digest, lock = expected(nth)
        root = write_project(tmp_path, nth)
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={nth}"]
        first = subprocess.run(
            [*trace, *victim.command("build", root)], env=victim.variables(), capture_output=True, check=False
        )
        assert victim.build(root)["digest"] == digest
        assert (root / "corten.lock").read_bytes() == lock
        check_whole(victim.home)
        shutil.rmtree(root)
        if first.returncode == 0:
            break
        killed += 1
        nth += max(1, nth)
    assert killed > 0, f"no build makes the call {call}"
    victim("prune")
    assert not list(tmp_path.rglob(".corten.lock*"))
    assert not [path for path in (victim.home / "tmp").iterdir() if path.is_dir()]


def check_whole(home: Path) -> None:
    """Every layer that the store shows streams back to its own digest; every key leads to a layer or nowhere."""
    store = Store.open(home)
    assert check(store, quick=True).findings == ()
    for image in store.images.all():
        for diff_id in image.config.diff_ids[1:]:
            if store.layers.get(diff_id).size < 1 << 20:
                store.layers.tree(diff_id)
                list(store.layers.stream(diff_id))
