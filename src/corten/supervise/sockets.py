"""The listening socket that is held here and passed into containers, so that no connection is ever refused."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

from corten.errors import CortenError, UsageError

BACKLOG = 4096
_FIRST = 3


class PortInUse(CortenError):
    """Something else listens on the port."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Port 0 picks a free one. Raises PortInUse, or UsageError for an address that is not this
    machine's."""
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


def adopt(environment: MutableMapping[str, str]) -> socket.socket | None:
    """The socket that systemd passed to this process (sd_listen_fds(3)), and its variables gone from `environment`; None
    where none was. Raises UsageError for several, and for what does not listen."""
    if environment.get("LISTEN_PID") != str(os.getpid()) or not environment.get("LISTEN_FDS"):
        return None
    count = environment["LISTEN_FDS"]
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    if count != "1":
        raise UsageError(
            f"{count[:20]} sockets were passed in, and one is served", hint="write one ListenStream= per unit"
        )
    try:
        listener = socket.socket(fileno=_FIRST)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise UsageError(
            f"descriptor {_FIRST} is no socket ({os.strerror(error.errno or 0).lower()})",
            hint="unset LISTEN_FDS, or pass a listening socket",
        ) from error
    if not listening or listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise UsageError(
            f"descriptor {_FIRST} is no listening TCP socket", hint="write ListenStream=PORT, and Accept=no"
        )
    listener.set_inheritable(False)
    return listener


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Where a client on this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104


def url_of(listener: socket.socket) -> str:
    """The same as a URL."""
    host, port = address_of(listener)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind_error(host: str, port: int, error: OSError) -> CortenError:
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
