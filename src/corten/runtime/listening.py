"""What listens in this process's network namespace (proc(5), /proc/net/tcp), and where a container's requests go. Pure but
for `listening`."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from corten.values import dataclass

_LISTEN = "0A"
_WEB = (8080, 8000, 5000, 7860, 8501, 80, 3000, 8888, 8081, 5001, 443, 8443)
"""Ports that web frameworks listen on by default, the likeliest first."""
_ANY = {"0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}  # noqa: S104
_MOST = 1024


@dataclass(frozen=True, slots=True)
class Socket:
    """A listening TCP socket."""

    address: str
    port: int

    @property
    def reached_at(self) -> tuple[str, ...]:
        """The addresses at which a client in the same namespace reaches it, in the order to try them."""
        return _ANY.get(self.address, (self.address,))

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def listening() -> list[Socket]:
    """The TCP sockets that listen in this process's network namespace."""
    found: list[Socket] = []
    for name in ("tcp", "tcp6"):
        # As bytes: another codec than UTF-8 is a module, which a forwarder that has become nobody may not be able to read.
        with suppress(OSError), open(f"/proc/self/net/{name}", "rb") as file:
            found += parse(file.read().decode(errors="replace"))
    return sorted(set(found), key=lambda item: (item.port, item.address))


def parse(text: str) -> list[Socket]:
    """The listening sockets in the text of /proc/net/tcp or tcp6. A line of another form is passed over."""
    found: list[Socket] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[3] != _LISTEN or len(found) >= _MOST:
            continue
        address, _, port = fields[1].rpartition(":")
        with suppress(ValueError):
            found.append(Socket(_address(address), int(port, 16)))
    return found


def _address(text: str) -> str:
    """An address of /proc/net: 32-bit words in the machine's own byte order. IPv4 in IPv6 is given as IPv4."""
    data = bytes.fromhex(text)
    if len(data) not in (4, 16):
        raise ValueError(text)
    words = struct.unpack(f">{len(data) // 4}I", data)
    packed = struct.pack(f"={len(words)}I", *words)
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def ranked(sockets: Sequence[Socket], expected: int) -> list[Socket]:
    """The same in the order in which they are asked: those on the port `expected`, then the usual ports of web frameworks."""

    def rank(item: Socket) -> tuple[bool, int, int]:
        usual = _WEB.index(item.port) if item.port in _WEB else len(_WEB)
        return item.port != expected, usual, item.port

    return sorted(sockets, key=rank)


def in_words(sockets: Sequence[Socket]) -> str:
    """`listens on 127.0.0.1:5000 and [::1]:7860`."""
    if not sockets:
        return "listens on no TCP port"
    names = [str(item) for item in sockets[:8]]
    if len(sockets) > 8:
        names.append(f"{len(sockets) - 8} more")
    return f"listens on {', '.join(names[:-1])}{' and ' if len(names) > 1 else ''}{names[-1]}"
