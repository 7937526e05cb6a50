"""What a command that the project writes itself needs beyond its requirements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.project.load import load

Make = Callable[..., Path]
TABLE = '[tool.corten]\ncommand = "{}"\n'


@pytest.mark.parametrize(
    ("command", "requirements", "expected"),
    [
        ("gunicorn app:app", "flask\n", ["gunicorn"]),
        ("gunicorn app:app", "flask\ngunicorn\n", []),
        ("python -m uvicorn app:app --port $PORT", "fastapi\n", ["uvicorn"]),
        ("uvicorn app:app", "fastapi[standard]\n", []),
        ("python app.py", "flask\n", []),
    ],
)
def test_a_server_that_nothing_brings_is_added(
    folder: Make, command: str, requirements: str, expected: list[str]
) -> None:
    root = folder({"pyproject.toml": TABLE.format(command), "requirements.txt": requirements, "app.py": ""})
    project = load(root)
    assert [item.requirement for item in project.unlisted] == expected
    assert project.implied == ()
    if expected:
        assert project.unlisted[0].reason == f"'command' runs {expected[0]}, and no requirement brings it"


def test_it_is_implied_where_nothing_is_listed(folder: Make) -> None:
    files = {
        "pyproject.toml": TABLE.format("gunicorn app:app"),
        "app.py": "import flask\napp = flask.Flask('x')\n",
    }
    assert [item.requirement for item in load(folder(files)).implied] == ["flask", "gunicorn"]


def test_a_base_that_is_an_image_may_have_it(folder: Make) -> None:
    text = TABLE.format("gunicorn app:app") + 'base = "registry.example/python:3.11"\n'
    project = load(folder({"pyproject.toml": text, "requirements.txt": "flask\n"}))
    assert project.unlisted == project.implied == ()
