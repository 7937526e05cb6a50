"""The listening socket: passed in from outside, or bound here."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress

from corten_serve.settings import Settings, SettingsError

BACKLOG = 4096
_FIRST = 3
_PATIENCE = 5.0


def open_listener(settings: Settings) -> socket.socket:
    """A listening socket that child processes do not inherit. Raises SettingsError.

    A socket that was passed in stays whole when this process ends: connections that nobody has accepted yet wait for
    the next process that holds it. It may also wait on a Unix socket that was passed in instead (unix(7), SCM_RIGHTS)."""
    return _adopt() if settings.inherited else _bind(settings.host, settings.port)


def _adopt() -> socket.socket:
    try:
        listener = _received(socket.socket(fileno=_FIRST))
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise SettingsError(
            f"'LISTEN_FDS' is set, but descriptor {_FIRST} is no socket ({os.strerror(error.errno or 0).lower()})",
            hint="unset LISTEN_FDS, or pass a listening socket",
        ) from error
    if not listening:
        raise SettingsError(
            f"'LISTEN_FDS' is set, but descriptor {_FIRST} is not a listening socket",
            hint="call listen() on it",
        )
    listener.set_inheritable(False)
    _no_delay(listener)
    return listener


def _received(given: socket.socket) -> socket.socket:
    """The socket that was passed in, or the one that waits on it. Raises OSError."""
    if given.family != socket.AF_UNIX or given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return given
    given.settimeout(_PATIENCE)
    with given:
        _, found, _, _ = socket.recv_fds(given, 1, 1)
    if not found:
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    return socket.socket(fileno=found[0])


def _bind(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise SettingsError(
            f"cannot listen on '{host}:{port}': {(error.strerror or str(error)).lower()}",
            hint="set PORT to another port",
        ) from error
    _no_delay(listener)
    return listener


def _no_delay(listener: socket.socket) -> None:
    """Accepted connections inherit it: an answer is one small write, and Nagle would hold it for 40 ms."""
    if listener.family != socket.AF_UNIX:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def accept_no_more(listener: socket.socket) -> None:
    """Let nobody in this process accept from the socket any more, although it stays open elsewhere: in the place of every
    descriptor of it comes one of a socket that nobody knows. Granian cannot stop accepting without closing what it has
    just accepted, and a request on its way there would be lost."""
    inode = os.fstat(listener.fileno()).st_ino
    with socket.socket(listener.family, socket.SOCK_STREAM) as unknown:
        if listener.family == socket.AF_UNIX:
            unknown.bind("")
        unknown.listen(1)
        unknown.setblocking(False)
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                if os.fstat(int(name)).st_ino == inode and stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    os.dup2(unknown.fileno(), int(name), inheritable=False)
