"""The server: a listening socket, a thread for every connection, and an orderly end."""

from __future__ import annotations

import errno
import ipaddress
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from corten.errors import RegistryError, UsageError
from corten.events import Note, Observer, Warned, ignore
from corten.registry.server.application import Application
from corten.registry.server.connection import Connection
from corten.registry.server.contents import Contents
from corten.registry.server.passwords import Passwords
from corten.registry.server.refusals import Refusal
from corten.values import dataclass

MOST_CONNECTIONS = 256
_PATIENCE = 1.0
_LOOK_AGAIN = 0.02
_GRACE = 5.0
_SWEEP_EVERY = 3600.0
_BUSY = (
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve. `host` is a name or an address, `port` 0 picks one. `tls` are a certificate's chain and its key. Without
    `passwords`, a host that other machines reach is refused unless `anyone` may use it. `sparse`: a manifest may lead to
    what is not there."""

    host: str = "127.0.0.1"
    port: int = 5000
    passwords: Passwords | None = None
    read_only: bool = False
    anyone: bool = False
    sparse: bool = False
    tls: tuple[Path, Path] | None = None
    most_connections: int = MOST_CONNECTIONS


class Server:
    """A registry that listens. `address` is what images are pushed to, `HOST:PORT`."""

    def __init__(
        self, listener: socket.socket, settings: Settings, application: Application, observe: Observer
    ) -> None:
        self._listener, self._settings, self._application = listener, settings, application
        self._tls = _tls(settings.tls) if settings.tls else None
        self._observe = observe
        self._wake, self._woken = socket.socketpair()
        self._guard = threading.Lock()
        self._connections: set[Connection] = set()
        self._slots = threading.BoundedSemaphore(settings.most_connections)
        host, port = listener.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def stop(self) -> None:
        """Make `run` end soon. Safe from a signal's handler and from any thread."""
        with suppress(OSError):
            self._wake.send(b"x")

    def run(self, grace: float = _GRACE) -> None:
        """Serve until `stop`; then take no more requests, and give those being answered `grace` seconds."""
        threading.Thread(target=self._sweep, daemon=True).start()
        with selectors.DefaultSelector() as selector:
            self._listener.setblocking(False)
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not any(key.fileobj is self._woken for key, _ in selector.select()):
                self._accept()
        self._listener.close()
        self._end(grace)

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                time.sleep(0.1)  # until others have ended
            return
        connection.setblocking(True)
        if not self._slots.acquire(blocking=False) and not self._make_room():
            self._turn_away(connection)
            return
        served = Connection(connection, str(address[0]), self._application, self._tls, self._log)
        with self._guard:
            self._connections.add(served)
        threading.Thread(target=self._serve, args=(served,), daemon=True).start()

    def _make_room(self) -> bool:
        """Let the connection go that has waited longest for a request, and have its place. While all are busy, wait a
        little for the first that is not: a client has its answer some time before the connection counts as idle."""
        deadline = time.monotonic() + _PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            waiting = [(since, item) for item in self.connections() if (since := item.idle_since) is not None]
            if waiting:
                min(waiting, key=lambda pair: pair[0])[1].leave()
                return self._slots.acquire(timeout=left)
            if self._slots.acquire(timeout=min(left, _LOOK_AGAIN)):
                return True
        return False

    def _turn_away(self, connection: socket.socket) -> None:
        body = Refusal(503, "TOOMANYREQUESTS", "too many connections: try again").body().decode()
        with connection, suppress(OSError):
            connection.settimeout(_PATIENCE / 4)
            if self._tls is None:
                connection.recv(
                    64 << 10
                )  # what is left unread would reset the connection before the answer is read
                connection.sendall(_BUSY.format(len(body), body).encode())

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._guard:
                self._connections.discard(connection)
            self._slots.release()

    def _end(self, grace: float) -> None:
        for connection in self.connections():
            connection.leave()
        deadline = time.monotonic() + grace
        while self.connections() and time.monotonic() < deadline:
            time.sleep(0.02)
        for connection in self.connections():
            connection.cut()
        # What was cut notes how far it came.
        deadline = time.monotonic() + 1
        while self.connections() and time.monotonic() < deadline:
            time.sleep(0.02)

    def connections(self) -> list[Connection]:
        with self._guard:
            return list(self._connections)

    def _log(self, line: str) -> None:
        self._observe(Note(line, verbose=True))

    def _sweep(self) -> None:
        while not self._settings.read_only:
            try:
                self._application.uploads.sweep()
            except OSError as error:
                self._observe(Warned(f"cannot sweep old uploads: {(error.strerror or 'unknown').lower()}"))
            time.sleep(_SWEEP_EVERY)


@contextmanager
def listening(root: Path, settings: Settings, observe: Observer = ignore) -> Iterator[Server]:
    """A server over `root` that listens, and answers once it is `run`. Raises UsageError for settings that are not safe or
    cannot be used, RegistryError when the port cannot be had, and StoreError for the root."""
    contents = Contents(root, fixed=settings.read_only, sparse=settings.sparse)
    family, address = _resolve(settings)
    loopback = ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
    if not loopback and settings.passwords is None and not settings.anyone:
        raise UsageError(
            f"anybody who reaches '{settings.host}' could push and pull",
            hint="ask for passwords with --htpasswd, or say --allow-anyone if that is meant",
        )
    if not loopback and settings.passwords is not None and settings.tls is None:
        observe(Warned("passwords cross the network unencrypted", hint="add --tls-cert and --tls-key"))
    application = Application(
        contents,
        passwords=settings.passwords,
        read_only=settings.read_only,
        guarded=loopback and settings.passwords is None,
    )
    with _listener(family, address, settings) as listener, contents.serving():
        yield Server(listener, settings, application, observe)


def _resolve(settings: Settings) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        raise UsageError(f"'{settings.host}' is not an address of this machine") from None
    family, *_, address = sorted(found, key=lambda item: item[0] != socket.AF_INET)[0]
    return family, (str(address[0]), int(address[1]))


@contextmanager
def _listener(
    family: socket.AddressFamily, address: tuple[str, int], settings: Settings
) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise RegistryError(
            f"cannot listen on port {settings.port} of '{settings.host}': "
            f"{(error.strerror or str(error)).lower()}",
            hint="choose another --port; 0 picks a free one" if taken else "choose another --host or --port",
        ) from None
    with listener:
        yield listener


def _tls(files: tuple[Path, Path]) -> ssl.SSLContext:
    certificate, key = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path in files:
        if not os.access(path, os.R_OK):
            raise UsageError(f"cannot read '{path}'")
    try:
        # A key with a passphrase would ask for it on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"'{certificate}' and '{key}' are not a certificate and its key",
            hint=getattr(error, "reason", None),
        ) from None
    return context
