"""A registry for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.embedded import Client, serving


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client of a registry of its own."""
    with serving(tmp_path / "root") as found:
        yield found
