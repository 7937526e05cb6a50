"""Whether uv.lock still belongs to pyproject.toml. The lock files are made by the real uv."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from uv import find_uv_bin

from corten.errors import LockOutdated, ProjectError
from corten.lock.uvlock import check_current, locked_packages, read_uv_lock, wheel_addresses
from corten.oci.platform import Platform
from corten.packages.compatibility import Target
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


MANY = """\
[project]
name = "de-mo"
version = "1.0"
requires-python = ">=3.11"
dependencies = [
  "alpha[fast,Slow_x]",
  "fork==1.0 ; python_version < '3.12'",
  "fork==2.0 ; python_version >= '3.12'",
  "windows ; sys_platform == 'win32'",
]
[project.optional-dependencies]
cpu = ["build==1.0"]
gpu = ["build==2.0"]
more = ["extra-one", "de-mo[web]"]
web = ["extra-two ; platform_machine == 'x86_64'"]
[dependency-groups]
dev = ["tool", {include-group = "base"}]
base = ["tool-base"]
self = ["de-mo[web]"]
[tool.uv]
conflicts = [[{ extra = "cpu" }, { extra = "gpu" }]]
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lock with everything that decides which package is taken: markers, forks, extras, groups, conflicts, cycles."""
    root = tmp_path_factory.mktemp("many")
    pool = root / "pool"
    make_wheel(
        pool,
        "alpha",
        requires=("beta", "gamma; extra == 'fast'", "delta>=1; extra == 'slow-x'", "no; extra == 'other'"),
    )
    make_wheel(pool, "beta", requires=("epsilon ; python_version < '3.12'", "alpha"))
    for name in ("gamma", "delta", "epsilon", "windows", "extra-one", "extra-two", "tool", "tool-base", "no"):
        make_wheel(pool, name)
    for version in ("1.0", "2.0"):
        (
            make_wheel(pool, "fork", version),
            make_wheel(pool, "build", version, requires=("extra-one",) if version == "2.0" else ()),
        )
    (root / "project").mkdir()
    (root / "project/pyproject.toml").write_text(MANY)
    environment = {"HOME": str(root), "PATH": "/usr/bin:/bin", "UV_CACHE_DIR": str(root / "cache")}
    with serving() as web:
        url = publish(web, pool)
        command = [find_uv_bin(), "lock", "--no-config", "--default-index", url, "--quiet"]
        subprocess.run(command, cwd=root / "project", check=True, env=environment)
    return root / "project"


@pytest.mark.parametrize("python", ["3.11.2", "3.13.1"])
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
@pytest.mark.parametrize(
    ("extras", "groups"),
    [((), ()), (("cpu",), ()), (("gpu", "web"), ("dev",)), (("more",), ("base",)), ((), ("self",))],
)
def test_the_packages_are_those_that_uv_exports(
    many: Path, python: str, architecture: str, extras: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    target = Target(Platform("linux", architecture), python, 36)
    found = locked_packages(read_uv_lock(many / "uv.lock"), "de-mo", target, extras, groups, many)
    command = [
        find_uv_bin(),
        "export",
        "--frozen",
        "--format",
        "pylock.toml",
        "--no-emit-project",
        "--no-default-groups",
    ]
    command += [f"--extra={name}" for name in extras] + [f"--group={name}" for name in groups]
    environment = {"HOME": str(many), "PATH": "/usr/bin:/bin", "UV_CACHE_DIR": str(many.parent / "cache")}
    done = subprocess.run(
        [*command, "--quiet"], cwd=many, check=True, env=environment, capture_output=True, text=True
    )
    exported = [
        (item["name"], item["version"], item["wheels"][0]["hashes"]["sha256"])
        for item in tomllib.loads(done.stdout)["packages"]
        if "marker" not in item or Marker(item["marker"]).evaluate({**target.environment(), "extra": ""})
    ]
    assert [
        (item["name"], item["version"], item["wheels"][0]["hashes"]["sha256"]) for item in found
    ] == exported
    assert found
