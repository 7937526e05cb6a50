"""Modules that nobody listed, and packages of CUDA that a file pins."""

from __future__ import annotations

import hashlib

import pytest

from corten.events import Warned
from corten.lock.accelerators import has_gpu
from corten.packages.cpu_builds import pinned_note
from support.index import publish
from support.lock_world import World, said
from support.wheels import make_wheel

COMMAND = '[tool.corten]\ncommand = ["python", "x.py"]\n'


def warned(world: World) -> list[str]:
    found = [event.message for event in world.events if isinstance(event, Warned)]
    world.events.clear()
    return found


def test_a_module_that_no_package_has_is_said_once(world: World) -> None:
    # `delta_things` comes with gamma's own requirement; its name tells nothing.
    make_wheel(world.pool, "delta", files={"delta_things/__init__.py": b""})
    make_wheel(world.pool, "gamma", requires=("delta",))
    publish(world.web, world.pool)
    world.write("pyproject.toml", COMMAND + 'platforms = ["linux/amd64", "linux/arm64"]\n')
    world.write("requirements.txt", "gamma\nalpha\n")
    world.write("own.py", "import mystery.part\n")
    world.write(
        "x.py",
        "import os, alpha, delta_things, own, mystery\ntry:\n    import guarded\nexcept ImportError:\n    guarded = None\n"
        "def late():\n    import never\n",
    )
    lock = world.lock()
    assert warned(world) == [
        "the program imports 'mystery' (x.py:1) as it starts, and no package of the lock has it"
    ]
    world.write("x.py", "import delta_things\n")
    world.lock(previous=lock)
    assert warned(world) == []


def test_modules_without_a_list_are_said_in_their_own_way(world: World) -> None:
    world.write("x.py", "import mystery\n")
    world.lock()
    assert warned(world) == []


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU, for which packages of CUDA are right")
def test_pinned_packages_of_cuda_are_said_with_their_siblings(world: World) -> None:
    for name in ("nvidia-nccl-cu12", "xgboost"):
        make_wheel(world.pool, name, requires=("nvidia-nccl-cu12",) if name == "xgboost" else ())
    publish(world.web, world.pool)
    world.write("pyproject.toml", COMMAND)
    pins = ""
    for name in ("nvidia_nccl_cu12", "xgboost"):
        digest = hashlib.sha256(next(world.pool.glob(f"{name}-1.0*")).read_bytes()).hexdigest()
        pins += f"{name}==1.0 --hash=sha256:{digest}\n"
    world.write("requirements.txt", pins)
    lock = world.lock()
    message = (
        "'requirements.txt' pins packages of CUDA, and this machine has no GPU: nvidia-nccl-cu12; without them: "
        "'xgboost-cpu' stands for 'xgboost'"
    )
    assert said(world).count(message) == 1
    world.events.clear()
    world.lock(previous=lock)
    assert message not in said(world)
    world.write("pyproject.toml", COMMAND + 'gpu = "any"\n')
    world.lock()
    assert message not in said(world)


def test_what_is_said_of_many_packages_of_cuda() -> None:
    names = [f"nvidia-{part}-cu12" for part in ("cublas", "cudnn", "cufft", "nccl", "nvtx")]
    assert pinned_note([*names, "torch"], "uv.lock") == (
        "'uv.lock' pins packages of CUDA, and this machine has no GPU: nvidia-cublas-cu12, nvidia-cudnn-cu12, "
        "nvidia-cufft-cu12 and 2 more; without them: torch has builds for CPUs on an index of its own"
    )
    assert pinned_note(["torch", "xgboost", "nvidia-ml-py"], "uv.lock") is None
