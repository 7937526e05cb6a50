from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.load import find, load
from corten.project.model import Predictor
from corten.project.writing import insert, render, requirements

PREDICTOR = "class Iris:\n    def predict(self, x: float) -> int:\n        return 1\n"


def corten(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corten", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "iris model"
    root.mkdir()
    (root / "predict.py").write_text(PREDICTOR)
    (root / "model.joblib").write_text("x")
    (root / "hidden [1].pt").write_text("x")
    (root / ".gitignore").write_text("*.pt\n")
    return root


def test_init_writes_what_was_found_and_changes_nothing_about_it(project: Path) -> None:
    before = load(project)
    ran = corten("init", project)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{project / 'pyproject.toml'}\n"
    assert "found: 'predict.py' has the predictor 'Iris'" in ran.stderr
    assert f"next: corten up {project}" in ran.stderr
    table = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["corten"]
    assert table == {"predict": "predict:Iris", "models": ["hidden [1].pt", "model.joblib"]}
    after = load(project)
    assert (after.entry, after.name, after.base) == (before.entry, before.name, before.base)


def test_init_keeps_every_byte_that_is_there(project: Path) -> None:
    text = '# mine\r\n[project]\r\nname = "x"  # a name\r\n\r\n[tool.ruff]\r\nline-length = 99'
    (project / "pyproject.toml").write_bytes(text.encode())
    (project / "pyproject.toml").chmod(0o640)
    assert corten("init", project).returncode == 0
    written = (project / "pyproject.toml").read_bytes().decode()
    assert written.startswith(text + "\r\n\r\n[tool.corten]\r\n")
    assert "\n" not in written.replace("\r\n", "")
    assert (project / "pyproject.toml").stat().st_mode & 0o777 == 0o640
    assert not [name for name in os.listdir(project) if name.startswith(".pyproject")]


def test_init_refuses_a_second_time_and_replaces_with_force(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        '[tool.corten]\npredict = "old:Old"\n\n[tool.corten.env]\nA = "1"\n\n[project]\nname = "x"\n'
    )
    ran = corten("init", project)
    assert ran.returncode == 2
    assert "error: pyproject.toml has a [tool.corten] table already" in ran.stderr
    assert "hint: " in ran.stderr
    assert corten("init", "--force", project).returncode == 0
    first = (project / "pyproject.toml").read_text()
    document = tomllib.loads(first)
    assert document["tool"]["corten"]["predict"] == "predict:Iris"
    assert "env" not in document["tool"]["corten"]
    assert document["project"] == {"name": "x"}
    assert corten("init", "--force", project).returncode == 0
    assert (project / "pyproject.toml").read_text() == first


def test_init_does_not_change_what_a_build_contains(project: Path) -> None:
    """Weights go in before it has written them down as after."""
    (project / ".gitignore").write_text("*.pt\n/runs/\n")
    (project / "runs").mkdir()
    for path in ("net.pt", "runs/old.pt"):
        (project / path).write_text("x")
    from corten.project.files import scan

    (project / "pyproject.toml").write_text('[project]\nname = "x"\n')
    before = scan(find(project))
    weights = ["hidden [1].pt", "model.joblib", "net.pt"]
    assert [file.path for file in before.weights] == weights
    assert corten("init", project).returncode == 0
    after = scan(load(project))
    assert [file.path for file in after.weights] == weights
    assert [file.path for file in after.code] == [file.path for file in before.code]


def test_a_dry_run_writes_nothing(project: Path) -> None:
    ran = corten("init", "--dry-run", project)
    assert ran.returncode == 0
    assert tomllib.loads(ran.stdout)["tool"]["corten"]["predict"] == "predict:Iris"
    assert not (project / "pyproject.toml").exists()


def test_init_neither_reads_nor_writes_through_a_link_out_of_the_project(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "shared.toml").write_text('[project]\nname = "x"\n')
    (project / "pyproject.toml").symlink_to("../shared.toml")
    with pytest.raises(ProjectError, match="leads out of the project"):
        find(project)
    ran = corten("init", project)
    assert ran.returncode == 2
    assert "leads out of the project" in ran.stderr
    assert (tmp_path / "shared.toml").read_text() == '[project]\nname = "x"\n'


def test_the_example_is_a_project(tmp_path: Path) -> None:
    root = tmp_path / "Hello World"
    ran = corten("init", "--example", root)
    assert ran.returncode == 0, ran.stderr
    project = load(root)
    assert (project.name, project.entry) == ("hello-world", Predictor("predict:ReadingTime"))
    code = "from predict import ReadingTime as R; r = R(); r.setup(); print(r.predict('word ' * 460))"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "2.0\n"
    assert corten("init", "--example", root).returncode == 2


def test_init_without_a_project(tmp_path: Path) -> None:
    ran = corten("init", tmp_path)
    assert ran.returncode == 2
    assert "corten init --example" in ran.stderr


@pytest.mark.parametrize(
    "text",
    [
        "[tool]\ncorten = { name = 'x' }\n",
        "tool.corten.name = 'x'\n",
        "[tool]\nother = 1\ncorten.name = 'x'\n",
        "tool = { ruff = 1 }\n",
    ],
)
def test_a_table_in_a_form_that_cannot_be_replaced_is_left_alone(text: str) -> None:
    with pytest.raises(ProjectError, match="cannot be written into this"):
        insert(text, '[tool.corten]\nname = "y"\n', force=True)


def test_replacing_stops_at_the_next_header_but_not_inside_a_text() -> None:
    text = '[tool.corten]\nname = """\n[not a header]\n"""\n# end\n[tool.x]\na = 1\n'
    with pytest.raises(ProjectError, match="cannot be written"):
        insert(text, '[tool.corten]\nname = "y"\n', force=True)


def test_the_rendered_table_is_toml_for_hostile_names(tmp_path: Path) -> None:
    (tmp_path / 'we"ird\\.py').write_text("")
    project = find(tmp_path)
    from corten.project.files import scan

    table = tomllib.loads(render(project, scan(project)))
    assert table["tool"]["corten"]["command"] == ["python", 'we"ird\\.py']


def test_schema_prints_json() -> None:
    ran = corten("schema")
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["properties"]["predict"]
    assert json.loads(corten("schema", "--pyproject").stdout)["properties"]["tool"]


def test_what_looks_like_the_table_inside_a_text_stays() -> None:
    text = '[tool.corten]\nname = "x"\n[tool.x]\na = """\n[tool.corten]\nb = 1\n[z]\n"""\n'
    with pytest.raises(ProjectError, match="cannot be written"):
        insert(text, '[tool.corten]\nname = "y"\n', force=True)


def test_init_writes_down_what_the_imports_need(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import sklearn, numpy, mystery_module\n")
    ran = corten("init", "--dry-run", tmp_path)
    assert "would write requirements.txt: numpy, scikit-learn" in ran.stderr
    assert not (tmp_path / "requirements.txt").exists()
    assert "wrote requirements.txt: numpy, scikit-learn" in corten("init", tmp_path).stderr
    assert (tmp_path / "requirements.txt").read_text().splitlines() == [
        "# Taken from the imports by 'corten init'.",
        "numpy",
        "scikit-learn",
        "# mystery_module (main.py:1): it is not known which package has it",
    ]
    project = load(tmp_path)
    assert (project.dependencies.kind, project.implied) == ("requirements", ())


def test_versions_of_a_lock_are_written_down(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import sklearn, numpy\n")
    text = requirements(load(tmp_path), {"numpy": "1.26.4", "scipy": "1.0"})
    assert text.splitlines()[1:] == ["numpy==1.26.4", "scikit-learn"]
