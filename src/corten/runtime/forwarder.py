"""Starting the process of `forward.py`, which every `up` of a command has."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable

from corten.sandbox import kernel


def start_forwarder(
    listener: int, port: int, notify: int | None = None, enter: Callable[[], None] | None = None
) -> int:
    """Start the forwarder from `listener` to `port` in this process's network, or in that which `enter` goes to, with the pipe
    `notify` for its words; its process ID."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if enter is not None:
            enter()
        kernel.die_with_parent(signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        away = [
            fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, 10) for given in (listener, notify) if given is not None
        ]
        for place, descriptor in enumerate(away, 3):
            os.dup2(descriptor, place)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [
            sys.executable,
            "-P",
            "-m",
            "corten.runtime.forward",
            "3",
            str(port),
            *(["4"] if notify is not None else []),
        ]
        os.execve(sys.executable, command, environment)
    finally:
        os._exit(125)
