"""Starting the process of `forward.py`, which every `up` of a command has."""

from __future__ import annotations

import os
import signal
import sys

from corten.runtime import kernel


def start_forwarder(listener: int, port: int) -> int:
    """Start the forwarder from `listener` to `port` in this process's network; its process ID."""
    pid = os.fork()
    if pid:
        return pid
    try:
        kernel.die_with_parent(signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.dup2(listener, 3)
        os.set_inheritable(3, True)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [
            sys.executable,
            "-P",
            "-m",
            "corten.runtime.forward",
            "3",
            str(port),
        ]
        os.execve(sys.executable, command, environment)
    finally:
        os._exit(125)
