"""Kills a process of Corten's at one of its steps: to be put into PYTHONPATH, where Python imports it by this name.

CORTEN_KILL   FILE:N:FOLDER: the process that is about to take the N-th step is killed (0: none is). Steps are counted in FILE,
              together with every process that was forked: changes below FOLDER, and processes that are made or become others
"""

from __future__ import annotations

import mmap
import os
import signal
import sys

CHANGES = (
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.chmod",
    "os.chown",
    "os.truncate",
)
OTHERS = ("os.fork", "os.exec", "os.posix_spawn", "subprocess.Popen")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def arrange(text: str) -> None:
    """Count, and kill at the step that `text` names."""
    counter, number, folder = text.split(":")
    with open(counter, "r+b") as file:
        counted = mmap.mmap(file.fileno(), 8)
    last = int(number)

    def step(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & _WRITING or not below(arguments[0]):
                return
        elif event in CHANGES:
            # A name in an open folder: what is removed file by file.
            if not below(arguments[0]) and (os.path.isabs(str(arguments[0])) or arguments[-1] == -1):
                return
        elif event not in OTHERS:
            return
        taken = int.from_bytes(counted[:8], "little") + 1
        counted[:8] = taken.to_bytes(8, "little")
        if taken == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def below(path: object) -> bool:
        return isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(folder)

    sys.addaudithook(step)


if "CORTEN_KILL" in os.environ:
    arrange(os.environ["CORTEN_KILL"])
