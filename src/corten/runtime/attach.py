"""Attaching to a detached container: what it prints from now on, and its standard input or terminal.

conmon listens at bundle/attach, a socket of packets: what comes begins with one byte, 2 for standard output (and a
terminal), 3 for standard error; what is sent is standard input. bundle/ctl takes `1 ROWS COLUMNS` for a terminal's size.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

from corten.errors import RuntimeFailure
from corten.runtime.control import running
from corten.runtime.terminals import kept_terminal
from corten.store.store import Store

_STDOUT, _STDERR = 2, 3
_PACKET = 1 << 16
DETACH = b"\x10\x11"
"""Ctrl-P Ctrl-Q leaves a terminal and lets the container run on, as with docker and podman."""


def attach(store: Store, name: str, *, stdin: bool) -> bool:
    """Copy output until the container ends or closes it, and input if `stdin`. Returns whether it still ran at the
    end because the caller left with the keys of `DETACH`. Raises RuntimeFailure."""
    listed, directory = running(store, name)
    if listed.record.kind != "conmon":
        raise RuntimeFailure(
            f"'{name}' has nothing to attach to", hint=f"'corten logs -f {name}' shows what it prints"
        )
    raw = listed.record.terminal and os.isatty(0) and stdin
    with _connected(directory) as connection, kept_terminal(raw):
        if raw:
            tty.setraw(0)
            _send_size(directory)
        with _woken_by_size(raw) as woken:
            return _copy(connection, directory, stdin and listed.record.stdin, raw, woken)


def _copy(connection: socket.socket, directory: Path, stdin: bool, raw: bool, woken: int) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(woken, select.POLLIN)
    if stdin:
        poll.register(0, select.POLLIN)
    before = b""
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == woken:
                os.read(woken, 4096)
                _send_size(directory)
            elif descriptor == connection.fileno():
                packet = connection.recv(_PACKET)
                if not packet:
                    return False
                _write(2 if packet[0] == _STDERR else 1, packet[1:])
            else:
                piece = os.read(0, 4096)
                if raw and (before + piece).endswith(DETACH):
                    return True
                before = piece[-1:]
                if not piece:
                    poll.unregister(0)
                    # The container's input stays open for the next one who attaches.
                    continue
                connection.sendall(piece)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextlib.contextmanager
def _connected(directory: Path) -> Iterator[socket.socket]:
    """The socket, by a short name: an address has room for 107 bytes."""
    folder = os.open(directory / "bundle", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            try:
                connection.connect(f"/proc/self/fd/{folder}/attach")
            except OSError as error:
                raise RuntimeFailure(
                    f"'{directory.name}' cannot be attached to", hint="it may just have ended"
                ) from error
            yield connection
    finally:
        os.close(folder)


def _send_size(directory: Path) -> None:
    """Tell the container's terminal how large this one is."""
    with contextlib.suppress(OSError):
        rows, columns = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))[:2]
        pipe = os.open(directory / "bundle" / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(pipe, f"1 {rows} {columns}\n".encode())
        finally:
            os.close(pipe)


@contextlib.contextmanager
def _woken_by_size(raw: bool) -> Iterator[int]:
    """A descriptor that can be read after the terminal's size has changed."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    if not raw:
        try:
            yield reading
        finally:
            os.close(reading)
            os.close(writing)
        return
    handler = signal.signal(signal.SIGWINCH, lambda number, frame: None)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGWINCH, handler)
        os.close(reading)
        os.close(writing)
