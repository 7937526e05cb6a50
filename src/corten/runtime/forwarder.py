"""Starting the process of `forward.py`, which every `up` of a command has."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable

from corten.sandbox import kernel
from corten.values import dataclass

TCP = "tcp"
"""Instead of a path: an accepted connection is enough."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How a program is asked. `port` is $PORT; `ready` the path that is requested, TCP, or None for `/`. `enclosed`: the network
    namespace is the container's own, so everything that listens there is its program's."""

    port: int
    ready: str | None = None
    enclosed: bool = False

    @property
    def request(self) -> bytes:
        """The HTTP request, the only one on its connection."""
        return (
            f"GET {self.ready or '/'} HTTP/1.1\r\nHost: localhost:{self.port}\r\nUser-Agent: corten\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        ).encode()

    def accepts(self, answer: bytes) -> bool:
        """Whether the first bytes of an answer say that the program is ready: any, but a server error where a path was chosen."""
        chosen = self.ready is not None
        return bool(answer) and not (chosen and answer.startswith(b"HTTP/1.") and answer[9:10] == b"5")


def start_forwarder(
    listener: int, probe: Probe, notify: int | None = None, enter: Callable[[], None] | None = None
) -> int:
    """Start the forwarder from `listener` to the program that `probe` describes, in this process's network, or in that which
    `enter` goes to, with the pipe `notify` for its words; its process ID."""
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
            "4" if notify is not None else "-",
            "enclosed" if probe.enclosed else "open",
            str(probe.port),
            *([probe.ready] if probe.ready is not None else []),
        ]
        os.execve(sys.executable, command, environment)
    finally:
        os._exit(125)
