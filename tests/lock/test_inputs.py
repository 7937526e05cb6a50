"""Stale means that the dependency inputs changed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import ProjectError
from corten.lock.inputs import inputs_digest
from corten.oci.platform import Platform
from corten.project.load import load
from corten.project.model import Command, Dependencies, Implied, Predictor, Project

PYPROJECT = """\
[project]
name = "demo"
version = "1.0"
description = "one"
dependencies = ["numpy>=1", "Pandas"]
[project.optional-dependencies]
web = ["flask", "demo[more]"]
more = ["rich"]
other = ["ruff"]
[dependency-groups]
train = ["tqdm", {include-group = "base"}]
base = ["joblib"]
lint = ["mypy"]
[tool.uv]
dev-dependencies = []
[tool.ruff]
line-length = 88
"""


def project(root: Path, kind: str = "pyproject", **changes: object) -> Project:
    files = {"pyproject": "pyproject.toml", "requirements": "requirements.txt", "uv.lock": "uv.lock"}
    dependencies = Dependencies(
        kind,  # type: ignore[arg-type]
        (root / files[kind],) if kind in files else (),
        extras=("web",) if kind == "pyproject" else (),
        groups=("train",) if kind == "pyproject" else (),
    )
    made = Project(root, "demo", None, dependencies, (Platform("linux", "amd64"),))
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "requirements.txt").write_text("numpy>=1\n-r more.txt\n")
    (tmp_path / "more.txt").write_text("rich\n")
    (tmp_path / "uv.lock").write_text("version = 1\n")
    return tmp_path


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new))

    return apply


SAME = [
    ("pyproject", edit("pyproject.toml", '"one"', '"two"')),
    ("pyproject", edit("pyproject.toml", "88", "99")),
    ("pyproject", edit("pyproject.toml", '"numpy>=1", "Pandas"', '"pandas",   "NumPy >= 1"')),
    ("pyproject", edit("pyproject.toml", "ruff", "black")),
    ("pyproject", edit("pyproject.toml", '"mypy"', '"ty"')),
    ("pyproject", edit("requirements.txt", "numpy", "scipy")),
    ("requirements", edit("requirements.txt", "numpy>=1", "# arrays\nNumPy  >=1   # all of them")),
    ("requirements", edit("more.txt", "rich", "\nrich\n\n")),
    ("requirements", edit("pyproject.toml", "numpy", "scipy")),
    ("uv.lock", edit("pyproject.toml", '"one"', '"two"')),
]
OTHER = [
    ("pyproject", edit("pyproject.toml", "numpy>=1", "numpy>=2")),
    ("pyproject", edit("pyproject.toml", '"flask"', '"quart"')),
    ("pyproject", edit("pyproject.toml", '"rich"', '"poor"')),
    ("pyproject", edit("pyproject.toml", "tqdm", "alive")),
    ("pyproject", edit("pyproject.toml", "joblib", "dask")),
    ("pyproject", edit("pyproject.toml", "[tool.uv]", '[tool.uv]\nindex-url = "https://x/simple"')),
    ("requirements", edit("requirements.txt", ">=1", ">=2")),
    ("requirements", edit("more.txt", "rich", "poor")),
    ("requirements", edit("requirements.txt", "numpy", "-i https://h/simple\nnumpy")),
    ("uv.lock", edit("uv.lock", "1", "2")),
    ("uv.lock", edit("pyproject.toml", "numpy>=1", "numpy>=2")),
]


@pytest.mark.parametrize(("kind", "change"), SAME)
def test_what_does_not_count(root: Path, kind: str, change: Callable[[Path], None]) -> None:
    before = inputs_digest(project(root, kind))
    change(root)
    assert inputs_digest(project(root, kind)) == before


@pytest.mark.parametrize(("kind", "change"), OTHER)
def test_what_counts(root: Path, kind: str, change: Callable[[Path], None]) -> None:
    before = inputs_digest(project(root, kind))
    change(root)
    assert inputs_digest(project(root, kind)) != before


def test_every_setting_that_shapes_a_lock_counts(root: Path) -> None:
    digests = {
        inputs_digest(project(root, **changes))
        for changes in (
            {},
            {"python": "3.11"},
            {"requires_python": ">=3.11"},
            {"base": "debian:trixie"},
            {"system": ("libgl1",)},
            {"platforms": (Platform("linux", "amd64"), Platform("linux", "arm64"))},
            {"gpu": "none"},
            {"entry": Predictor("predict:predict")},
            {"dependencies": Dependencies("none")},
        )
    }
    assert len(digests) == 9
    same = {
        inputs_digest(project(root, **changes))
        for changes in (
            {},
            {"name": "other"},
            {"entry": Command(("python", "x.py"))},
            {"env": {"A": "1"}},
            {"labels": {"a": "b"}},
            {"user": "0:0"},
            {"models": ("m",)},
            {"system": ()},
        )
    }
    assert len(same) == 1
    left = project(
        root, system=("b", "a"), platforms=(Platform("linux", "arm64"), Platform("linux", "amd64"))
    )
    right = project(
        root, system=("a", "b"), platforms=(Platform("linux", "amd64"), Platform("linux", "arm64"))
    )
    assert inputs_digest(left) == inputs_digest(right)


def test_the_place_of_the_project_does_not_count(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b c"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "requirements.txt").write_text("./wheels/x-1-py3-none-any.whl\n-f ./wheels\nnumpy\n")
        digests.add(inputs_digest(load(folder)))
    assert len(digests) == 1


def test_a_missing_file_is_named(root: Path) -> None:
    (root / "more.txt").unlink()
    with pytest.raises(ProjectError, match=r"there is no 'more\.txt'"):
        inputs_digest(project(root, "requirements"))
    (root / "pyproject.toml").write_text("[project")
    with pytest.raises(ProjectError, match=r"pyproject\.toml' cannot be read"):
        inputs_digest(project(root))


def test_looking_whether_a_lock_is_stale_imports_nothing_heavy() -> None:
    code = "import sys, corten.lock.inputs, corten.lock.format; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "urllib3",
        "packaging",
        "uv",
        "tomllib",
        "urllib.request",
        "http.client",
        "corten.packages.http",
        "subprocess",
    }
    assert not heavy & set(done.stdout.split())


def test_what_corten_adds_counts(root: Path) -> None:
    for kind in ("pyproject", "requirements", "uv.lock", "none"):
        plain = project(root, kind)
        added = replace(plain, implied=(Implied("gunicorn", "one reason"),))
        other = replace(plain, implied=(Implied("gunicorn", "another reason"),))
        assert inputs_digest(plain) != inputs_digest(added) == inputs_digest(other)
