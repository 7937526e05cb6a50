"""What a build finds in the project's own files and settings, and what it remembers of that."""

from __future__ import annotations

import os
import random
import string
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corten.build.findings import Findings, Place, examine
from corten.build.project_layers import memory_of
from corten.project.files import scan
from corten.project.load import load
from corten.project.model import Project
from corten.store.store import Store

TOKEN = "ghp_" + "".join(random.Random(3).choices(string.ascii_letters, k=36))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def project(tmp_path: Path) -> Callable[[dict[str, str]], Project]:
    """Makes a project whose files are older than now."""

    def make(files: dict[str, str]) -> Project:
        root = tmp_path / "project"
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        # Files that were written just now count as unsettled.
        time.sleep(0.06)
        return load(root)

    return make


def found(project: Project, store: Store) -> Findings:
    return examine(project, scan(project), store)


def test_files_settings_and_logins(project: Callable[..., Project], store: Store) -> None:
    made = project(
        {
            "main.py": f"\nkey = '{TOKEN}'\n",
            "deep/notes.ipynb": f'{{"cells": [{{"outputs": ["{TOKEN}"]}}]}}',
            "fine.py": f"key = '{TOKEN}'  # pragma: allowlist secret\n",
            "requirements-dev.txt": "numpy\n-i https://user:pw1234@host/simple\n",
            "pyproject.toml": (
                "[tool.corten]\n"
                f'env = {{ TOKEN_OF = "{TOKEN}", DB_PASSWORD = "x1" }}\n'
                "[tool.corten.labels]\n"
                f'"a.b" = "{TOKEN}"\n'
                f'other = "{TOKEN}" # pragma: allowlist secret\n'
            ),
        }
    )
    assert found(made, store) == Findings(
        (
            Place("deep/notes.ipynb", 1, "GitHub token"),
            Place("main.py", 2, "GitHub token"),
            Place("pyproject.toml", 2, "GitHub token in 'TOKEN_OF' of 'env'"),
            Place("pyproject.toml", 2, "secret, by its name in 'DB_PASSWORD' of 'env'"),
            Place("pyproject.toml", 4, "GitHub token in 'a.b' of 'labels'"),
        ),
        (("requirements-dev.txt", 2),),
    )


def test_what_it_remembers_has_no_secret_and_is_its_owners_alone(
    project: Callable[..., Project], store: Store
) -> None:
    made = project({"main.py": f"key = '{TOKEN}'\n", "pip.conf": "i = https://u:pw1234@h/"})
    assert len(found(made, store).leaks) == 1
    kept = [path for path in store.root.rglob("*") if path.is_file() and "secrets" in path.name]
    assert len(kept) == 2
    for path in kept:
        assert path.stat().st_mode & 0o777 == 0o600
        assert TOKEN[4:] not in path.read_text()
        assert "pw1234" not in path.read_text()


def test_files_that_have_not_changed_are_not_read_again(
    project: Callable[..., Project], store: Store
) -> None:
    made = project({"main.py": f"key = '{TOKEN}'\n", "other.py": "1\n"})
    files = scan(made)
    first = examine(made, files, store)
    (made.root / "main.py").unlink()
    assert examine(made, files, store) == first, "nothing was read"
    changed = replace(files, code=tuple(file for file in files.code if file.path == "main.py"))
    assert examine(made, changed, store) == first, "what is remembered of each file counts too"


def test_a_change_is_seen(project: Callable[..., Project], store: Store) -> None:
    made = project({"main.py": f"key = '{TOKEN}'\n", "pyproject.toml": "[tool.corten]\n"})
    assert len(found(made, store).leaks) == 1
    (made.root / "main.py").write_text("key = None\n")
    assert found(made, store) == Findings()
    assert len(found(project({"a.py": f"'{TOKEN}'"}), store).leaks) == 1


@pytest.mark.parametrize("pattern", ["keys/", "*.py", "keys/a.py", "/keys"])
def test_files_that_the_project_allows(project: Callable[..., Project], store: Store, pattern: str) -> None:
    made = project(
        {
            "keys/a.py": f"'{TOKEN}'",
            "main.txt": f"'{TOKEN}'",
            "pyproject.toml": f'[tool.corten]\nallow-secrets = ["{pattern}"]\n',
        }
    )
    assert [place.path for place in found(made, store).leaks] == ["main.txt"]


def test_a_file_that_is_gone_and_a_memory_that_cannot_be_written_fail_no_build(
    project: Callable[..., Project], store: Store
) -> None:
    made = project({"main.py": f"key = '{TOKEN}'\n", "other.py": f"'{TOKEN}'"})
    files = scan(made)
    os.unlink(made.root / "main.py")
    for kind in ("secrets", "secrets-by-file"):
        memory_of(store, made, kind).mkdir()
    assert [place.path for place in examine(made, files, store).leaks] == ["other.py"]
