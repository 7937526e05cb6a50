"""Published ports that Corten passes on itself, from sockets that were bound outside to a container's own loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from corten.runtime.forward import forward
from corten.runtime.forwarder import Probe
from corten.runtime.network.ports import Taken

_IDLE = 60.0
_MOST_CLIENTS = 1024
_DATAGRAM = 1 << 16
_BURST = 64


class _Datagrams:
    """A socket's datagrams: each client has a socket of its own inside, until it has been silent for a while."""

    def __init__(self, outside: socket.socket, port: int) -> None:
        self._outside, self._port = outside, port
        self._inside: dict[Any, tuple[socket.socket, float]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(outside, self._questions)
        self._loop.call_later(_IDLE, self._forget_silent)

    def _questions(self) -> None:
        for _ in range(_BURST):
            try:
                data, client = self._outside.recvfrom(_DATAGRAM)
            except OSError:
                return
            # Nobody listens inside: as on a network, nothing comes back.
            with contextlib.suppress(OSError):
                self._socket_of(client).send(data)

    def _socket_of(self, client: Any) -> socket.socket:
        known = self._inside.pop(client, None)
        if known is not None:
            inside = known[0]
        else:
            if len(self._inside) >= _MOST_CLIENTS:
                self._forget(next(iter(self._inside)))
            inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            inside.setblocking(False)
            inside.connect(("127.0.0.1", self._port))
            self._loop.add_reader(inside, self._answers, inside, client)
        # The one that was silent for longest comes first.
        self._inside[client] = inside, self._loop.time()
        return inside

    def _answers(self, inside: socket.socket, client: Any) -> None:
        for _ in range(_BURST):
            try:
                self._outside.sendto(inside.recv(_DATAGRAM), client)
            except OSError:
                return

    def _forget_silent(self) -> None:
        now = self._loop.time()
        for client, (_, used) in list(self._inside.items()):
            if now - used > _IDLE:
                self._forget(client)
        self._loop.call_later(_IDLE, self._forget_silent)

    def _forget(self, client: Any) -> None:
        inside, _ = self._inside.pop(client)
        self._loop.remove_reader(inside)
        inside.close()


async def serve(
    taken: Sequence[Taken],
    *,
    patient: bool,
    notify: int | None = None,
    ready: str | None = None,
    drains: bool = False,
) -> None:
    """Pass on what arrives at each of `taken`, whose sockets are bound. `patient` and `notify` are as in `forward`: with the
    latter this returns when everything has been answered after SIGTERM, otherwise never. `ready` and `drains` are as in `Probe`, for a
    program that is served (`patient`)."""
    streams, datagrams = [], []
    for item in taken:
        assert item.listener is not None
        bound = socket.socket(fileno=item.listener)
        bound.setblocking(False)
        if item.port.protocol == "tcp":
            probe = Probe(item.port.inside, ready, enclosed=patient, drains=drains)
            streams.append(forward(bound, probe, patient=patient, notify=notify))
        else:
            datagrams.append(_Datagrams(bound, item.port.inside))
    await asyncio.gather(*streams, *([asyncio.Event().wait()] if notify is None else []))


def run(
    taken: Sequence[Taken],
    *,
    patient: bool = False,
    notify: int | None = None,
    ready: str | None = None,
    drains: bool = False,
) -> None:
    """The same, in a process that does nothing else."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(taken, patient=patient, notify=notify, ready=ready, drains=drains))
