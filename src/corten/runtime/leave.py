"""What conmon executes at the end of a container that removes itself (`run -d --rm`): `python -m corten.runtime.leave
DIRECTORY`, as process 1 of the container's namespaces, still holding its lock.

Killed before it has finished, it leaves a dead container that is not kept, which the next start sweeps away.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from corten.runtime import cgroups
from corten.sandbox import kernel
from corten.store.disk import remove_tree


def leave(directory: Path) -> None:
    """Remove all that the container in `directory` left, its lock last."""
    with contextlib.suppress(OSError):
        kernel.unmount(f"{directory}/rootfs")
    if kernel.in_initial_user_namespace():
        cgroups.remove(cgroups.group_name(directory))
    remove_tree(directory)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{directory}.lock")


if __name__ == "__main__":
    leave(Path(sys.argv[1]))
