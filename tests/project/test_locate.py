"""The project in a folder that is not one, or whose requirements lie below it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.load import find, load
from corten.project.model import Command

Make = Callable[..., Path]
FLASK = "from flask import Flask\napp = Flask(__name__)\n"


def test_the_only_project_below_is_taken_and_said(folder: Make) -> None:
    root = folder(
        {"README.md": "", "docs/x.md": "", "deep/er/service/app.py": FLASK, "deep/er/service/utils.py": ""}
    )
    project = load(root)
    assert project.root == root / "deep/er/service"
    assert project.taken[0] == "the project is in 'deep/er/service'"
    assert find(root).root == project.root


def test_of_several_the_only_one_that_serves_is_taken(folder: Make) -> None:
    root = folder(
        {"training/train.py": "x = 1\n", "training/data.py": "", "api/app.py": FLASK, "README.md": ""}
    )
    assert load(root).root == root / "api"


def test_several_that_serve_are_listed_with_a_command_for_each(folder: Make) -> None:
    root = folder({"api/app.py": FLASK, "my web/app.py": FLASK, "lib/x.py": "", "lib/y.py": ""})
    with pytest.raises(ProjectError) as caught:
        load(root)
    assert caught.value.message == f"there are 2 projects below '{root}': 'api', 'my web'"
    assert caught.value.hint == f"name one of them: corten up {root}/api  or  corten up '{root}/my web'"


def test_nothing_below_is_the_same_error_as_ever(folder: Make) -> None:
    for files in ({"README.md": ""}, {"tests/test_x.py": ""}, {".github/x.py": ""}):
        with pytest.raises(ProjectError, match="there is no Python project in"):
            load(folder(files, f"p{len(files)}"))


def test_requirements_beside_the_application_make_its_folder_the_project(folder: Make) -> None:
    files = {"download.py": "x = 1\n", "backend/app.py": FLASK, "backend/requirements.txt": "flask\n"}
    project = load(folder(files))
    assert project.root.name == "backend"
    assert project.taken[0] == "the project is in 'backend', which lists its requirements"
    assert isinstance(project.entry, Command)
    assert project.entry.argv[-1] == "app:app"
    above = load(folder({**files, "requirements.txt": "flask\n"}, "above"))
    assert (above.root.name, above.workdir) == ("above", "/app")
    named = load(
        folder({**files, "pyproject.toml": '[tool.corten]\ncommand = "python download.py"\n'}, "named")
    )
    assert named.root.name == "named"


def test_services_with_requirements_of_their_own_get_a_command_each(folder: Make) -> None:
    files = {
        "tools.py": "",
        "api/app.py": FLASK,
        "api/requirements.txt": "flask\n",
        "web/app.py": FLASK,
        "web/requirements.txt": "flask\n",
    }
    root = folder(files)
    with pytest.raises(ProjectError) as caught:
        load(root)
    assert caught.value.hint == f"name one of them: corten up {root}/api  or  corten up {root}/web"
    with pytest.raises(ProjectError) as caught:
        load(folder({**files, "requirements.txt": "flask\n", "api/requirements.txt": "x\n"}, "root"))
    assert "corten up" in (caught.value.hint or "")
