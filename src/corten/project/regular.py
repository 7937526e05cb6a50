"""Opening a file that a project has under a name that Corten looks for.

What lies there may be anything: a pipe would be waited for, and opening a device can do things (a watchdog restarts the machine).
So it is looked at first. Imported by every build.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: str | Path) -> BufferedReader:
    """`path`, opened to be read, where it is or leads to a regular file. Raises OSError, for anything else too."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    return open(descriptor, "rb")
