"""Starting the process of `forward.py`, which every `up` of a command has, and starting it again when it ends by itself."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from corten.sandbox import kernel
from corten.values import dataclass

TCP = "tcp"
"""Instead of a path: an accepted connection is enough."""
STREAMLIT = "streamlit"
"""Instead of a path: a first session of Streamlit runs the script, which raises nothing."""
SHINY = "shiny"
"""Instead of a path: a first session of Shiny runs the server function, which raises nothing."""
PAGE = "page:"
"""Before a path: a page that a script makes. A server error, or an empty page of Bokeh, is an exception of that script."""
RUNNING = "running"
"""Instead of a path: a program that listens on no port is ready when it has run for some seconds."""
RAISES = "shows an exception instead of its page"
"""How the message begins about a script that raises."""
_MOST, _WITHIN = 3, 10.0
"""So often the forwarder is started again within so many seconds."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How a program is asked. `port` is $PORT; `ready` the path that is requested, PAGE and a path, TCP, STREAMLIT, SHINY, RUNNING, or None for `/`. `enclosed`: the network
    namespace is the container's own, so everything that listens there is its program's. `drains`: the program is Corten's model
    server, which listens on `port` and nowhere else, and at SIGTERM answers what it has and closes its connections."""

    port: int
    ready: str | None = None
    enclosed: bool = False
    drains: bool = False

    @property
    def path(self) -> str:
        """The path that is requested."""
        return (self.ready or "/").removeprefix(PAGE)

    @property
    def request(self) -> bytes:
        """The HTTP request, the only one on its connection."""
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nUser-Agent: corten\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        ).encode()

    @property
    def asks(self) -> str:
        """What a program that does not get ready fails to do, in words."""
        return {
            TCP: "accepts no connection",
            STREAMLIT: "has not run its script in a session yet",
            SHINY: "has not run its server function in a session yet",
            RUNNING: "has not run for long enough",
        }.get(self.ready or "/", f"does not answer GET {self.path}")

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
            "drains" if probe.drains else "enclosed" if probe.enclosed else "open",
            str(probe.port),
            *([probe.ready] if probe.ready is not None else []),
        ]
        os.execve(sys.executable, command, environment)
    finally:
        os._exit(125)


class Forwarder:
    """A container's forwarder, in the process that waits for both. `start` returns its process ID."""

    def __init__(self, start: Callable[[], int], notify: int | None) -> None:
        """Start it. Raises OSError."""
        self._start, self._notify = start, notify
        self._starts: list[float] = []
        self._failed = False
        self.pid = start()

    def ended(self, status: int) -> int | None:
        """It has ended by itself, with the wait status `status`: start it again. Returns its new process ID, or None where it cannot be
        started now, or has ended too often lately; then this may be called again later. The pipe is told."""
        now = time.monotonic()
        code = os.waitstatus_to_exitcode(status)
        how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
        self._starts = [before for before in self._starts if now - before < _WITHIN]
        if len(self._starts) >= _MOST:
            if not self._failed:
                self._say("FAILED", f"cannot be reached: its forwarder ended again and again ({how})")
            self._failed = True
            return None
        try:
            self.pid = self._start()
        except OSError:
            # When a container ends, the kernel kills the forwarder first, and then no process can be made in their process namespace.
            return None
        self._starts.append(now)
        self._say(
            "NOTE", f"has a new forwarder, because the old one ended ({how}); its connections were lost"
        )
        return self.pid

    def kill(self) -> None:
        """End it. It is no error when it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _say(self, word: str, text: str) -> None:
        if self._notify is not None:
            # Whoever listened may be gone, or not be reading.
            with suppress(OSError):
                os.write(self._notify, f"{word}={text}\n".encode())
