"""`corten doctor FOLDER`: what a project is, and what keeps it from being served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.command import Corten

FLASK = "from flask import Flask\napp = Flask(__name__)\n"


@pytest.fixture
def corten(tmp_path: Path) -> Corten:
    return Corten(tmp_path / "home")


def project(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def explained(corten: Corten, root: Path, code: int = 0) -> dict[str, list[dict[str, Any]]]:
    """The findings of a project by their subject."""
    done = corten("doctor", ".", "--json", cwd=root, code=code)
    found: dict[str, list[dict[str, Any]]] = {}
    for item in json.loads(done.stdout)["findings"]:
        found.setdefault(item["subject"], []).append(item)
    return found


def test_a_project_is_explained(corten: Corten, tmp_path: Path) -> None:
    files = {
        "requirements.txt": "flask\n",
        "api/app.py": FLASK + "from utils import x\n",
        "api/utils.py": "",
        "examples/demo.py": FLASK,
        "model.joblib": "x" * 100,
        ".env": "KEY=1",
        ".env.example": "OPENAI_API_KEY=\n",
    }
    root = project(tmp_path / "shop", files)
    found = explained(corten, root)
    assert found["project"][0]["says"] == f"'shop' in {root}"
    assert found["found"][0]["says"] == "'api/app.py' has the WSGI application 'app:app'"
    assert found["runs"][0]["says"].endswith("app:app, in /app/api")
    assert found["adds"][0]["says"] == "gunicorn: no WSGI server is among the dependencies"
    assert found["also there"][0]["says"] == "'examples/demo.py' has the WSGI application 'examples.demo:app'"
    assert "command = " in found["also there"][0]["mend"]
    assert found["weights"][0]["says"] == "'model.joblib', 100 B"
    assert "'.env': they may hold secrets" in [item["says"] for item in found["left out"]]
    assert any("OPENAI_API_KEY" in item["says"] for item in found["needs"])
    assert found["lock"][0]["says"].startswith("no corten.lock yet")
    assert found["next"][0]["says"] == "corten up"
    assert not (root / "corten.lock").exists()


@pytest.mark.parametrize(
    ("command", "listed"),
    [
        ("uvicorn app:app --reload", False),
        ("uvicorn app:app --port 5000 --log-level debug", False),
        ("hypercorn app:app", True),
        ("python tool.py", True),
    ],
)
def test_what_a_readme_starts_is_not_there_twice(
    corten: Corten, tmp_path: Path, command: str, listed: bool
) -> None:
    files = {
        "requirements.txt": "fastapi\nuvicorn\n",
        "app.py": "from fastapi import FastAPI\n\napp = FastAPI()\n",
        "tool.py": "import sys\nprint(sys.argv)\n",
        "README.md": f"# Shop\n\n```sh\n{command}\n```\n",
    }
    found = explained(corten, project(tmp_path / "shop", files))
    assert found["runs"][0]["says"].startswith("uvicorn ")
    assert ("README" in str(found.get("also there"))) == listed


def test_what_keeps_it_from_being_served_is_missing(corten: Corten, tmp_path: Path) -> None:
    script = project(tmp_path / "script", {"train.py": "print(1)\n"})
    found = explained(corten, script, 1)
    assert "nothing in it is known to listen for requests" in found["serves"][0]["says"]
    assert "corten run . -- python train.py" in found["serves"][0]["mend"]
    assert "next" not in found
    several = project(tmp_path / "several", {"a/app.py": FLASK, "b/app.py": FLASK})
    found = explained(corten, several, 1)
    assert found["project"][0]["mend"] == "name one of them: corten up ./a  or  corten up ./b"


def test_without_an_argument_it_is_about_the_machine(corten: Corten, tmp_path: Path) -> None:
    root = project(tmp_path / "shop", {"app.py": FLASK})
    done = corten("doctor", "--json", cwd=root, code=None)
    assert "Python indexes" in done.stdout
    assert "WSGI" not in done.stdout


def test_a_script_with_a_path_that_answers_serves(corten: Corten, tmp_path: Path) -> None:
    files = {
        "main.py": "import own_server\n",
        "own_server/__init__.py": "",
        "pyproject.toml": '[tool.corten]\nready = "/x"\n',
    }
    assert "serves" not in explained(corten, project(tmp_path / "own", files))
