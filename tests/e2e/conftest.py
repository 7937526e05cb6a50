"""Whole runs of the `corten` command on real projects, with Debian's and Python's packages as this machine gets them.

The store that these tests share lies in the checkout's `.cache`, so the base and the wheels are fetched and built once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Corten, link_files
from support.commander import command, whole
from support.engines import buildah, containerd, docker, podman, skopeo, umoci
from support.registries import registry, registry_with_login
from support.runner import plain_runner, plain_runners, runner

__all__ = [
    "buildah",
    "command",
    "containerd",
    "docker",
    "plain_runner",
    "plain_runners",
    "podman",
    "registry",
    "registry_with_login",
    "runner",
    "skopeo",
    "umoci",
    "whole",
]

ROOT = Path(__file__).resolve().parents[2]
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
# Tests that run beside each other must not give one name to two images: every worker has a store.
SHARED_HOME = Path(os.environ.get("CORTEN_TEST_HOME") or ROOT / ".cache" / "tests" / "store") / WORKER


@pytest.fixture(scope="session")
def corten() -> Corten:
    """The command with the shared store."""
    SHARED_HOME.mkdir(parents=True, exist_ok=True)
    return Corten(SHARED_HOME)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Makes a project's folder from a mapping of paths to texts."""

    def make(files: dict[str, str], name: str = "project") -> Path:
        root = tmp_path / name
        for path, text in files.items():
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return root

    return make


@pytest.fixture(scope="session")
def base_home(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has the default base and little else; to be copied, never used."""
    home = tmp_path_factory.mktemp("base-home")
    seed = tmp_path_factory.mktemp("seed")
    (seed / "main.py").write_text("print('seed')\n")
    shared = corten
    shared("build", seed, "--name", "seed")
    copied = Corten(home)
    link_files(shared.home, home)
    copied("build", seed, "--name", "seed", "--locked")
    return home
