"""Registries to test against; see support/registries.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.store.store import Store
from support.faults import FaultProxy
from support.registries import (
    authority,
    registry,
    registry_with_expired_certificate,
    registry_with_login,
    registry_with_tls,
    registry_with_token,
    registry_with_wrong_host,
)

__all__ = [
    "authority",
    "registry",
    "registry_with_expired_certificate",
    "registry_with_login",
    "registry_with_tls",
    "registry_with_token",
    "registry_with_wrong_host",
]


@pytest.fixture
def proxy(registry: str) -> Iterator[FaultProxy]:
    """A proxy before the plain registry that does as it is told."""
    with FaultProxy(registry) as proxy:
        yield proxy


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of this machine."""
    return Store(tmp_path / "here")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Store:
    """The store of another machine."""
    return Store(tmp_path / "elsewhere")
