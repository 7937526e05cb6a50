"""Registries to test against; see support/registries.py."""

from __future__ import annotations

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
