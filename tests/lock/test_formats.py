"""Locks of projects whose dependencies stand in files of other tools."""

from __future__ import annotations

import json
import subprocess

import pytest
from uv import find_uv_bin

from corten.errors import CortenError, LockOutdated
from corten.lock.inputs import inputs_digest
from corten.lock.model import Lock
from corten.project.dependencies import package_names
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


@pytest.mark.parametrize("name", ["poetry.lock", "pdm.lock"])
def test_a_lock_of_another_tool_is_parsed_only_where_a_new_lock_needs_it(world: World, name: str) -> None:
    world.write(
        "pyproject.toml", '[project]\nname = "x"\nversion = "1"\ndependencies = ["gamma[fast]"]\n' + COMMAND
    )
    world.write(name, poetry_package(world, "gamma", "1.0") + "[metadata]\nfiles = no TOML\n")
    project = load(world.folder)
    inputs_digest(project)
    pyproject = {"project": {"dependencies": ["gamma[fast]"]}}
    assert package_names(project.dependencies, pyproject, world.folder) == {"gamma", "gamma[fast]"}
    assert world.fails(CortenError).message == f"'{name}' cannot be read: it is not TOML"
    for broken in ("<<<<<<< HEAD\n[metadata]\n", '[[package]]\nname = "gamma"\nversion ='):
        world.write(name, broken)
        with pytest.raises(CortenError, match="it is not TOML"):
            load(world.folder)


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
    assert said(world).count("Poetry's groups that are not installed: 'dev'") == 1
    world.write(
        "pyproject.toml",
        '[tool.poetry.dependencies]\nalpha = "^1.0"\n' + groups + COMMAND + 'groups = ["dev"]\n',
    )
    assert versions(world.lock()) == {"alpha": "1.5", "beta": "1.0"}


def pipfile_lock(world: World, version: str, sha256: str, **more: object) -> None:
    entry = {"hashes": [f"sha256:{sha256}"], "version": f"=={version}", "index": "pypi", **more}
    sources = [{"name": "pypi", "url": "https://index.example/simple", "verify_ssl": True}]
    document = {
        "_meta": {"sources": sources},
        "default": {"alpha": entry},
        "develop": {"beta": {"version": "==1.0"}},
    }
    world.write("Pipfile.lock", json.dumps(document))


def test_a_pipfile_lock_decides_versions_and_hashes(world: World) -> None:
    world.make("alpha", "2.0")
    world.write("pyproject.toml", COMMAND)
    pipfile_lock(
        world, "1.0", make_wheel(world.root / "x", "alpha", "1.0").sha256, markers="python_version >= '3.6'"
    )
    assert versions(world.lock()) == {"alpha": "1.0"}
    assert "what is not installed of 'Pipfile.lock': 'develop'" in said(world)
    pipfile_lock(world, "1.0", "0" * 64)
    with pytest.raises(CortenError, match="has a hash that the requirements allow"):
        world.lock()


def test_a_pipfile_without_a_lock(world: World) -> None:
    world.make("alpha", "2.0")
    world.write("pyproject.toml", COMMAND)
    world.write(
        "Pipfile",
        '[packages]\nalpha = "<2"\nwin = {version = "*", sys_platform = "== \'win32\'"}\n[dev-packages]\nbeta = "*"\n',
    )
    assert versions(world.lock()) == {"alpha": "1.0"}
    assert "what is not installed of 'Pipfile': 'dev-packages'" in said(world)


def test_a_conda_environment(world: World) -> None:
    for version in ("1.26.1", "2.0"):
        world.make("numpy", version)
    world.write("pyproject.toml", COMMAND)
    world.write(
        "environment.yml",
        "channels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip\n  - conda-forge::numpy=1.26\n  - cudatoolkit=11.3\n"
        "  - pip:\n    - alpha  # a comment\n    - -r more.txt\n",
    )
    world.write("more.txt", "beta\n")
    assert versions(world.lock()) == {"alpha": "1.0", "beta": "1.0", "numpy": "1.26.1"}
    assert "not known at the Python index: 'cudatoolkit'" in " ".join(said(world))


def test_requirements_in_setup_files(world: World) -> None:
    world.make("alpha", "2.0")
    world.write("pyproject.toml", COMMAND)
    world.write(
        "setup.py",
        "from setuptools import setup\nREQUIRED = ['alpha<2']\nsetup(name='x', install_requires=REQUIRED)\n",
    )
    assert versions(world.lock()) == {"alpha": "1.0"}
    world.write("setup.cfg", "[options]\ninstall_requires =\n    beta ; python_version > '3'\n")
    assert versions(world.lock()) == {"beta": "1.0"}


def test_a_pylock_decides_alone(world: World) -> None:
    world.make("gamma", "1.0", "beta ; sys_platform == 'win32'")
    world.write(
        "pyproject.toml",
        '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["alpha", "gamma"]\n'
        '[project.optional-dependencies]\nweb = ["beta"]\n' + COMMAND,
    )
    index = f"{world.web.url}/simple"
    environment = {**world.environment, "UV_CACHE_DIR": f"{world.root}/uvc"}
    command = [find_uv_bin(), "lock", "--no-config", "--quiet", "--default-index", index]
    subprocess.run(command, cwd=world.folder, check=True, env=environment)
    export = [find_uv_bin(), "export", "--frozen", "--quiet", "--format", "pylock.toml", "-o", "pylock.toml"]
    subprocess.run([*export, "--no-config"], cwd=world.folder, check=True, env=environment)
    (world.folder / "uv.lock").unlink()
    world.make("alpha", "2.0")
    assert load(world.folder).dependencies.kind == "pylock"
    lock = world.lock()
    assert versions(lock) == {"alpha": "1.0", "gamma": "1.0"}
    assert world.lock(previous=lock, upgrade=True) == lock
    text = (world.folder / "pyproject.toml").read_text()
    world.write("pyproject.toml", text.replace('"alpha", ', '"alpha>1", '))
    message = world.fails(LockOutdated).message
    assert message == "'pylock.toml' does not belong to pyproject.toml any more: 'alpha' differs"


def test_a_pdm_lock_decides_versions_and_hashes(world: World) -> None:
    world.make("alpha", "2.0")
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["alpha"]\n[project.optional-dependencies]\nweb = ["beta"]\n'
    world.write("pyproject.toml", project + COMMAND)
    beta = poetry_package(world, "beta", "1.0")
    world.write("pdm.lock", poetry_package(world, "alpha", "1.0", 'groups = ["default"]') + beta)
    assert versions(world.lock()) == {"alpha": "1.0"}
    world.write("pyproject.toml", project + COMMAND + 'extras = ["web"]\n')
    assert versions(world.lock()) == {"alpha": "1.0", "beta": "1.0"}
    world.write("pdm.lock", beta)
    assert (
        world.fails(CortenError).message
        == "'pdm.lock' does not belong to pyproject.toml any more: 'alpha' differs"
    )
    world.write("pdm.lock", poetry_package(world, "alpha", "1.0", sha256="0" * 64) + beta)
    with pytest.raises(CortenError, match="has a hash that the requirements allow"):
        world.lock()
