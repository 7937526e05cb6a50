"""Locks of projects whose dependencies stand in files of other tools."""

from __future__ import annotations

import pytest

from corten.errors import CortenError
from corten.lock.inputs import inputs_digest
from corten.lock.model import Lock
from corten.project.load import load
from support.lock_world import World, said
from support.wheels import make_wheel

COMMAND = '[tool.corten]\ncommand = ["python", "x.py"]\n'


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.platforms[0].wheels}


def poetry_package(world: World, name: str, version: str, more: str = "", sha256: str = "") -> str:
    digest = sha256 or make_wheel(world.root / "x", name, version).sha256
    return (
        f'[[package]]\nname = "{name}"\nversion = "{version}"\n{more}\n'
        f'files = [{{file = "f", hash = "sha256:{digest}"}}]\n'
    )


def test_a_poetry_lock_decides_versions_and_hashes(world: World) -> None:
    world.make("alpha", "2.0")
    world.make("gamma", "1.0", "alpha")
    gamma = make_wheel(world.root / "y", "gamma", "1.0", requires=("alpha",)).sha256
    world.write("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.9"\ngamma = "^1"\n' + COMMAND)
    rest = poetry_package(world, "gamma", "1.0", sha256=gamma) + poetry_package(world, "tool", "1.0")
    world.write("poetry.lock", rest + poetry_package(world, "alpha", "1.0"))
    assert versions(world.lock()) == {"alpha": "1.0", "gamma": "1.0"}
    before = inputs_digest(load(world.folder))
    world.write("poetry.lock", rest + poetry_package(world, "alpha", "1.0", sha256="0" * 64))
    assert inputs_digest(load(world.folder)) != before
    with pytest.raises(CortenError, match="has a hash that the requirements allow"):
        world.lock()


def test_a_poetry_lock_without_a_wheel_for_the_python_is_said(world: World) -> None:
    world.make("gamma", tag="cp312-cp312-manylinux_2_28_x86_64")
    world.write("pyproject.toml", '[tool.poetry.dependencies]\ngamma = "*"\n' + COMMAND)
    world.write("poetry.lock", poetry_package(world, "gamma", "1.0"))
    error = world.fails(CortenError)
    assert "gamma" in error.message


def test_poetrys_table_without_a_lock(world: World) -> None:
    world.make("alpha", "1.5")
    world.make("alpha", "2.0")
    groups = '[tool.poetry.group.dev.dependencies]\nbeta = "*"\n'
    world.write("pyproject.toml", '[tool.poetry.dependencies]\nalpha = "^1.0"\n' + groups + COMMAND)
    assert versions(world.lock()) == {"alpha": "1.5"}
    notes = load(world.folder).notes
    assert "Poetry's groups that are not installed: 'dev'" in " ".join(notes)
    assert not [line for line in said(world) if "gamma" in line]
    world.write(
        "pyproject.toml",
        '[tool.poetry.dependencies]\nalpha = "^1.0"\n' + groups + COMMAND + 'groups = ["dev"]\n',
    )
    assert versions(world.lock()) == {"alpha": "1.5", "beta": "1.0"}
