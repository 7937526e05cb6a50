"""Fixtures of the tests of locks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lock_world import World, lock_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with lock_world(tmp_path) as made:
        yield made
