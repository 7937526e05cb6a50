"""What containers that serve are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.runtime import records
from corten.runtime.options import RunOptions, parse_name
from corten.store.store import Store
from corten.supervise.services import reserve
from corten.supervise.starting import bury, free_name


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("iris", "iris"),
        ("registry.example:5000/team/iris:1.0", "iris"),
        ("registry.example/team/iris@sha256:" + "0" * 64, "iris"),
        ("registry.example/team/iris:1@sha256:" + "0" * 64, "iris"),
        ("iris.lock:1", "iris"),
        ("iris.lock.lock", "iris"),
        ("a" * 100, "a" * 58),
    ],
)
def test_an_image_gives_a_name_that_may_be_given(image: str, name: str, tmp_path: Path) -> None:
    assert free_name(image, set()) == name
    parse_name(name)
    # Neither is in the way of the other's lock.
    store = Store(tmp_path)
    first = reserve(store, free_name(image, set()), numbered=True)
    second = reserve(store, "iris", numbered=True)
    assert first.name == name
    assert second.name == ("iris-2" if name == "iris" else "iris")
    first.remove()
    second.remove()


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert free_name("iris", {"iris", "iris-2"}) == "iris-3"


def test_what_the_supervisor_killed_itself_is_no_killed_monitor(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for killed in (False, True):
        directory = store.containers_directory / "iris"
        directory.mkdir(parents=True)
        record = records.new(
            name="iris", image="iris", id="", layers=(), created=0.0, started=0.0, kind="shim", uid=0
        )
        records.write(directory, record, RunOptions())
        (directory / "inside").write_text("1 1")
        reason = None if killed else "its monitor was killed"
        assert bury(store, "iris", kept=True, killed=killed) == (False, reason)


def test_the_end_of_a_container_in_the_foreground_is_nobodys_killed_monitor(tmp_path: Path) -> None:
    store = Store(tmp_path)
    directory = store.containers_directory / "iris"
    directory.mkdir(parents=True)
    record = records.new(
        name="iris", image="iris", id="", layers=(), created=0.0, started=0.0, kind="foreground", uid=0
    )
    records.write(directory, record, RunOptions())
    (directory / "inside").write_text("1 1")
    assert bury(store, "iris", kept=False) == (False, None)


def test_what_cannot_be_removed_ends_no_supervisor(tmp_path: Path) -> None:
    store = Store(tmp_path)
    directory = store.containers_directory / "iris"
    directory.mkdir(parents=True)
    record = records.new(
        name="iris", image="iris", id="", layers=(), created=0.0, started=0.0, kind="shim", uid=0
    )
    records.write(directory, record, RunOptions())
    (directory.parent / "iris.lock").mkdir()  # refused, whoever asks
    assert bury(store, "iris", kept=True) == (False, None)
    assert directory.exists()
