"""Projects as people write them come up at the first command and answer a real request, or say why they do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import corpus
from support.command import Corten

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    "project",
    [
        pytest.param(project, id=project.name, marks=[pytest.mark.long] if project.long else [])
        for project in corpus.projects()
        if project.asks or project.error or project.expect.get("kind") == "worker"
    ],
)
def test_a_project_comes_up(corten: Corten, tmp_path: Path, project: corpus.Project) -> None:
    project.copy(tmp_path)
    name = f"corpus-{project.name}"
    words = ("up", project.folder, "--detach", "--port", "0", "--name", name, *project.arguments)
    done = corten(*words, cwd=tmp_path / project.name, code=None, timeout=1200)
    try:
        for line in project.said:
            assert line in done.stderr
        if project.error:
            assert done.returncode != 0, done.stderr
            assert project.error["message"] in done.stderr
            assert project.error.get("hint", "") in done.stderr
            return
        assert done.returncode == 0, done.stderr
        if not project.asks:
            assert not done.stdout  # a worker has no URL
            return
        url = re.match(r"http://\S+", done.stdout)
        assert url is not None, done.stdout
        for wanted in project.asks:
            corpus.ask(url[0], wanted)
    finally:
        if done.returncode == 0:
            corten("down", name)
