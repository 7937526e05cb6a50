"""Servers and workers for every test here."""

from support.serving import begin, start

__all__ = ["begin", "start"]
