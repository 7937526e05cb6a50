"""Whole runs of the `corten` command on real projects, with Debian's and Python's packages as this machine gets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.commander import command, whole
from support.engines import buildah, containerd, docker, podman, skopeo, umoci
from support.registries import registry, registry_with_login
from support.runner import base_home, plain_runner, plain_runners, runner
from support.shared import corten

__all__ = [
    "base_home",
    "buildah",
    "command",
    "containerd",
    "corten",
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


@pytest.fixture(scope="module", autouse=True)
def _trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user of these tests allows their projects to read wheels beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORTEN_TRUST_PATH", str(tmp_path_factory.getbasetemp()))
        yield


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
