"""What every test shares."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Started in the background, a shell's child ignores Ctrl-C, and so would every command that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

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
