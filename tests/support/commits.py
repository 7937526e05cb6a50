"""Repositories with a commit of a day."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def commit(folder: Path, day: str) -> None:
    """Commit all of `folder` as if on `day`."""
    who = {f"GIT_{role}_{what}": "a" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {
        **os.environ,
        **who,
        "GIT_COMMITTER_DATE": f"{day}T10:00:00 +0000",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-C", folder, *words], check=True, env=environment)
