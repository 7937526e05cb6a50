"""Which packages a project has for working on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.cli.building_notes import unused_notes
from corten.cli.development import _with_groups
from corten.cli.shell import home_volume
from corten.errors import ProjectError, UsageError
from corten.events import Event, Note
from corten.lock.model import Lock
from corten.project.load import load
from support.lock_world import World, lock_world

COMMAND = '[tool.corten]\ncommand = ["python", "x.py"]\n'
HINT = "'corten shell' has it, and groups = [\"dev\"] in [tool.corten] adds it to the image"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with lock_world(tmp_path) as made:
        yield made


def names(lock: Lock) -> set[str]:
    return {wheel.name for wheel in lock.platforms[0].wheels}


def hashed(world: World, name: str) -> str:
    import hashlib

    wheel = next(world.pool.glob(f"{name}-1.0*"))
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.mark.parametrize(
    "file", ["requirements-dev.txt", "dev-requirements.txt", "requirements/dev.txt", "requirements_dev.in"]
)
def test_requirements_for_development_are_a_group(world: World, file: str) -> None:
    world.write("pyproject.toml", COMMAND)
    world.write("requirements.txt", "alpha\n")
    world.write(file, f"-r {'../' if '/' in file else ''}requirements.txt\nbeta\n")
    project = load(world.folder)
    assert unused_notes(project) == [f"'{file}' is for development and not installed: {HINT}"]
    production = world.lock()
    assert names(production) == {"alpha"}
    variant = _with_groups(project, (), world.events.append)
    assert variant is not None
    assert names(world.lock(variant, previous=production)) == {"alpha", "beta"}
    world.write("pyproject.toml", COMMAND + 'groups = ["dev"]\n')
    project = load(world.folder)
    assert unused_notes(project) == []
    assert names(world.lock()) == {"alpha", "beta"}
    assert _with_groups(project, (), world.events.append) is None


def test_a_group_beside_requirements_with_hashes_has_none(world: World) -> None:
    world.write("pyproject.toml", COMMAND)
    world.write("requirements.txt", hashed(world, "alpha"))
    world.make("alpha", "2.0")
    world.make("gamma", "1.0", "alpha")
    world.write("requirements-dev.txt", "-r requirements.txt\ngamma\n")
    variant = _with_groups(load(world.folder), (), world.events.append)
    assert variant is not None
    lock = world.lock(variant, previous=world.lock())
    assert {wheel.name: wheel.version for wheel in lock.platforms[0].wheels} == {
        "alpha": "1.0",
        "gamma": "1.0",
    }


def test_groups_by_their_names(tmp_path: Path) -> None:
    events: list[Event] = []
    (tmp_path / "x.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(COMMAND)
    (tmp_path / "requirements.txt").write_text("alpha\n")
    (tmp_path / "requirements-dev.txt").write_text("beta\n")
    (tmp_path / "test-requirements.txt").write_text("gamma\n")
    (tmp_path / "reqs.txt").write_text("")
    project = load(tmp_path)
    assert unused_notes(project) == [
        "'requirements-dev.txt', 'test-requirements.txt' are for development and not installed: 'corten shell' has a group of them, "
        'and groups = ["dev"] in [tool.corten] adds it to the image',
        "dependencies in 'reqs.txt' are not read: 'requirements.txt' is",
    ]
    variant = _with_groups(project, ("test", "dev"), events.append)
    assert variant is not None
    assert [path.name for path in variant.dependencies.files] == [
        "requirements.txt", "test-requirements.txt", "requirements-dev.txt"
    ]  # fmt: skip
    with pytest.raises(UsageError, match="the project has no group 'docs'") as caught:
        _with_groups(project, ("docs",), events.append)
    assert caught.value.hint == "there: 'dev', 'test'"
    assert events == []
    (tmp_path / "pyproject.toml").write_text(COMMAND + 'groups = ["docs"]\n')
    with pytest.raises(ProjectError, match="names 'docs', which is not in"):
        load(tmp_path)


def test_poetrys_group_for_development(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry.dependencies]\nalpha = "*"\n[tool.poetry.group.dev.dependencies]\nbeta = "*"\n'
        + COMMAND
    )
    variant = _with_groups(load(tmp_path), (), lambda _: None)
    assert variant is not None
    assert variant.dependencies.groups == ("dev",)


def test_a_group_of_pyproject_beside_requirements_is_said_to_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("")
    (tmp_path / "requirements.txt").write_text("alpha\n")
    (tmp_path / "pyproject.toml").write_text('[dependency-groups]\ndev = ["beta"]\n' + COMMAND)
    events: list[Event] = []
    assert _with_groups(load(tmp_path), (), events.append) is None
    assert events == [
        Note("the group 'dev' of pyproject.toml is left out: the packages are in requirements files")
    ]


def test_a_home_is_called_after_its_project_and_folder() -> None:
    one, other = home_volume("tools", "/srv/a"), home_volume("tools", "/srv/b")
    assert one.startswith("tools-")
    assert one.endswith("-home")
    assert one != other
    assert one == home_volume("tools", "/srv/a")
