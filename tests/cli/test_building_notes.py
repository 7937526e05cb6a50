"""What a build says of the project's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.cli.building_notes import tell_implied, tell_pointers
from corten.errors import ProjectError
from corten.events import Event, Note, Warned
from corten.project.files import scan
from corten.project.load import load

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 98765432\n"


def test_a_pointer_of_git_lfs_is_told_and_refused_where_it_is_declared(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("")
    (tmp_path / "model.pt").write_bytes(POINTER)
    events: list[Event] = []
    project = load(tmp_path)
    tell_pointers(project, scan(project), events.append, refuse=True)
    assert events == [
        Warned("only pointers of Git LFS are in the place of 'model.pt'", "fetch them first: git lfs pull")
    ]
    (tmp_path / "pyproject.toml").write_text(
        '[tool.corten]\nmodels = ["model.pt"]\ncommand = "python main.py"\n'
    )
    project = load(tmp_path)
    with pytest.raises(ProjectError, match=r"only a pointer of Git LFS is in the place of 'model\.pt'"):
        tell_pointers(project, scan(project), events.append, refuse=True)
    tell_pointers(project, scan(project), events.append, refuse=False)
    assert len(events) == 2


def test_what_is_taken_from_imports_and_what_is_not_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import six, mystery_module\n")
    (tmp_path / "environment.yml").write_text("")
    events: list[Event] = []
    tell_implied(load(tmp_path), events.append)
    assert [event for event in events if "main.py' is" not in str(event)] == [
        Note("adds six: no file that Corten reads lists the dependencies, and the code imports them"),
        Note("dependencies in 'environment.yml' are not read"),
        Warned(
            "no file that Corten reads lists the dependencies, and it is not known which package has mystery_module (main.py:1)",
            "write it into a requirements.txt, with the others: 'corten init' starts one",
        ),
    ]
