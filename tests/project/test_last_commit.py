"""The date of the last commit, read from what git wrote; git is not run for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from corten.project.last_commit import last_commit


def git(root: Path, *words: str, day: str = "2021-03-04") -> None:
    when = f"{day}T23:30:00 +0200"
    who = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    environment = {
        **os.environ,
        **who,
        "GIT_COMMITTER_DATE": when,
        "GIT_AUTHOR_DATE": "2001-01-01T00:00:00 +0000",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    subprocess.run(["git", "-C", root, *words], check=True, capture_output=True, env=environment)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "service").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    for number in range(12):
        (root / "app.py").write_text(f"print({number})\n")
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", f"Change {number}\n\n{'word ' * 300}", day=f"2020-01-{number + 10}")
    return root


def test_a_loose_commit(repository: Path) -> None:
    assert last_commit(str(repository)) == "2020-01-21"
    assert last_commit(str(repository / "service")) == "2020-01-21"


def test_a_packed_commit_and_packed_names(repository: Path) -> None:
    git(repository, "gc", "-q", "--aggressive", "--prune=now")
    assert not any((repository / ".git/objects").glob("[0-9a-f][0-9a-f]/*"))
    assert last_commit(str(repository)) == "2020-01-21"
    for back in range(12):  # some of them are deltas
        git(repository, "checkout", "-q", "--detach", f"main~{back}")
        assert last_commit(str(repository)) == f"2020-01-{21 - back}"


def test_a_worktree_has_its_own(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", "--detach", str(tmp_path / "other"), "main~2")
    assert last_commit(str(tmp_path / "other")) == "2020-01-19"


def test_no_repository_and_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert last_commit(str(tmp_path)) is None


@pytest.mark.parametrize("packed", [False, True])
def test_damaged_objects_have_no_date(repository: Path, packed: bool) -> None:
    """Every byte cut off and some turned: nothing is raised, nothing runs on."""
    if packed:
        git(repository, "gc", "-q", "--aggressive", "--prune=now")
    files = sorted(
        path
        for path in (repository / ".git/objects").rglob("*")
        if path.suffix in ("", ".idx", ".pack") and path.is_file()
    )
    files += [repository / ".git/HEAD"]
    for path in files:
        whole = path.read_bytes()
        path.chmod(0o600)
        for size in range(0, len(whole), max(1, len(whole) // 20)):
            path.write_bytes(whole[:size])
            last_commit(str(repository))
            path.write_bytes(whole[:size] + b"\xff" * 40 + whole[size + 40 :])
            last_commit(str(repository))
        path.write_bytes(whole)
    assert last_commit(str(repository)) == "2020-01-21"


def test_a_pipe_in_the_place_of_an_object_is_not_waited_for(repository: Path) -> None:
    head = (repository / ".git/refs/heads/main").read_text().strip()
    place = repository / f".git/objects/{head[:2]}/{head[2:]}"
    place.unlink()
    os.mkfifo(place)
    assert last_commit(str(repository)) is None
