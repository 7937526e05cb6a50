"""What the tests of several areas share."""

from support.serving import start

__all__ = ["start"]
