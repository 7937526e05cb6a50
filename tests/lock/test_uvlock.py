"""Whether uv.lock still belongs to pyproject.toml. The lock files are made by the real uv."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest
from uv import find_uv_bin

from corten.errors import LockOutdated, ProjectError
from corten.lock.uvlock import check_current, wheel_addresses
from support.index import publish
from support.web import serving
from support.wheels import make_wheel

PYPROJECT = """\
[project]
name = "De.mo"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["alpha>=1,<9", "Beta_x ; python_version > '3.8'"]
[project.optional-dependencies]
web = ["gamma~=1.0"]
[dependency-groups]
base = ["delta"]
train = [{include-group = "base"}, "gamma"]
"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("uvlock")
    for name in ("alpha", "beta-x", "gamma", "delta"):
        make_wheel(root / "pool", name, "1.0")
    (root / "project").mkdir()
    (root / "project/pyproject.toml").write_text(PYPROJECT)
    with serving() as web:
        url = publish(web, root / "pool")
        subprocess.run(
            [find_uv_bin(), "lock", "--no-config", "--default-index", url, "--quiet"],
            cwd=root / "project",
            check=True,
            env={"HOME": str(root), "PATH": "/usr/bin:/bin", "UV_CACHE_DIR": str(root / "cache")},
        )
    return root / "project/uv.lock"


def check(lock: Path, old: str = "", new: str = "") -> None:
    assert old in PYPROJECT
    check_current(lock, tomllib.loads(PYPROJECT.replace(old, new, 1)))


def test_a_fresh_lock_is_current(locked: Path) -> None:
    check(locked)
    check(locked, "alpha>=1,<9", "Alpha <9, >= 1")
    check(locked, 'version = "1.0"', 'version = "2.0"')


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("alpha>=1,<9", "alpha>=1,<8", "'alpha' differs"),
        ('"alpha>=1,<9", ', "", "'alpha' differs"),
        ('"alpha>=1,<9"', '"alpha>=1,<9", "numpy"', "'numpy' differs"),
        ("gamma~=1.0", "gamma~=1.1", "'gamma' of 'web' differs"),
        ('"delta"', '"delta", "rich"', "'rich' of 'base' differs"),
        ('name = "De.mo"', 'name = "other"', "has no package 'other'"),
    ],
)
def test_a_stale_lock_names_a_difference(locked: Path, old: str, new: str, what: str) -> None:
    with pytest.raises(LockOutdated) as caught:
        check(locked, old, new)
    assert what in caught.value.message
    assert caught.value.hint == "run 'uv lock'"


def test_what_cannot_be_compared_counts_as_current(locked: Path) -> None:
    check(locked, 'dependencies = ["alpha', 'dynamic = ["dependencies"]\nx = ["alpha')
    check_current(locked, {})


def test_a_damaged_lock(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("version = ")
    with pytest.raises(ProjectError, match=r"'uv\.lock' cannot be read"):
        check_current(tmp_path / "uv.lock", {})


def test_addresses(locked: Path) -> None:
    found = wheel_addresses(locked)
    assert sorted(url.rsplit("/", 1)[-1] for url in found) == [
        f"{name}-1.0-py3-none-any.whl" for name in ("alpha", "beta_x", "delta", "gamma")
    ]
