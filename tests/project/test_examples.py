"""The examples are found to be what they are. That they build, train and answer is tried in tests/e2e."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.project.files import scan
from corten.project.load import load
from corten.project.model import Command, Predictor

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "entry", "kind"),
    [
        ("iris", Predictor("predict:Iris"), "pyproject"),
        ("wine", Predictor("wine.joblib"), "pyproject"),
        ("embeddings", Predictor("predict:Embeddings"), "pyproject"),
        (
            "flask-app",
            Command(("gunicorn", "--bind", "0.0.0.0:$PORT", "--threads", "8", "--timeout", "0", "app:app")),
            "requirements",
        ),
        ("train-torch", Command(("python", "train.py")), "pyproject"),
    ],
)
def test_examples_are_found(name: str, entry: Predictor | Command, kind: str) -> None:
    project = load(EXAMPLES / name)
    assert (project.name, project.entry, project.dependencies.kind) == (name, entry, kind)
    assert "README.md" in [file.path for file in scan(project).code]
    assert 10 <= len((EXAMPLES / name / "README.md").read_text().splitlines()) <= 25


def test_the_flask_application_knows_nothing_of_corten() -> None:
    files = [
        path for path in (EXAMPLES / "flask-app").rglob("*") if path.is_file() and path.name != "README.md"
    ]
    assert not [
        path for path in files if b"corten" in path.read_bytes().lower() and path.name != "corten.lock"
    ]
    assert not (EXAMPLES / "flask-app/pyproject.toml").exists()


def test_weights_that_training_makes_are_declared_and_not_committed() -> None:
    for name, model in (("iris", "model.joblib"), ("wine", "wine.joblib")):
        assert load(EXAMPLES / name).models == (model,)
        assert model in (EXAMPLES / name / ".gitignore").read_text()
