"""Errors of Cog's own; nothing here raises them."""

from __future__ import annotations


class CogError(Exception):
    """The base of Cog's errors."""


class ConfigDoesNotExist(CogError):
    """There is no cog.yaml."""


class PredictorNotSet(CogError):
    """cog.yaml names no predictor."""
