"""Locks under what pip's configuration asks of every resolution."""

from __future__ import annotations

import hashlib

import pytest

from corten.errors import HashMismatch, ResolutionError, UsageError
from corten.lock.inputs import inputs_digest
from corten.lock.model import Lock
from corten.project.load import load
from support.index import publish
from support.lock_world import World, said
from support.wheels import make_wheel

COMMAND = '[tool.corten]\ncommand = ["python", "x.py"]\n'


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.platforms[0].wheels}


def test_pips_constraints_hold(world: World) -> None:
    world.make("alpha", "2.0")
    world.make("beta", "2.0", "alpha")
    world.write("pyproject.toml", COMMAND)
    world.write("requirements.txt", "beta\n")
    assert versions(world.lock()) == {"alpha": "2.0", "beta": "2.0"}
    before = inputs_digest(load(world.folder))
    file = world.root / "constraints.txt"
    file.write_text("alpha<2\nunrelated==5\n")
    world.environment["PIP_CONSTRAINT"] = str(file)
    lock = world.lock()
    assert versions(lock) == {"alpha": "1.0", "beta": "2.0"}
    assert f"the constraints in '{file}' apply, which PIP_CONSTRAINT names" in said(world)
    assert lock.project == before == inputs_digest(load(world.folder))
    file.write_text("beta==7\n")
    assert "beta" in world.fails(ResolutionError).message
    # As pip takes them: from the web too.
    world.web.files["/constraints-3.11.txt"] = b"alpha<2\n"
    world.environment["PIP_CONSTRAINT"] = f"{world.web.url}/constraints-3.11.txt"
    assert versions(world.lock()) == {"alpha": "1.0", "beta": "2.0"}
    world.environment["PIP_CONSTRAINT"] = f"{world.web.url}/gone.txt"
    assert "gone.txt', which cannot be used" in world.fails(UsageError).message


def test_hashes_of_constraints_are_checked(world: World) -> None:
    world.write("pyproject.toml", COMMAND)
    world.write("requirements.txt", "alpha\n")
    good = hashlib.sha256(next(world.pool.glob("alpha-1.0*")).read_bytes()).hexdigest()
    file = world.root / "constraints.txt"
    world.environment["PIP_CONSTRAINT"] = str(file)
    file.write_text(f"alpha==1.0 --hash=sha256:{good}\n")
    lock = world.lock()
    assert versions(lock) == {"alpha": "1.0"}
    file.write_text(f"alpha==1.0 --hash=sha256:{'0' * 64}\n")
    world.fails(HashMismatch)
    world.fails(HashMismatch, previous=lock)
    world.write("requirements.txt", f"alpha==1.0 --hash=sha256:{good}\n")
    assert "by both the project and the constraint" in world.fails(HashMismatch).message
    del world.environment["PIP_CONSTRAINT"]
    world.write("requirements.txt", f"alpha==1.0 --hash=sha256:{good}\n-c own.txt\n")
    world.write("own.txt", f"alpha --hash=sha256:{'0' * 64}\n")
    assert "by both the requirements and the constraints" in world.fails(HashMismatch).message


def test_packages_that_must_be_built_are_refused_where_they_are_needed(world: World) -> None:
    world.write("pyproject.toml", COMMAND)
    world.write("requirements.txt", "alpha\n")
    world.environment["PIP_NO_BINARY"] = "beta"
    assert versions(world.lock()) == {"alpha": "1.0"}
    world.environment["PIP_NO_BINARY"] = ":all:"
    message = world.fails(ResolutionError).message
    assert message == "PIP_NO_BINARY asks for 'alpha' to be built from source, and Corten takes its wheel"
    world.environment["PIP_ONLY_BINARY"] = "alpha"
    assert versions(world.lock()) == {"alpha": "1.0"}


@pytest.mark.parametrize("place", ["PIP_EXTRA_INDEX_URL", "requirements"])
def test_indexes_are_merged_as_pip_does_and_that_is_said_once(world: World, place: str) -> None:
    # The first index has the older one: uv alone would take that.
    make_wheel(world.root / "private", "alpha", "0.5")
    private = publish(world.web, world.root / "private", "/private")
    world.write("pyproject.toml", COMMAND)
    world.write("requirements.txt", "alpha\n")
    world.lock()
    assert "compared over all indexes" not in " ".join(said(world))
    if place == "requirements":
        world.write("requirements.txt", f"--extra-index-url {private}\nalpha\n")
        world.environment["CORTEN_TRUST_INDEX"] = private
    else:
        world.environment[place] = private
    assert versions(world.lock()) == {"alpha": "1.0"}
    assert " ".join(said(world)).count("versions are compared over all indexes, as pip does") == 1
    world.events.clear()
    world.environment["UV_INDEX_STRATEGY"] = "first-index"
    assert versions(world.lock()) == {"alpha": "0.5"}
    assert "compared over all indexes" not in " ".join(said(world))
    del world.environment["UV_INDEX_STRATEGY"]
    world.environment["PIP_EXTRA_INDEX_URL"] = world.environment["UV_DEFAULT_INDEX"]  # one, named twice
    world.write("requirements.txt", "alpha\n")
    world.events.clear()
    world.lock()
    assert "compared over all indexes" not in " ".join(said(world))
