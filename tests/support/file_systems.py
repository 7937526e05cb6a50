"""What the file system of a folder can do."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from corten.runtime.attend import cut_head


def cuts_heads(folder: Path) -> bool:
    """Whether the file system of `folder` can cut the head off a file."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(2 * os.fstatvfs(probe.fileno()).f_bsize))
        probe.flush()
        try:
            cut_head(probe.fileno(), os.fstatvfs(probe.fileno()).f_bsize)
        except OSError:
            return False
        return True
