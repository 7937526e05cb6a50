"""Corten's forwarder in front of a program, in a network namespace of their own, for tests."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
# The forwarder is a sibling of the program, as in a container, and the namespace has nothing but its loopback.
_HELPER = """
import os, signal, subprocess, sys
from corten.runtime.forwarder import Forwarder, Probe, start_forwarder
from corten.runtime.network.loopback import raise_loopback
from corten.sandbox import kernel
listener, notify, ready, drains = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] or None, sys.argv[4] == "drains"
kernel.unshare(kernel.CLONE_NEWNET if os.geteuid() == 0 else kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
raise_loopback()
child = subprocess.Popen([sys.executable, "-c", sys.argv[5]], env={**os.environ, "PORT": "8080"})
probe = Probe(8080, ready, True, drains)
forwarder = Forwarder(lambda: start_forwarder(listener, probe, notify), notify)
told = []
def end(*_):
    told.append(1)
    # As the shim: the forwarder first, and the program when the forwarder says so.
    os.kill(forwarder.pid if len(told) == 1 else child.pid, signal.SIGTERM)
signal.signal(signal.SIGTERM, end)
current = forwarder.pid
while current is not None:
    _, status = os.waitpid(current, 0)
    current = None if told else forwarder.ended(status)
"""


class Forwarded:
    """A program behind the forwarder. `port` is this machine's, on 127.0.0.1; `words` what the forwarder has said."""

    def __init__(self, listener: socket.socket, heard: int, process: subprocess.Popen[bytes]) -> None:
        self.port: int = listener.getsockname()[1]
        self.words: list[str] = []
        self.process = process
        self._heard, self._rest = heard, b""

    def until(self, beginning: str, seconds: float = 30.0) -> str:
        """Wait for a word that begins so, and return it."""
        end = time.monotonic() + seconds
        while True:
            for word in self.words:
                if word.startswith(beginning):
                    return word
            left = end - time.monotonic()
            assert left > 0, (beginning, self.words)
            if select.select([self._heard], [], [], left)[0]:
                *lines, self._rest = (self._rest + os.read(self._heard, 1 << 16)).split(b"\n")
                self.words += [line.decode() for line in lines]

    def forwarder(self) -> int:
        """The process ID of the forwarder."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(
            int(pid)
            for pid in children
            if b"corten.runtime.forward" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )

    def connect(self) -> socket.socket:
        """A connection to the forwarder."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def exchange(self, request: bytes) -> bytes:
        """What comes back for `request`, to the end of the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            found = b""
            while data := connection.recv(1 << 16):
                found += data
            return found

    def get(self, path: str = "/") -> bytes:
        """The same for one GET request over HTTP."""
        return self.exchange(f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())


@contextlib.contextmanager
def forwarded(program: str, ready: str = "", *, drains: bool = False) -> Iterator[Forwarded]:
    """Run the Python code `program`, whose $PORT is 8080, behind the forwarder. `drains`: as Corten's model server, it ends its
    connections itself."""
    heard, notify = os.pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        given = (listener.fileno(), notify)
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _HELPER,
                *map(str, given),
                ready,
                "drains" if drains else "",
                textwrap.dedent(program),
            ],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)},
            pass_fds=given,
            start_new_session=True,
        )
        os.close(notify)
        try:
            yield Forwarded(listener, heard, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(heard)
