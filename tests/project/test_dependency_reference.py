"""The documentation's table of files with dependencies, and that the code keeps its order."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from corten.project.dependencies import ORDER
from corten.project.dependency_reference import BEGIN, END, reference, within
from corten.project.load import load

PAGE = Path(__file__).resolve().parents[2] / "docs/dependencies.md"
PROJECT = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.11"\n'
FILES = {
    "uv.lock": "version = 1\n",
    "pylock.toml": "",
    "requirements.txt": "alpha\n",
    "reqs.txt": "alpha\n",
    "poetry.lock": "[metadata]\n",
    "pdm.lock": "[metadata]\n",
    "Pipfile.lock": "{}",
    "pyproject.toml": PROJECT + 'dependencies = ["alpha"]\n',
    "Pipfile": "",
    "environment.yml": "dependencies: [python]\n",
    "setup.cfg": "[options]\ninstall_requires =\n    alpha\n",
    "setup.py": "from setuptools import setup\nsetup(install_requires=['alpha'])\n",
    "service/requirements.txt": "alpha\n",
}
"""In the order of the table, without Poetry's own table."""
TOGETHER = {
    ("Pipfile.lock", "Pipfile"),
    ("poetry.lock", "pyproject.toml"),
    ("pdm.lock", "pyproject.toml"),
    ("uv.lock", "pyproject.toml"),
    ("pylock.toml", "pyproject.toml"),
}


def test_the_documentation_has_the_table_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert within(page) == page, "run: python -m corten.project.dependency_reference docs/dependencies.md"
    assert BEGIN in page
    assert END in page
    for name in (name for name in FILES if "/" not in name):
        assert f"`{name}`" in reference() or name == "pyproject.toml"
    assert len(ORDER) == reference().count("\n") - 2


@pytest.mark.parametrize(("first", "second"), [*combinations(FILES, 2)])
def test_the_first_file_of_the_table_is_read_and_the_other_one_is_named(
    tmp_path: Path, first: str, second: str
) -> None:
    (tmp_path / "main.py").write_text("")
    for name in (first, second):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(FILES[name])
    project = load(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in project.dependencies.files] == [first]
    said = () if (first, second) in TOGETHER or "/" in second else (second,)
    assert project.unused == said
