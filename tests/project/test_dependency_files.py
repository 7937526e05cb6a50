"""Which files hold the dependencies: usual names, misspelt ones, and where they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.project.dependencies import package_names
from corten.project.dependency_files import Chosen, choose, is_misspelt
from corten.project.load import load
from corten.project.model import Dependencies

Folder = Callable[..., Path]


def chosen(*names: str, hashed: str = "") -> Chosen:
    top = [name for name in names if "/" not in name]
    return choose(top, [name for name in names if "/" in name], lambda name: name == hashed)


@pytest.mark.parametrize(
    "name",
    [
        *("requirement.txt", "requirments.txt", "requirments", "Requirements.txt", "REQUIREMENTS.TXT", "requiremnts.txt", "requierments.txt"),
        *("reqs.txt", "req.txt", "requirements", "requirements.text", "requirement", "dependencies.txt", "requirementstxt.txt", "pip-requirements.txt"),
        *("requirements.txt.txt", "requirements(1).txt", "requirements copy.txt", "requirements .txt", "Requirement.txt", "requirements.in", "python_requirements.txt"),
    ],
)  # fmt: skip
def test_misspelt(name: str) -> None:
    assert is_misspelt(name)
    assert chosen(name, "app.py", "README.md") == Chosen(name)


@pytest.mark.parametrize(
    "name",
    ["requests.txt", "readme.txt", "packages.txt", "robots.txt", "req", "results.txt", "requirements.py", "retirements.csv", "regret.txt", "requirements_doc.md", "labels.txt"],
)  # fmt: skip
def test_not_meant(name: str) -> None:
    assert not is_misspelt(name)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("requirements.txt", "requirement.txt"), "requirements.txt"),
        (("requirements/base.txt", "requirements/prod.txt", "requirements/dev.txt"), "requirements/prod.txt"),
        (("requirements/base.txt", "requirements/local.txt", "requirements/production.txt"), "requirements/production.txt"),
        (("requirements/base.txt", "requirements/test.txt"), "requirements/base.txt"),
        (("requirements-cpu.txt", "requirements-gpu.txt"), "requirements-cpu.txt"),
        (("requirements-dev.txt", "reqs.txt"), "reqs.txt"),
        (("requirements/base.in",), "requirements/base.in"),
        (("Requirements.txt", "requirements-dev.txt"), "Requirements.txt"),
    ],
)  # fmt: skip
def test_the_one_for_production(names: tuple[str, ...], expected: str) -> None:
    assert chosen(*names) == Chosen(expected)


def test_equals_are_several() -> None:
    assert chosen("requirements-a.txt", "requirements-b.txt").several == (
        "requirements-a.txt",
        "requirements-b.txt",
    )
    assert chosen("requirements-a.txt", "requirements-b.txt", hashed="requirements-b.txt") == Chosen(
        "requirements-b.txt"
    )


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in load(root).dependencies.files]


def test_a_file_in_a_folder_is_found(folder: Folder) -> None:
    root = folder(
        {
            "main.py": "",
            "service/requirements.txt": "flask",
            "tests/requirements.txt": "x",
            "a/b/requirements.txt": "y",
        }
    )
    assert names(root) == ["service/requirements.txt"]
    assert load(root).unused == ("a/b/requirements.txt",)


def test_of_several_in_folders_none_is_taken(folder: Folder) -> None:
    root = folder({"main.py": "import numpy", "a/requirements.txt": "flask", "b/requirements.txt": "x"})
    project = load(root)
    assert (project.dependencies.kind, project.unused) == (
        "none",
        ("a/requirements.txt", "b/requirements.txt"),
    )


def test_what_is_there_and_not_read_is_known(folder: Folder) -> None:
    root = folder(
        {
            "main.py": "",
            "requirements.txt": "-r requirements/base.txt\n-c limits.txt",
            "requirements/base.txt": "flask",
            "requirements/dev.txt": "pytest",
            "requirements-dev.txt": "x",
            "environment.yml": "",
            "setup.py": "setup(install_requires=['x'])",
            "setup.cfg": "[flake8]",
        }
    )
    assert load(root).unused == (
        "requirements-dev.txt",
        "requirements/dev.txt",
        "environment.yml",
        "setup.py",
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_a_web_applications_server_is_found_in_a_file_of_powershells(folder: Folder, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    data = (mark + "Flask==2.0\r\ngunicorn==20.1.0\r\n").encode(encoding)
    root = folder({"app.py": "from flask import Flask\napp = Flask(__name__)\n", "requirements.txt": data})
    project = load(root)
    assert project.entry is not None
    assert project.implied == ()
    assert project.unlisted == ()


def test_names_are_those_that_are_meant(folder: Folder) -> None:
    root = folder(
        {
            "main.py": "import sklearn, cv2, numpy",
            "requirements.txt": "sklearn==0.0\nopencv\nnumpy=1.21.2=py39h7a0a035_3\n",
        }
    )
    assert load(root).unlisted == ()


def test_several_that_could_be_meant_are_an_error(folder: Folder) -> None:
    with pytest.raises(ProjectError, match="several files could hold the dependencies"):
        load(folder({"main.py": "", "requirements-a.txt": "", "requirements-b.txt": ""}))


def test_packages_in_folders_and_repositories_have_names_too(folder: Folder) -> None:
    library = '[project]\nname = "lib"\ndependencies = ["streamlit", "deeper"]\n[tool.uv.sources]\ndeeper = { path = "../deeper" }\n'
    files = {
        "main.py": "import flask, requests, yaml",
        "libs/lib/pyproject.toml": library,
        "libs/deeper/setup.py": "from setuptools import setup\nsetup(name='deeper', install_requires=['PyYAML', 'requests'])\n",
    }
    for name, text in (
        ("requirements.txt", "-e ./libs/lib[x]\ngit+https://h.example/flask.git@main#egg=Flask\n"),
        ("requirements.txt", "lib @ file:libs/lib\nflask @ git+https://h.example/flask.git\n"),
    ):
        root = folder({**files, name: text})
        names = package_names(load(root).dependencies, {}, root)
        assert names == {"deeper", "flask", "lib", "pyyaml", "requests", "streamlit"}
        assert load(root).unlisted == ()
    pyproject = {
        "project": {"name": "demo", "dependencies": ["lib", "flask"]},
        "tool": {"uv": {"sources": {"lib": {"workspace": True}}, "workspace": {"members": ["libs/*"]}}},
    }
    assert package_names(Dependencies("pyproject", ()), pyproject, root) == names
