"""What `up` does on this machine around a container that serves: the listening socket, waiting, following, stopping."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Protocol

from corten.errors import CortenError, RuntimeFailure, UsageError

GRACE = 10.0
"""Seconds that a container has to finish what is in flight before it is killed."""
BACKLOG = 4096
_PATIENCE = 5.0
"""Seconds of silence on an open connection after which a command's port counts as answered."""
_TAIL = 64 << 10


class Served(Protocol):
    """A container that serves, as far as `up` needs to know it. `log` is where a detached one's output is kept."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Path | None: ...

    def poll(self) -> int | None:
        """Its exit code as a shell gives it, or None while it runs."""

    def signal(self, number: int) -> None:
        """Send a signal to its first process. It is no error when it has ended."""


class PortInUse(CortenError):
    """Something else listens on the port."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that is held here and passed into the container, so that no connection is ever refused.

    Port 0 picks a free one. Raises PortInUse, or UsageError for an address that is not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UsageError(
            f"'{host}' is not an address", hint="use 127.0.0.1, or 0.0.0.0 for every address"
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _bind_error(host, port, error) from error
    return listener


def _bind_error(host: str, port: int, error: OSError) -> CortenError:
    import errno

    if error.errno == errno.EADDRINUSE:
        other = _free_port(host, port)
        return PortInUse(
            f"port {port} is in use on {host}",
            hint=f"use '--port {other}', or '--port 0' for any"
            if other
            else "use '--port 0' for any free port",
        )
    if error.errno == errno.EACCES:
        return UsageError(f"port {port} needs root", hint="use a port above 1023, such as '--port 8000'")
    return UsageError(
        f"cannot listen on '{host}:{port}': {(error.strerror or str(error)).lower()}",
        hint="'--host' takes an address of this machine",
    )


def _free_port(host: str, port: int) -> int | None:
    for candidate in range(port + 1, min(port + 20, 65536)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, candidate))
            return candidate
    return None


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Where a client on this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104


def url_of(listener: socket.socket) -> str:
    """The same as a URL."""
    host, port = address_of(listener)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def wait_until_ready(
    served: Served, address: tuple[str, int], path: str | None, asked: Interrupts | None = None
) -> None:
    """Wait until `GET path` answers 200, or, with no path, until the port answers anything at all.

    There is no time limit: a model may take its time. Returns early when interrupted. Raises RuntimeFailure when the
    container ends first."""
    while not (asked and asked.count):
        answer = get(address, path or "/", served, asked)
        if answer is not None and (path is None or answer[0] == 200):
            return
        code = served.poll()
        if code is not None:
            raise RuntimeFailure(
                f"'{served.name}' ended before it was ready, with exit code {code}",
                hint="its own output above says why",
            )
        time.sleep(0.02)


def get(
    address: tuple[str, int], path: str, served: Served, asked: Interrupts | None = None
) -> tuple[int, bytes] | None:
    """Status and body of one small HTTP request; None when the answer is no HTTP, or `served` has ended, or an interrupt
    came.

    The connection may wait in the listening socket's queue until the container accepts it. Silence of five seconds
    on a connection counts as status 0: whoever is there is slow, but there."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
    )
    received = bytearray()
    try:
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(request.encode())
            begun = time.monotonic()
            while len(received) < 16 << 20:
                if not select.select([connection], [], [], 0.05)[0]:
                    if served.poll() is not None or (asked and asked.count):
                        return None
                    if time.monotonic() - begun > _PATIENCE and not received:
                        return 0, b""
                    continue
                data = connection.recv(1 << 16)
                if not data:
                    break
                received += data
    except OSError:
        return None
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if not head.startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        return None
    return int(words[1]), body


class Output:
    """A pipe that a container writes to. Its lines go to `write`, one call for each, in order, from a thread."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._reading, self.descriptor = os.pipe()
        self._thread = threading.Thread(target=self._pump, name="output", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Close our end, and wait a moment until what was written has been passed on."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self._thread.join(1.0)

    def _pump(self) -> None:
        rest = b""
        while data := os.read(self._reading, 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._write(line.decode(errors="replace"))
            if len(rest) > _TAIL:
                self._write(rest.decode(errors="replace"))
                rest = b""
        if rest:
            self._write(rest.decode(errors="replace"))
        os.close(self._reading)


def last_lines(log: Path | None, most: int = 50) -> list[str]:
    """The end of a log, for whoever has not seen it; empty where there is none."""
    if log is None or not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return file.read().decode(errors="replace").splitlines()[-most:]


class Interrupts:
    """Counts Ctrl-C, SIGTERM and a closed terminal while a container serves, instead of dying of them."""

    def __init__(self) -> None:
        self.count = 0
        self._waker, self._wakened = os.pipe()

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or until the next interrupt."""
        if select.select([self._waker], [], [], seconds)[0]:
            os.read(self._waker, 1)

    def received(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.count += 1
        os.write(self._wakened, b"!")

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._waker)
        os.close(self._wakened)


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Count interrupts instead of dying of them, inside the block."""
    counter = Interrupts()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, counter.received) for number in numbers}
    try:
        yield counter
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        counter.close()


def follow(served: Served, asked: Interrupts, say: Callable[[str], None], grace: float = GRACE) -> int:
    """Wait until the container ends by itself (its code is returned) or is asked to (then it is 0 once it has).

    The first interrupt lets it finish what is in flight, for `grace` seconds; a second one kills it at once."""
    while (code := served.poll()) is None and not asked.count:
        asked.wait(0.1)
    if code is not None:
        return code
    say("stopping; what is in flight is finished first (Ctrl-C again: at once)")
    stop(served, grace, asked)
    return 0


def stop(served: Served, grace: float = GRACE, asked: Interrupts | None = None) -> None:
    """SIGTERM, and SIGKILL after `grace` seconds or one more interrupt. Returns when it has ended."""
    before = asked.count if asked else 0
    served.signal(signal.SIGTERM)
    end = time.monotonic() + grace
    while served.poll() is None:
        if time.monotonic() > end or (asked and asked.count > before):
            served.signal(signal.SIGKILL)
            end = float("inf")
            before = 1 << 30
        if asked:
            asked.wait(0.02)
        else:
            time.sleep(0.02)
