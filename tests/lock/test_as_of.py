"""Versions of a day."""

from __future__ import annotations

import pytest

from corten.errors import ResolutionError, UsageError
from corten.lock.dating import chosen_day, old_project_note
from corten.lock.format import decode, encode
from corten.lock.inputs import inputs_digest
from corten.lock.model import Lock
from corten.project.load import load
from corten.project.saved_models import Saved
from support.commits import commit
from support.index import publish
from support.lock_world import World, said
from support.wheels import make_wheel

COMMAND = '[tool.corten]\ncommand = ["python", "x.py"]\n'


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.platforms[0].wheels}


def dated(world: World) -> None:
    days = {}
    for name in ("gamma", "delta"):
        for version, day in (("1.0", "2023-05-01"), ("2.0", "2024-05-01"), ("3.0", "2025-05-01")):
            make_wheel(world.pool, name, version, requires=("delta",) if name == "gamma" else ())
            days[f"{name}-{version}-py3-none-any.whl"] = day
    publish(world.web, world.pool, form="json", days=days)
    world.write("pyproject.toml", COMMAND)
    world.write("requirements.txt", "gamma\n")


def test_a_day_holds_until_it_is_ended(world: World) -> None:
    dated(world)
    first = world.lock(as_of="2024-06-30")
    assert versions(first) == {"gamma": "2.0", "delta": "2.0"}
    assert said(world) == ["versions are those of 2024-06-30"]
    assert first.as_of == "2024-06-30"
    assert decode(encode(first).encode()).as_of == "2024-06-30"
    assert first.project == inputs_digest(load(world.folder))
    world.write("requirements.txt", "gamma\ndelta\n")
    world.events.clear()
    again = world.lock(previous=first, upgrade=True)
    assert versions(again) == {"gamma": "2.0", "delta": "2.0"}
    assert again.as_of == "2024-06-30"
    assert said(world) == ["versions are those of 2024-06-30, as corten.lock says"]
    older = world.lock(previous=again, as_of="2023-12-31")
    assert versions(older) == {"gamma": "1.0", "delta": "1.0"}
    ended = world.lock(previous=older, as_of="now", upgrade=True)
    assert versions(ended) == {"gamma": "3.0", "delta": "3.0"}
    assert ended.as_of is None


def test_the_day_of_the_last_commit_is_proposed_and_taken(world: World) -> None:
    dated(world)
    commit(world.folder, "2024-06-01")
    lock = world.lock()
    assert versions(lock) == {"gamma": "3.0", "delta": "3.0"}
    assert said(world) == [
        "the last commit is from 2024-06-01, but versions that nothing pins are today's: "
        "'corten lock --as-of 2024-06-01' takes those of that day"
    ]
    world.events.clear()
    assert versions(world.lock(previous=lock, as_of="commit")) == {"gamma": "2.0", "delta": "2.0"}
    assert said(world) == ["versions are those of 2024-06-01"]


def test_an_index_without_upload_times_is_said(world: World) -> None:
    world.write("pyproject.toml", COMMAND)
    world.write("requirements.txt", "alpha\n")
    message = world.fails(ResolutionError, as_of="2024-06-30").message
    assert (
        message
        == "versions of 2024-06-30 cannot be found: the index does not say when the files of 'alpha' were uploaded"
    )


def test_a_day_before_a_package_is_a_failure(world: World) -> None:
    dated(world)
    assert "gamma" in world.fails(ResolutionError, as_of="2020-01-01").message


def test_a_day_beside_versions_that_are_pinned_is_refused(world: World) -> None:
    dated(world)
    world.write("requirements.txt", f"gamma==1.0 --hash=sha256:{'0' * 64}\n")
    assert "the requirements have hashes" in world.fails(UsageError, as_of="2024-06-30").message
    (world.folder / "requirements.txt").unlink()
    world.write("poetry.lock", "[metadata]\n")
    message = world.fails(UsageError, as_of="2024-06-30").message
    assert message == "'poetry.lock' sets the versions, so they cannot be those of a day"


def test_which_day_is_meant() -> None:
    saved = [Saved("a.pkl", (), "1.0.2"), Saved("b.pkl", (), "1.2.1"), Saved("c.pkl", (), None)]
    assert chosen_day("2024-02-29", None, ()) == "2024-02-29"
    assert chosen_day("commit", "2020-01-02", saved) == "2020-01-02"
    assert chosen_day("model", None, saved) == "2023-06-29"
    assert chosen_day("now", "2020-01-02", saved) is None
    for wrong in ("2023-02-29", "yesterday", "20240229", "2024-W01-1"):
        with pytest.raises(UsageError, match="is not a day"):
            chosen_day(wrong, None, ())
    with pytest.raises(UsageError, match="no commit"):
        chosen_day("commit", None, saved)
    with pytest.raises(UsageError, match="no saved model"):
        chosen_day("model", None, saved[2:])


def test_old_projects_without_versions() -> None:
    def note(commit: str | None, lines: list[str], **settings: str) -> str | None:
        return old_project_note(commit, "3.11", lines, settings, "2025-06-01")

    assert note("2024-07-01", ["flask"]) is None
    assert note(None, ["flask"]) is None
    assert note("2023-06-01", ["flask==2.0", "numpy~=1.2", "x<3", "y @ https://index.example/y.whl"]) is None
    assert note("2023-06-01", ["flask"], **{"exclude-newer": "2024-01-01"}) is None
    assert "--as-of 2023-06-01' takes those of that day" in str(note("2023-06-01", ["flask>=1", "x==1"]))
    early = note("2019-06-01", ["flask"])
    assert "is from 2019-06-01" in str(early)
    assert "--as-of 2023-04-01' takes those of the first days of Python 3.11" in str(early)
