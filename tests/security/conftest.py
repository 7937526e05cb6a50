"""What the tests of several areas share."""

from support.runner import base_home, plain_runner, plain_runners, runner
from support.serving import start
from support.shared import corten

__all__ = ["base_home", "corten", "plain_runner", "plain_runners", "runner", "start"]
