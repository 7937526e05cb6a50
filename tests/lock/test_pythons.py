"""Locks with a Python that is not Debian's."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from corten.errors import FetchError, ResolutionError
from corten.lock.bundle import archives_of, download
from corten.lock.diff import changes
from corten.lock.format import _lines, encode
from corten.lock.inputs import inputs_digest
from corten.lock.model import DebianBase, Lock, PlatformLock
from corten.lock.pythons import other_pythons, with_python
from corten.lock.wanted import fetching_indexes
from corten.oci.platform import Platform
from corten.packages.pythons import fetch_pythons
from corten.project.load import load
from corten.store.store import Store
from support.lock_world import BASE, HERE, OTHER, PYTHON, World, said
from support.pythons import Releases, packed, tiny

SLIM = {name for name in BASE if not name.startswith("python")} | {"libc6", "libcrypt1"}


@pytest.fixture
def releases(world: World, tmp_path: Path) -> Releases:
    found = Releases(tmp_path / "releases")
    world.environment["UV_PYTHON_DOWNLOADS_JSON_URL"] = found.url
    for architecture in ("amd64", "arm64"):
        for name in ("libc6", "libcrypt1"):
            world.archive.add(name, architecture=architecture)
    world.archive.publish()
    world.write("requirements.txt", "alpha\n")
    world.write("main.py", "")
    return found


def base_of(part: PlatformLock) -> DebianBase:
    assert isinstance(part.base, DebianBase)
    return part.base


def test_a_python_that_debian_does_not_have(world: World, releases: Releases) -> None:
    releases.both("3.10.4")
    world.write(".python-version", "3.10\n")
    lock = world.lock()
    (part,) = lock.platforms
    base = base_of(part)
    assert (base.suite, base.python, part.python, base.debian_python) == ("bookworm", "3.10.4", "3.10", "")
    assert base.interpreter is not None
    assert base.interpreter.version == "3.10.4"
    assert {deb.name for deb in base.debs} == SLIM
    text = encode(lock)
    assert _lines(text) == tomllib.loads(text)
    assert [wheel.name for wheel in part.wheels] == ["alpha"]
    assert "Python 3.10.4 comes from python-build-standalone: 'debian:bookworm' has another" in said(world)


def test_the_model_server_keeps_debians_python(world: World, releases: Releases) -> None:
    """The server needs 3.10, and what it needs is made for Debian's: a project's 3.8 is no hindrance."""
    releases.both("3.8.4")
    world.write(".python-version", "3.8\n")
    world.write("predict.py", "def predict(x: float) -> float:\n    return x\n")
    (part,) = world.lock().platforms
    base = base_of(part)
    assert (base.python, base.debian_python, part.debian.python) == ("3.8.4", "3.11.2", "3.11")
    assert {*PYTHON} <= {deb.name for deb in base.debs}
    assert [wheel.name for wheel in part.serving] == ["granian"]


def test_another_architecture_gets_the_same_version_and_a_compiler(world: World, releases: Releases) -> None:
    releases.both("3.10.4")
    world.write("pyproject.toml", f'[tool.corten]\npython = "3.10"\nplatforms = ["linux/{OTHER}"]\n')
    lock = world.lock()
    assert {archive.version for archive in archives_of(lock)} == {"3.10.4"}
    assert lock.interpreters.keys() == lock.compilers.keys() == {HERE}
    assert {deb.name for deb in lock.compilers[HERE]} == {"libc6", "libcrypt1"}
    assert lock.archive_on(HERE, "3.10.4") == lock.interpreters[HERE]
    # Both stay in the next one.
    assert world.lock(previous=lock) == lock


def test_what_is_locked_stays_until_it_is_to_be_upgraded(world: World, releases: Releases) -> None:
    releases.both("3.10.4")
    world.write(".python-version", "3.10\n")
    lock = world.lock()
    releases.both("3.10.9", release="20250101")
    assert world.lock(previous=lock) == lock
    newer = world.lock(previous=lock, upgrade=True)
    assert newer.platforms[0].base.python == "3.10.9"
    (change,) = changes(lock, newer)
    assert (change.name, change.before, change.after) == ("python", "3.10.4+20240224", "3.10.9+20250101")


def test_a_fuzzy_wish_takes_debians(world: World, releases: Releases) -> None:
    world.write("pyproject.toml", '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\n')
    assert base_of(world.lock().platforms[0]).interpreter is None


def test_requires_python_picks_the_version(world: World, releases: Releases) -> None:
    for version in ("3.10.4", "3.10.9"):
        releases.both(version)
    world.write("pyproject.toml", '[project]\nname = "x"\nversion = "1"\nrequires-python = "<3.10.9"\n')
    assert world.lock().platforms[0].base.python == "3.10.4"


def test_a_python_that_cannot_be_had_is_an_error_with_the_ways_out(world: World, releases: Releases) -> None:
    world.write(".python-version", "3.10\n")
    error = world.fails(FetchError)
    assert error.message.startswith("there is no build of Python 3.10 for ")
    assert 'base = "python:3.10-slim"' in (error.hint or "")


def test_a_dockerfiles_python_gives_way_to_debians_and_that_is_said(world: World, releases: Releases) -> None:
    world.write("Dockerfile", "FROM python:3.10-slim\nCMD python main.py\n")
    (part,) = world.lock().platforms
    assert (part.base.python, base_of(part).interpreter) == ("3.11.2", None)
    (note,) = [text for text in said(world) if "names Python" in text]
    assert note.startswith(
        "'Dockerfile' names Python 3.10; the image has 3.11, that of 'debian:bookworm': there is no build"
    )


def test_the_files_of_a_lock_have_the_python(world: World, releases: Releases, tmp_path: Path) -> None:
    releases.both("3.10.4")
    world.write(".python-version", "3.10\n")
    lock: Lock = world.lock()
    project = load(world.folder)
    folder = tmp_path / "bundle"
    indexes = fetching_indexes(project, world.environment)
    bundle = download(lock, folder, world.store, indexes, world.debian().mirrors, lambda event: None)
    assert bundle.pythons == 1
    (archive,) = archives_of(lock)
    assert (folder / "pythons" / archive.file).is_file()
    found = fetch_pythons(Store(tmp_path / "other"), [archive], {}, lambda event: None, offline=folder)
    assert found[archive.sha256].stat().st_size == archive.size
    with pytest.raises(FetchError, match="has no 'cpython"):
        fetch_pythons(Store(tmp_path / "third"), [archive], {}, lambda event: None, offline=tmp_path)


MACHINE = Platform.host().machine


def test_pins_without_a_wheel_for_debians_python_choose_another(world: World, releases: Releases) -> None:
    """The newest for which every pin has a wheel: 3.9, though one of them has wheels for 3.10 as well."""
    for version in ("3.8.4", "3.9.5", "3.10.4", "3.14.1"):
        releases.both(version)
    for tag in ("cp38-cp38", "cp39-cp39"):
        world.make("old", "1.0", tag=f"{tag}-manylinux_2_17_{MACHINE}")
    for tag in ("cp39-cp39", "cp310-cp310", "cp311-cp311"):
        world.make("other", "2.0", tag=f"{tag}-manylinux_2_17_{MACHINE}")
    world.write("requirements.txt", "old==1.0\nother==2.0\nalpha\n")
    lock = world.lock()
    (part,) = lock.platforms
    assert part.base.python == "3.9.5"
    assert {wheel.name: wheel.file.split("-")[2] for wheel in part.wheels} == {
        "alpha": "py3",
        "old": "cp39",
        "other": "cp39",
    }
    assert "Python 3.9 is used: old has no wheel for Debian's" in said(world)
    assert lock.project == inputs_digest(load(world.folder))
    # The next lock begins with it, and says nothing of it any more.
    world.events.clear()
    assert world.lock(previous=lock) == lock
    assert not [text for text in said(world) if "Python 3.9" in text]


def test_a_pin_that_takes_no_other_python_is_left_as_it_is(world: World, releases: Releases) -> None:
    releases.both("3.9.5")
    world.make("old", "1.0", tag=f"cp37-cp37m-manylinux_2_17_{MACHINE}")
    world.write("requirements.txt", "old==1.0\n")
    error = world.fails(ResolutionError)
    assert "'old' 1.0 has no wheel for Python 3.11" in error.message
    assert error.hint == "choose another version of it, or a base with such a Python"


def test_what_requires_python_forbids_is_not_chosen(world: World, releases: Releases) -> None:
    releases.both("3.9.5")
    world.make("old", "1.0", tag=f"cp39-cp39-manylinux_2_17_{MACHINE}")
    world.write("requirements.txt", "old==1.0\n")
    world.write("pyproject.toml", '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.10"\n')
    error = world.fails(ResolutionError)
    assert "has no wheel for Python 3.11" in error.message
    assert 'python = "3.9" in [tool.corten]' in (error.hint or "")


def test_a_python_that_would_help_and_cannot_be_had_is_named(world: World, releases: Releases) -> None:
    releases.both("3.9.5")
    for archive in (releases.root / "20240224").iterdir():
        archive.unlink()
    world.make("old", "1.0", tag=f"cp39-cp39-manylinux_2_17_{MACHINE}")
    world.write("requirements.txt", "old==1.0\n")
    assert "'old' 1.0 has no wheel for Python 3.11" in world.fails(ResolutionError).message
    (note,) = [text for text in said(world) if "does not help" in text]
    assert note.startswith(
        "old has no wheel for Debian's Python, and Python 3.9 does not help: Python 3.9 cannot be had: "
    )


def test_a_project_that_resolves_asks_nothing_of_other_pythons(world: World, releases: Releases) -> None:
    """The list of Pythons is not looked at, and no index is asked for more than uv asks."""
    world.environment["UV_PYTHON_DOWNLOADS_JSON_URL"] = "file:///nowhere/at/all.json"
    world.write("requirements.txt", "alpha\n")
    assert world.lock().platforms[0].base.python == "3.11.2"


def test_the_pythons_that_are_tried(world: World, releases: Releases, tmp_path: Path) -> None:
    for version in ("3.9.5", "3.11.9", "3.14.1", "3.10.4"):
        releases.both(version)
    project = load(world.folder)
    assert project.python_open
    found = other_pythons(project, Store(tmp_path / "other"), world.environment, lambda event: None)
    # Debian's own first.
    assert found == ["3.13", "3.14", "3.10", "3.9"]
    assert with_python(project, "3.13").base == "debian:trixie"
    assert with_python(project, "3.9").base == "debian:bookworm"
    world.write("pyproject.toml", '[tool.corten]\npython = "3.11"\n')
    assert not load(world.folder).python_open


def test_a_free_threaded_python_takes_wheels_that_are_made_for_it(world: World, releases: Releases) -> None:
    releases.both("3.13.4")
    releases.both("3.13.2", packed(tiny("3.13t")), threaded=True)
    for tag in ("cp313-cp313", "cp313-cp313t"):
        world.make("fast", "1.0", tag=f"{tag}-manylinux_2_17_{MACHINE}")
    world.make("plain", "1.0", tag=f"cp313-cp313-manylinux_2_17_{MACHINE}")
    world.write("requirements.txt", "fast\nalpha\n")
    world.write("pyproject.toml", '[tool.corten]\npython = "3.13t"\n')
    (part,) = world.lock().platforms
    assert (part.base.python, part.python) == ("3.13.2", "3.13t")
    assert [wheel.file for wheel in part.wheels] == [
        "alpha-1.0-py3-none-any.whl",
        f"fast-1.0-cp313-cp313t-manylinux_2_17_{MACHINE}.whl",
    ]
    world.write("requirements.txt", "plain\n")
    error = world.fails(ResolutionError)
    assert error.message == "'plain' 1.0 has no wheel for the free-threaded Python 3.13"
    assert 'python = "3.13"' in (error.hint or "")
