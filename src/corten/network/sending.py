"""Connections that notice an answer which comes before the request has been sent.

A server that will not take a body (401, 413) answers and closes, or answers and stops reading. Sending on would end in a
cut, or wait for nothing, and hide the answer. So before a piece is sent the answer is looked for, and a connection whose
request was not sent to its end serves no second one. Only imported where a connection is opened: urllib3 takes time.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_PIECE = 1 << 18
"""Bytes that have to be taken within one time-out: `sendall` counts its time over all that it is given."""


class BodyFailed(Exception):
    """What the caller's own iterable raised, kept apart from what the network does; the cause is chained."""


def guarded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """`pieces`, with their own errors wrapped into BodyFailed."""
    try:
        yield from pieces
    except Exception as error:
        raise BodyFailed from error


class _Careful:
    """What both kinds of connection do differently."""

    sock: Any
    silence: float | None = None
    """Seconds without the other side taking anything."""
    guarded = False
    """Whether a connection to this machine, its link or a metadata service is refused."""
    unfinished = False
    """Whether a request was left in its middle."""

    def _new_conn(self) -> socket.socket:
        """The connected socket. Raises FetchError where its host's name stands for a reserved address: this is asked of the
        connection itself, because a name can change its address between two look-ups."""
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        if self.guarded:
            from ipaddress import ip_address

            from corten.network.reserved import refused, reserved_address

            if reserved_address(ip_address(str(sock.getpeername()[0]).partition("%")[0])):
                sock.close()
                raise refused(str(self.host))  # type: ignore[attr-defined]
        return sock

    def send(self, data: Any) -> None:
        """Send all of `data`, unless the other side has answered already: then BrokenPipeError, on which urllib3 reads
        the answer."""
        if not isinstance(data, bytes) or self.sock is None:
            super().send(data)  # type: ignore[misc]
            return
        self.sock.settimeout(self.silence)
        view = memoryview(data)
        encrypted = isinstance(self.sock, ssl.SSLSocket)
        while view:
            # TLS sends records of its own (session tickets), so there an answer cannot be told without reading it.
            if not encrypted and _readable(self.sock):
                self.unfinished = True
                raise BrokenPipeError("answered before the request was complete")
            try:
                self.sock.sendall(view[:_PIECE])
            except TimeoutError:
                self.unfinished = True
                if _readable(self.sock):
                    raise BrokenPipeError("answered before the request was complete") from None
                raise
            except (
                ssl.SSLError
            ) as error:  # what a broken pipe is called with TLS; the answer may be there to be read
                self.unfinished = True
                raise BrokenPipeError("cut before the request was complete") from error
            except OSError:
                self.unfinished = True
                raise
            view = view[_PIECE:]

    @property
    def is_connected(self) -> bool:
        """Whether the connection can serve one more request."""
        return not self.unfinished and bool(super().is_connected)  # type: ignore[misc]

    def close(self) -> None:
        """Close; a connection that is opened again begins anew."""
        self.unfinished = False
        super().close()  # type: ignore[misc]


class _Http(_Careful, HTTPConnection):
    pass


class _Https(_Careful, HTTPSConnection):
    pass


def pool_of(manager: urllib3.PoolManager, silence: float, guarded_host: bool = False) -> urllib3.PoolManager:
    """`manager`, with connections that give up on a request after `silence` seconds in which nothing was taken, and with
    `guarded_host` reach no reserved address (`corten.network.reserved`)."""

    class Http(_Http):
        pass

    class Https(_Https):
        pass

    Http.silence = Https.silence = silence
    Http.guarded = Https.guarded = guarded_host

    class HttpPool(HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(HTTPSConnectionPool):
        ConnectionCls = Https

    manager.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
    return manager


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
