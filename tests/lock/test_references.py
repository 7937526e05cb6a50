"""Requirements that lead to folders of the project: their packages are used where they lie, and what they require is locked."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import FormatError, NotConfirmed, ProjectError, ResolutionError
from corten.lock.format import decode, encode
from corten.lock.inputs import inputs_digest, requirements_of
from corten.lock.model import Lock
from corten.packages.requirements import Local
from corten.project.load import load
from support.lock_world import World, said
from support.locks import sample_lock

COMMAND = '[tool.corten]\ncommand = ["python", "x.py"]\n'
LIBRARY = '[project]\nname = "{0}"\nversion = "1.0"\ndependencies = [{1}]\n'


def library(world: World, path: str, *requires: str, more: str = "") -> None:
    name = path.rpartition("/")[2]
    world.write(
        f"{path}/pyproject.toml", LIBRARY.format(name, ", ".join(f'"{item}"' for item in requires)) + more
    )
    world.write(f"{path}/{name}/__init__.py", "")


def found(lock: Lock) -> tuple[list[str], tuple[str, ...]]:
    (part,) = lock.platforms
    return [wheel.name for wheel in part.wheels], part.local


def test_a_folder_is_used_where_it_lies(world: World) -> None:
    library(world, "libs/x", "alpha")
    world.write("pyproject.toml", COMMAND)
    for line in (
        "./libs/x",
        "-e ./libs/x",
        "--editable=libs/x",
        "x @ file:libs/x",
        "x @ ./libs/x",
        "file://FOLDER/libs/x",
        "-e file://FOLDER/libs/x#egg=x",
    ):
        world.write("requirements.txt", line.replace("FOLDER", str(world.folder)) + "\n")
        read = requirements_of(load(world.folder), world.environment)
        assert read.local == (Local("libs/x", "x"),)
        assert [item.text for item in read.requirements] == ["alpha"]
    lock = world.lock()
    assert found(lock) == (["alpha"], ("libs/x",))
    assert "'libs/x' is used in place" in said(world)
    assert decode(encode(lock).encode()) == lock


def test_the_project_itself_with_extras(world: World) -> None:
    """In every form of metadata, from a requirements file and from another tool's."""
    setup = "from setuptools import setup\nsetup(name='demo', install_requires=['alpha'], extras_require={'more': ['beta']})\n"
    config = "[metadata]\nname = demo\n[options]\ninstall_requires =\n    alpha\n[options.extras_require]\nmore =\n    beta\n"
    world.write("pyproject.toml", COMMAND)
    for name, text in (("setup.py", setup), ("setup.cfg", config)):
        world.write(name, text)
        world.write("requirements.txt", "-e .[more]\n")
        read = requirements_of(load(world.folder), world.environment)
        assert [item.text for item in read.requirements] == ["alpha", "beta"]
        (world.folder / name).unlink()
    (world.folder / "requirements.txt").unlink()
    world.write("setup.py", setup)
    world.write("Pipfile", "[packages]\ndemo = { path = '.', editable = true, extras = ['more'] }\n")
    read = requirements_of(load(world.folder), world.environment)
    assert [item.text for item in read.requirements] == ["alpha", "beta"]
    assert read.local == ()


def test_extras_and_folders_that_require_folders(world: World) -> None:
    more = 'optional-dependencies = { fancy = ["beta"] }\n[tool.uv.sources]\ny = { path = "../y" }\n'
    library(world, "libs/x", "y", more=more)
    library(world, "libs/y", "alpha", "x @ file:../x")
    world.write("requirements.txt", "-e ./libs/x[fancy]\n")
    world.write("pyproject.toml", COMMAND)
    assert found(world.lock()) == (["alpha", "beta"], ("libs/x", "libs/y"))
    world.write("requirements.txt", "./libs/x[other]\n")
    error = world.fails(ProjectError)
    assert (error.message, error.hint) == ("'libs/x' has no extra 'other'", "there: 'fancy'")


def test_a_marker_decides_for_a_platform(world: World) -> None:
    library(world, "libs/x", "alpha ; python_version > '3'")
    library(world, "libs/y", "beta")
    world.write(
        "requirements.txt", "./libs/x ; sys_platform == 'linux'\n./libs/y ; sys_platform == 'win32'\n"
    )
    world.write("pyproject.toml", COMMAND)
    assert found(world.lock()) == (["alpha"], ("libs/x",))


def test_an_indexs_package_does_not_take_a_folders_place(world: World) -> None:
    """Whoever owns the name on an index would bring code into the image."""
    world.make("x", "9.0")
    world.make("gamma", "1.0", "x")
    library(world, "libs/x")
    world.write("requirements.txt", "gamma\nx\n./libs/x\n")
    world.write("pyproject.toml", COMMAND)
    assert found(world.lock()) == (["gamma"], ("libs/x",))


def test_what_a_folder_requires_makes_a_lock_stale_and_its_code_does_not(world: World) -> None:
    library(world, "libs/x", "alpha")
    world.write("requirements.txt", "./libs/x\n")
    world.write("pyproject.toml", COMMAND)
    before = inputs_digest(load(world.folder))
    world.write("libs/x/x/__init__.py", "changed = True\n")
    assert inputs_digest(load(world.folder)) == before
    library(world, "libs/x", "beta")
    assert inputs_digest(load(world.folder)) != before


def test_sources_of_uv_in_pyproject(world: World) -> None:
    library(world, "packages/x", "alpha", "y", more="[tool.uv.sources]\ny = { workspace = true }\n")
    library(world, "packages/y", "beta")
    world.write(
        "pyproject.toml",
        LIBRARY.format("demo", '"x"')
        + "[tool.uv.sources]\nx = { workspace = true }\n[tool.uv.workspace]\nmembers = ['packages/*']\n"
        + COMMAND,
    )
    first = world.lock()
    assert found(first) == (["alpha", "beta"], ("packages/x", "packages/y"))
    world.write(
        "pyproject.toml",
        (world.folder / "pyproject.toml")
        .read_text()
        .replace("workspace = true", 'path = "packages/x", editable = true'),
    )
    world.write("packages/x/pyproject.toml", LIBRARY.format("x", '"alpha"'))
    assert found(world.lock(previous=first)) == (["alpha"], ("packages/x",))


def test_members_in_a_uv_lock(world: World) -> None:
    library(world, "packages/x", "alpha")
    world.write(
        "pyproject.toml",
        LIBRARY.format("demo", '"x"')
        + "[tool.uv.sources]\nx = { workspace = true }\n[tool.uv.workspace]\nmembers = ['packages/*']\n"
        + COMMAND,
    )
    wheel = next((world.pool).glob("alpha-*.whl"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    world.write(
        "uv.lock",
        f"""version = 1
requires-python = ">=3.11"
[[package]]
name = "demo"
version = "1.0"
source = {{ editable = "." }}
dependencies = [{{ name = "x" }}]
[package.metadata]
requires-dist = [{{ name = "x", editable = "packages/x" }}]
[[package]]
name = "x"
version = "1.0"
source = {{ editable = "packages/x" }}
dependencies = [{{ name = "alpha" }}]
[[package]]
name = "alpha"
version = "1.0"
source = {{ registry = "{world.web.url}/simple" }}
wheels = [{{ url = "{world.web.url}/files/{wheel.name}", hash = "sha256:{digest}", size = {wheel.stat().st_size} }}]
""",
    )
    assert found(world.lock()) == (["alpha"], ("packages/x",))


def test_a_workspace_without_a_package_of_its_own_has_all_its_members(world: World) -> None:
    for name, needs in (("x", "alpha"), ("y", "beta")):
        library(world, f"packages/{name}", needs)
    world.write("pyproject.toml", "[tool.uv.workspace]\nmembers = ['packages/*']\n" + COMMAND)
    text = 'version = 1\n[manifest]\nmembers = ["x", "y"]\n'
    for name, needs in (("x", "alpha"), ("y", "beta")):
        wheel = next(world.pool.glob(f"{needs}-*.whl"))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        text += f'[[package]]\nname = "{name}"\nversion = "1.0"\nsource = {{ editable = "packages/{name}" }}\ndependencies = [{{ name = "{needs}" }}]\n'
        text += f'[[package]]\nname = "{needs}"\nversion = "1.0"\nsource = {{ registry = "{world.web.url}/simple" }}\nwheels = [{{ url = "{world.web.url}/files/{wheel.name}", hash = "sha256:{digest}", size = {wheel.stat().st_size} }}]\n'
    world.write("uv.lock", text)
    assert found(world.lock()) == (["alpha", "beta"], ("packages/x", "packages/y"))


def test_a_folder_in_poetrys_table(world: World) -> None:
    library(world, "libs/x", "alpha")
    world.write(
        "pyproject.toml",
        '[tool.poetry]\nname = "demo"\nversion = "1"\n[tool.poetry.dependencies]\npython = "^3.11"\nbeta = "*"\n'
        'x = { path = "libs/x", develop = true }\n' + COMMAND,
    )
    assert found(world.lock()) == (["alpha", "beta"], ("libs/x",))


def test_a_folder_that_must_be_built_is_refused_where_nothing_builds(world: World) -> None:
    world.write("libs/x/setup.py", "setup(name='x', ext_modules=[1])\n")
    world.write("requirements.txt", "alpha\n./libs/x\n")
    world.write("pyproject.toml", COMMAND)
    assert (
        world.fails(ResolutionError).message
        == "requirements.txt:2: 'x' is source, and nothing builds sources here"
    )


def test_a_folder_outside_the_project_waits_for_the_user(world: World) -> None:
    outside = world.root / "shared"
    outside.mkdir()
    (outside / "pyproject.toml").write_text(LIBRARY.format("shared", ""))
    world.write("pyproject.toml", COMMAND)
    for line in ("../shared", "-e ../shared", f"shared @ file://{outside}"):
        world.write("requirements.txt", line + "\n")
        with pytest.raises(NotConfirmed, match="which is outside the project"):
            world.lock()
    (world.folder / "inner").symlink_to(outside)
    world.write("requirements.txt", "./inner\n")
    with pytest.raises(NotConfirmed, match="is a link that leads out of the project"):
        world.lock()


@pytest.mark.parametrize("path", ["../x", "libs/../../x", "/etc", "", "a\tb", "."])
def test_a_lock_names_no_folder_outside_the_project(path: str) -> None:
    lock = sample_lock(platforms=1)
    good = replace(lock, platforms=(replace(lock.platforms[0], local=("libs/x",)),))
    assert decode(encode(good).encode()) == good
    with pytest.raises(FormatError):
        decode(encode(good).replace("libs/x", path).encode())


def test_the_name_of_a_reference_is_that_of_the_package(world: World, tmp_path: Path) -> None:
    library(world, "libs/x")
    world.write("requirements.txt", "other @ file:libs/x\n")
    world.write("pyproject.toml", COMMAND)
    assert "'other' leads to 'libs/x', which is 'x'" in world.fails(ProjectError).message


def test_what_is_not_there_is_said(world: World) -> None:
    world.write("requirements.txt", "alpha\n./libs/x\n")
    world.write("pyproject.toml", COMMAND)
    assert "requirements.txt:2: there is no folder" in world.fails(ProjectError).message


def test_a_project_that_must_be_compiled_itself_is_told_so(world: World) -> None:
    world.write("requirements.txt", "alpha\n-e .\n")
    world.write("pyproject.toml", COMMAND)
    world.write("setup.py", "setup(name='demo', ext_modules=[Extension('demo._c', ['c.c'])])\n")
    world.lock()
    assert any(text.startswith("the project itself has parts that are compiled") for text in said(world))
