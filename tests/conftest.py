"""What every test shares."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no finding: what a property says must hold, however long it takes.
settings.register_profile("corten", deadline=None)
settings.load_profile("corten")


@pytest.fixture(scope="session")
def open_directory() -> Iterator[Path]:
    """A folder that every user of this machine can reach; pytest keeps its own private."""
    directory = Path(tempfile.mkdtemp(prefix="corten-tests-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
