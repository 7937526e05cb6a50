"""Fixtures of the tests of builds."""

from support.sdists import locked_base, workbench
from support.shared import corten

__all__ = ["corten", "locked_base", "workbench"]
