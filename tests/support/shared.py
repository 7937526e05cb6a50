"""The command with the store that tests of whole images share.

It lies in the checkout's `.cache`, so the base and the wheels are fetched and built once.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.command import Corten
from support.runner import build_runner

ROOT = Path(__file__).resolve().parents[2]
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
# Tests that run beside each other must not give one name to two images: every worker has a store.
SHARED_HOME = Path(os.environ.get("CORTEN_TEST_HOME") or ROOT / ".cache" / "tests" / "store") / WORKER


@pytest.fixture(scope="session")
def corten(tmp_path_factory: pytest.TempPathFactory) -> Corten:
    """The command with the shared store, which has the default base and the image `runner`."""
    SHARED_HOME.mkdir(parents=True, exist_ok=True)
    command = Corten(SHARED_HOME)
    build_runner(command, tmp_path_factory.mktemp("run") / "runner")
    return command
